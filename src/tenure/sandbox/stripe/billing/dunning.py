"""When a failed payment is tried again, and when we give up."""

from collections.abc import Sequence

from tenure.sandbox.stripe.model import DAY


def next_attempt(attempts: int, days: Sequence[float], at: int) -> int | None:
    """Say when to try again after `attempts` failures, the last one at `at`; None to give up."""
    if attempts > len(days):
        return None
    return at + int(days[attempts - 1] * DAY)
