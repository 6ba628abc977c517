from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tenure.base.clock import StoppedClock, SystemClock, moment


def test_the_system_clock_speaks_utc_and_never_runs_backwards() -> None:
    clock = SystemClock()

    first, second = clock.now(), clock.now()

    assert first.tzinfo is UTC
    assert first <= second


def test_a_stopped_clock_moves_only_when_told(clock: StoppedClock) -> None:
    start = clock.now()
    assert clock.now() == start

    clock.tick(timedelta(days=31))

    assert clock.now() - start == timedelta(days=31)


@given(st.integers(0, 253_402_300_799))
def test_a_unix_time_and_its_moment_are_the_same(seconds: int) -> None:
    assert moment(seconds).timestamp() == seconds
    assert moment(seconds).tzinfo is UTC


def test_the_epoch_is_the_first_second_of_1970() -> None:
    assert moment(0) == datetime(1970, 1, 1, tzinfo=UTC)
