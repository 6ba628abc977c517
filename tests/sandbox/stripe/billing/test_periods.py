from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tenure.sandbox.stripe.billing.periods import period_at, step

moments = st.integers(min_value=946_684_800, max_value=2_524_608_000)
intervals = st.sampled_from(["day", "week", "month", "year"])


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@given(moments, intervals, st.integers(1, 6), moments)
def test_every_moment_is_in_exactly_the_period_found_for_it(
    anchor: int, interval: str, every: int, moment: int
) -> None:
    start, end = period_at(anchor, interval, every, moment)

    assert start <= moment < end


@given(moments, intervals, st.integers(1, 6), moments)
def test_periods_follow_each_other_without_a_gap(
    anchor: int, interval: str, every: int, moment: int
) -> None:
    _, end = period_at(anchor, interval, every, moment)

    assert period_at(anchor, interval, every, end)[0] == end


def test_the_31st_becomes_the_last_day_of_a_short_month_and_comes_back() -> None:
    anchor = at("2026-01-31T10:00:00")

    ends = [step(anchor, "month", months) for months in (1, 2, 3)]

    assert ends == [at("2026-02-28T10:00:00"), at("2026-03-31T10:00:00"), at("2026-04-30T10:00:00")]


def test_a_year_from_a_leap_day_ends_on_the_28th() -> None:
    assert step(at("2024-02-29T00:00:00"), "year", 1) == at("2025-02-28T00:00:00")
