"""Billing periods: calendar steps from an anchor, in UTC."""

from calendar import monthrange
from datetime import timedelta

from tenure.base.clock import moment

MONTHS = {"month": 1, "year": 12}
DAYS = {"day": 1, "week": 7}


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
    longest = {"day": 86_400, "week": 604_800, "month": 31 * 86_400, "year": 366 * 86_400}
    steps = (at - anchor) // (longest[interval] * every) if at >= anchor else -1
    if at < anchor:
        steps = -((anchor - at) // (86_400 * 27)) - 2
    while step(anchor, interval, (steps + 1) * every) <= at:
        steps += 1
    return step(anchor, interval, steps * every), step(anchor, interval, (steps + 1) * every)
