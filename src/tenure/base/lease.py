"""Something that only one process may do at a time, across calls to the outside."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from tenure.base.db import Db
from tenure.base.errors import TenureError
from tenure.base.ids import Ids

ASK_AGAIN = 0.05  # seconds


class Busy(TenureError):
    """Somebody else does the same thing right now."""

    code: ClassVar[str] = "base.busy"
    hint: ClassVar[str] = "Try again in a moment."
    retry_after = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """Hands out leases; a row with an end, so that it works behind poolers and survives deaths."""

    db: Db
    ids: Ids

    @asynccontextmanager
    async def held(
        self,
        name: str,
        *,
        last: timedelta = timedelta(seconds=30),
        wait: timedelta = timedelta(seconds=5),
    ) -> AsyncGenerator[None]:
        """Hold `name` for the length of the block, waiting up to `wait` for it.

        Errors:  Busy.
        Promise: nobody else holds it, unless the block takes longer than `last`: so what is done
                 inside must also be safe twice. The lease saves work, it carries no truth.
        """
        holder = self.ids.token("lease_")
        ends = time.monotonic() + wait.total_seconds()
        while not await self._take(name, holder, last):
            if time.monotonic() > ends:
                raise Busy(f"{name} is held by somebody else", name=name)
            await asyncio.sleep(ASK_AGAIN)
        try:
            yield
        finally:
            await self._drop(name, holder)

    async def _take(self, name: str, holder: str, last: timedelta) -> bool:
        async with self.db.statement() as tx:
            cur = await tx.execute(
                """
                INSERT INTO tenure.leases AS l (name, holder, until)
                VALUES (%s, %s, clock_timestamp() + %s)
                ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
                 WHERE l.until <= clock_timestamp()
                """,
                (name, holder, last),
            )
            return cur.rowcount == 1

    async def _drop(self, name: str, holder: str) -> None:
        async with self.db.statement() as tx:
            await tx.execute(
                "DELETE FROM tenure.leases WHERE name = %s AND holder = %s", (name, holder)
            )
