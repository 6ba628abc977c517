"""Time is an argument: use cases take a Clock, rules take the moment itself."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Anything that knows the present moment."""

    def now(self) -> datetime:
        """Return the present moment, in UTC."""
        ...


class SystemClock:
    """The real clock; the only place in the tree that asks the machine for the time."""

    def now(self) -> datetime:
        """Return the machine's present moment, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 (this file is the one exception)


class StoppedClock:
    """A clock that moves only when told to: for tests, and for the sandbox's test clocks."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """Return the moment it was set to."""
        return self.at

    def tick(self, by: timedelta) -> None:
        """Move forward by `by`."""
        self.at += by


def moment(unix_seconds: float) -> datetime:
    """Read a UNIX time in seconds as a moment in UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC)
