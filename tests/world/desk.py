"""The tables of one life at a time, in a database that many lives use one after the other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import sql
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from tenure.base.db import Db, Tx

EMPTY = (
    *("decisions", "membership_history", "memberships", "seats", "tombstones", "walk_seen"),
    *("walks", "event_cursors", "revoked_sessions", "inbox", "subjects", "sweeps", "news"),
    *("audit_log", "audit_heads", "identities", "users", "organizations"),
)
DELETE = sql.SQL(";").join(
    [
        *(sql.SQL("DELETE FROM {}").format(sql.Identifier("tenure", name)) for name in EMPTY),
        sql.SQL("DELETE FROM procrastinate.procrastinate_jobs"),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Desk:
    db: Db

    async def rows(self, query: LiteralString, *values: Any) -> list[dict[str, Any]]:
        async with self.db.statement() as tx:
            return await (await tx.execute(query, values)).fetchall()

    async def wipe(self) -> None:
        """Forget the life before: without triggers, for which nothing may be deleted."""
        async with self.db.transaction() as tx:
            await tx.execute("SET LOCAL session_replication_role = replica")
            await tx.execute(DELETE)


@asynccontextmanager
async def a_desk(url: str) -> AsyncIterator[Desk]:
    """Open a pool that trusts its connections, which saves a call for each transaction."""
    pool: AsyncConnectionPool[Tx] = AsyncConnectionPool(
        url,
        open=False,
        min_size=1,
        max_size=8,
        kwargs={"row_factory": dict_row, "autocommit": True},
        connection_class=Tx,
    )
    async with pool:
        yield Desk(db=Db(pool))
