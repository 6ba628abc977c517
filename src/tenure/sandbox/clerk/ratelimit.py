"""Clerk's limit: so many requests of the Backend API in ten seconds, counted per instance.

Source: clerk.com/docs/guides/how-clerk-works/system-limits
"""

import math
from dataclasses import dataclass

from tenure.base.clock import Clock

WINDOW = 10.0
PRODUCTION, DEVELOPMENT = 1000, 100
EXEMPT = frozenset({"/v1/jwks"})


@dataclass(slots=True)
class RateLimit:
    """Counts the requests of the present ten seconds; a limit of 0 is none."""

    clock: Clock
    limit: int = 0
    began: float = -math.inf
    taken: int = 0

    def wait(self, path: str) -> int | None:
        """Take a place; without one, tell for how many whole seconds to stay away."""
        if not self.limit or path in EXEMPT:
            return None
        now = self.clock.now().timestamp()
        if now - self.began >= WINDOW:
            self.began, self.taken = now, 0
        self.taken += 1
        return None if self.taken <= self.limit else math.ceil(self.began + WINDOW - now)
