from datetime import datetime, timedelta

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from tenure.entry.worker.tasks import NIGHTLY, TICK, cron_of


@pytest.mark.parametrize(
    ("every", "cron"),
    [
        (timedelta(seconds=5), "* * * * * */5"),
        (timedelta(seconds=59), "* * * * * */59"),
        (timedelta(minutes=1), "*/1 * * * *"),
        (timedelta(minutes=15), "*/15 * * * *"),
        (timedelta(hours=1), "7 */1 * * *"),
        (timedelta(days=3), "7 */23 * * *"),
    ],
)
def test_an_interval_is_written_as_cron(every: timedelta, cron: str) -> None:
    assert cron_of(every) == cron


@given(st.integers(1, 7 * 86_400).map(lambda seconds: timedelta(seconds=seconds)))
def test_every_interval_comes_up_at_least_once_a_day(every: timedelta) -> None:
    """M6: whatever the setting says, lost knocks are looked for."""
    start = datetime(2026, 3, 1)  # noqa: DTZ001 (cron knows no zone)
    found = croniter(cron_of(every), start).get_next(datetime)

    assert found - start <= timedelta(days=1)


def test_the_chores_have_times_of_their_own() -> None:
    assert croniter.is_valid(TICK)
    assert croniter.is_valid(NIGHTLY)
