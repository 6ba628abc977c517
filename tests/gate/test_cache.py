"""Facts kept for a moment: never too old, and never from before a change that was told."""

import time
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.gate.cache import DEAF, FactsCache
from tests.gate.builders import ORG, USER, some_facts

KEY = ("clerk", "user_a", "org_a")
OTHER = ("clerk", "user_b", "org_b")
LONG = timedelta(hours=1)
FACTS = some_facts()


@pytest.fixture
def cache() -> FactsCache:
    made = FactsCache(max_age=LONG)
    made.hears(news=True)
    return made


def keep(
    cache: FactsCache,
    *,
    key: tuple = KEY,
    age: float = 0.0,
    epoch: int | None = None,
    **facts: object,
) -> None:
    seen = cache.epoch if epoch is None else epoch
    cache.put(key, some_facts(**facts), epoch=seen, began=time.monotonic() - age)


def test_what_was_put_is_given(cache: FactsCache) -> None:
    keep(cache)

    assert cache.get(KEY) == FACTS
    assert cache.get(OTHER) is None


def test_facts_are_never_older_than_their_age_allows(cache: FactsCache) -> None:
    """M6: staleness is bounded, counted from when the reading began."""
    keep(cache, age=LONG.total_seconds() + 1)

    assert cache.get(KEY) is None


def test_deaf_means_a_short_age() -> None:
    """M6: while no news reaches us, facts are good for a second only."""
    cache = FactsCache(max_age=LONG)
    keep(cache, age=DEAF.total_seconds() + 0.5)
    assert cache.get(KEY) is None

    cache.hears(news=True)
    keep(cache, age=DEAF.total_seconds() + 0.5)
    assert cache.get(KEY) is not None

    cache.hears(news=False)
    assert cache.get(KEY) is None


def test_hearing_again_forgets_what_was_kept_while_deaf() -> None:
    cache = FactsCache(max_age=LONG)
    keep(cache)

    cache.hears(news=True)

    assert cache.get(KEY) is None


@pytest.mark.parametrize(("org_id", "user_id"), [(ORG, None), (None, USER), (ORG, USER)])
def test_news_drops_what_it_names(
    cache: FactsCache, org_id: UUID | None, user_id: UUID | None
) -> None:
    keep(cache)
    keep(cache, key=OTHER, org_id=UUID(int=8), user_id=UUID(int=9))

    cache.drop(org_id=org_id, user_id=user_id)

    assert cache.get(KEY) is None
    assert cache.get(OTHER) is not None


def test_facts_read_before_a_drop_are_not_kept_after_it(cache: FactsCache) -> None:
    """M6: a slow SELECT that began before a change must not bring the old answer back."""
    before = cache.epoch
    cache.drop(org_id=ORG, user_id=None)

    keep(cache, epoch=before)

    assert cache.get(KEY) is None


def test_facts_read_before_we_fell_deaf_are_not_kept_after_it(cache: FactsCache) -> None:
    before = cache.epoch
    cache.hears(news=False)

    keep(cache, epoch=before)

    assert cache.get(KEY) is None


def test_the_room_is_bounded_and_nothing_is_left_behind() -> None:
    cache = FactsCache(max_age=LONG, room=10)
    for number in range(1000):
        keep(cache, key=("clerk", f"user_{number}", None), user_id=UUID(int=number + 1))

    kept = [n for n in range(1000) if cache.get(("clerk", f"user_{n}", None)) is not None]
    assert kept == list(range(990, 1000))
    assert len(cache._about) <= 11  # noqa: SLF001 (what is forgotten must be forgotten here too)


@given(st.lists(st.tuples(st.sampled_from(["put", "drop", "late"]), st.integers(0, 3))))
def test_nothing_from_before_a_drop_is_ever_given(steps: list[tuple[str, int]]) -> None:
    """M6: whatever the order of reads and news, the newest news wins."""
    cache = FactsCache(max_age=LONG)
    cache.hears(news=True)
    version = dict.fromkeys(range(4), 0)
    for what, number in steps:
        key, org = ("clerk", f"user_{number}", "org"), UUID(int=number + 1)
        if what == "drop":
            version[number] += 1
            cache.drop(org_id=org, user_id=None)
        elif what == "put":
            keep(cache, key=key, org_id=org, role=str(version[number]))
        else:  # a read that began before a change and ends after it
            before = cache.epoch
            old = str(version[number])
            version[number] += 1
            cache.drop(org_id=org, user_id=None)
            keep(cache, key=key, org_id=org, role=old, epoch=before)
        found = cache.get(key)
        assert found is None or found.role == str(version[number])
