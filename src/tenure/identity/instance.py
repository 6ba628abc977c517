"""Whether the provider we ask is the one that our users are at: a key of another looks the same."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tenure.base.clock import Clock
from tenure.base.db import Db
from tenure.identity import store
from tenure.identity.directory import Directory
from tenure.identity.errors import WrongInstance

GOOD_FOR = timedelta(minutes=1)  # so long one answer counts


@dataclass(slots=True, kw_only=True)
class Instance:
    """Asked before anybody is dropped because the provider does not have her.

    With the key of another instance every question is answered "not found". So the list of users,
    the oldest first, must name somebody whom we know, unless it is empty.
    """

    directory: Directory
    db: Db
    clock: Clock
    _good_until: datetime | None = field(default=None)

    async def check(self) -> None:
        """See that we ask in the right place.

        Errors: WrongInstance, ProviderTrouble.
        """
        now = self.clock.now()
        if self._good_until is not None and now < self._good_until:
            return
        page = await self.directory.users(None)
        names = [user.id for user in page.items]
        async with self.db.statement() as tx:
            is_ours = not names or await store.knows_any(tx, self.directory.provider, names)
        if not is_ours:
            raise WrongInstance(
                f"{self.directory.provider} has users, and none of the first {len(names)} is known",
                provider=self.directory.provider,
            )
        self._good_until = now + GOOD_FOR
