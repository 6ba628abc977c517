"""Billing periods: calendar steps from an anchor, in UTC."""

from calendar import monthrange
from datetime import timedelta

from tenure.base.clock import moment

MONTHS = {"month": 1, "year": 12}
DAYS = {"day": 1, "week": 7}
SHORTEST = {"day": 86_400, "week": 604_800, "month": 28 * 86_400, "year": 365 * 86_400}
LONGEST = {"day": 86_400, "week": 604_800, "month": 31 * 86_400, "year": 366 * 86_400}


def step(anchor: int, interval: str, count: int) -> int:
    """Move from the anchor by `count` intervals; a day that a month lacks becomes its last."""
    start = moment(anchor)
    if interval in DAYS:
        return int((start + timedelta(days=DAYS[interval] * count)).timestamp())
    months = start.year * 12 + start.month - 1 + MONTHS[interval] * count
    year, month = divmod(months, 12)
    day = min(start.day, monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def period_at(anchor: int, interval: str, every: int, at: int) -> tuple[int, int]:
    """Find the period that holds the moment `at`; a period includes its start, not its end."""
    after = at >= anchor
    length = (LONGEST if after else SHORTEST)[interval] * every
    steps = (at - anchor) // length - (0 if after else 1)  # never too late: then walk on
    while step(anchor, interval, (steps + 1) * every) <= at:
        steps += 1
    return step(anchor, interval, steps * every), step(anchor, interval, (steps + 1) * every)
