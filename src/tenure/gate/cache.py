"""Facts kept for a moment in this process, and dropped when news says that they changed."""

import time
from collections import OrderedDict, defaultdict
from datetime import timedelta
from uuid import UUID

from tenure.gate.model import Facts

Key = tuple[str, str, str | None]  # provider, its user, its organization
DEAF = timedelta(seconds=1)  # how long facts are good while no news reaches us


class FactsCache:
    """Facts by whom they are about. One event loop uses it; nothing here waits.

    Promise: facts are never older than `max_age`; and facts read before a change was told are
             never kept after it (`epoch` raised while they were read).
    """

    def __init__(self, *, max_age: timedelta, room: int = 50_000) -> None:
        self._max_age = max_age.total_seconds()
        self._good_for = min(self._max_age, DEAF.total_seconds())  # until somebody listens
        self._room = room
        self._kept: OrderedDict[Key, tuple[float, Facts]] = OrderedDict()
        self._about: defaultdict[UUID, set[Key]] = defaultdict(set)
        self.epoch = 0

    def get(self, key: Key) -> Facts | None:
        """Give what is kept and still good."""
        kept = self._kept.get(key)
        if kept is None or time.monotonic() - kept[0] > self._good_for:
            return None
        return kept[1]

    def put(self, key: Key, facts: Facts, *, epoch: int, began: float) -> None:
        """Keep facts whose reading began at `began` (monotonic), unless news came meanwhile."""
        if epoch != self.epoch:
            return
        self._kept[key] = (began, facts)
        for about in filter(None, (facts.org_id, facts.user_id)):
            self._about[about].add(key)
        while len(self._kept) > self._room:
            self._forget(next(iter(self._kept)))

    def drop(self, *, org_id: UUID | None, user_id: UUID | None) -> None:
        """Forget what is known of an organization or user: something changed there."""
        self.epoch += 1
        for about in filter(None, (org_id, user_id)):
            for key in tuple(self._about.get(about, ())):
                self._forget(key)

    def hears(self, *, news: bool) -> None:
        """Note whether news reaches us; what was kept while it did not is forgotten."""
        self._good_for = self._max_age if news else min(self._max_age, DEAF.total_seconds())
        self.epoch += 1
        self._kept.clear()
        self._about.clear()

    def _forget(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is None:
            return
        for about in filter(None, (kept[1].org_id, kept[1].user_id)):
            self._about[about].discard(key)
            if not self._about[about]:
                del self._about[about]
