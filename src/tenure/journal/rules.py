"""Decisions about when to look again."""

from datetime import timedelta

FIRST = timedelta(seconds=1)
LONGEST = timedelta(minutes=5)


def back_off(attempts: int, jitter: float, *, asked: timedelta = timedelta(0)) -> timedelta:
    """Say how long to wait after failure number `attempts`.

    Units:   `jitter` is a fraction from 0 up to 1; `asked` is what the provider asked us to wait.
    Promise: between half and the whole of 1 s, 2 s, 4 s … 5 min, and never less than `asked`.
    """
    whole = min(LONGEST, FIRST * 2 ** min(attempts - 1, 16))
    return max(asked, whole * (0.5 + jitter / 2))
