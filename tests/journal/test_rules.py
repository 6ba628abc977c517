from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tenure.journal import rules

ATTEMPTS = st.integers(1, 10_000)
JITTER = st.floats(0, 1, exclude_max=True)
ASKED = st.timedeltas(timedelta(0), timedelta(hours=6))


@given(ATTEMPTS, JITTER)
def test_a_wait_is_between_half_and_the_whole_of_its_step(attempts: int, jitter: float) -> None:
    step = min(rules.LONGEST, rules.FIRST * 2 ** min(attempts - 1, 20))

    assert step / 2 <= rules.back_off(attempts, jitter) <= step


@given(ATTEMPTS, JITTER, ASKED)
def test_a_wait_is_never_shorter_than_the_provider_asked(
    attempts: int, jitter: float, asked: timedelta
) -> None:
    waited = rules.back_off(attempts, jitter, asked=asked)

    assert waited == max(asked, rules.back_off(attempts, jitter))


@given(ATTEMPTS, JITTER)
def test_a_later_failure_never_waits_less(attempts: int, jitter: float) -> None:
    assert rules.back_off(attempts, jitter) <= rules.back_off(attempts + 1, jitter)


@given(ATTEMPTS, JITTER, JITTER)
def test_jitter_spreads_the_waits(attempts: int, one: float, two: float) -> None:
    shorter, longer = sorted((one, two))

    assert rules.back_off(attempts, shorter) <= rules.back_off(attempts, longer)
