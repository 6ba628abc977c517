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
    the oldest first, must name somebody whom we know; it may be empty where we know one at most.
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
        provider = self.directory.provider
        async with self.db.statement() as tx:
            living = await store.count_living(tx, provider, most=2)
            is_ours = living < 2 if not names else await store.knows_any(tx, provider, names)  # noqa: PLR2004 (the last one may be gone)
        if not is_ours:
            raise WrongInstance(
                f"of the first {len(names)} users of {provider} none is known", provider=provider
            )
        self._good_until = now + GOOD_FOR
