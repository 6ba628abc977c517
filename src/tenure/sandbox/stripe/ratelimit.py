"""Stripe's rate limits: one bucket for everything, one for each operation."""

from tenure.base.clock import Clock
from tenure.sandbox.stripe.errors import too_fast


class Bucket:
    """Lets `rate` requests a second through, and as many in a burst."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._full = max(rate, 1.0)
        self._left = self._full
        self._at = clock.now().timestamp()

    def take(self) -> bool:
        """Take one place, if there is one."""
        now = self._clock.now().timestamp()
        self._left = min(self._full, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class RateLimit:
    """Both limits of one account; a rate of 0 means no limit."""

    def __init__(self, rate: float, operation_rate: float, clock: Clock) -> None:
        self._whole = Bucket(rate, clock) if rate else None
        self._operation_rate = operation_rate
        self._clock = clock
        self._operations: dict[str, Bucket] = {}

    def check(self, operation: str) -> None:
        """Let a request through.

        Errors: the 429 of Stripe.
        """
        if self._whole is not None and not self._whole.take():
            raise too_fast()
        if not self._operation_rate:
            return
        if operation not in self._operations:
            self._operations[operation] = Bucket(self._operation_rate, self._clock)
        if not self._operations[operation].take():
            raise too_fast()
