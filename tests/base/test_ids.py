import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.base.ids import CountedIds, Ids, RandomIds

MAKERS = [RandomIds(), CountedIds(), CountedIds(7)]


@pytest.mark.parametrize("ids", MAKERS)
def test_ids_do_not_repeat(ids: Ids) -> None:
    names = {ids.token("cus_") for _ in range(1_000)}
    keys = {ids.uuid() for _ in range(1_000)}

    assert len(names) == len(keys) == 1_000


@pytest.mark.parametrize("ids", MAKERS)
def test_a_token_is_its_prefix_and_as_many_letters_and_digits_as_asked(ids: Ids) -> None:
    for length in (8, 24, 40):
        assert re.fullmatch(rf"cus_[0-9A-Za-z]{{{length}}}", ids.token("cus_", length))


@pytest.mark.parametrize("ids", MAKERS)
def test_jitter_is_a_fraction_below_one(ids: Ids) -> None:
    assert all(0 <= ids.jitter() < 1 for _ in range(1_000))


def test_random_keys_are_version_4() -> None:
    assert RandomIds().uuid().version == 4


@given(st.integers(1, 1_000_000))
def test_counted_ids_are_the_same_in_every_run(seed: int) -> None:
    one, two = CountedIds(seed), CountedIds(seed)

    assert [one.uuid(), one.token("x_")] == [two.uuid(), two.token("x_")]


@given(st.integers(1, 1_000), st.integers(1_001, 2_000))
def test_counted_ids_of_different_seeds_name_different_things(one: int, two: int) -> None:
    assert CountedIds(one).uuid() != CountedIds(two).uuid()
