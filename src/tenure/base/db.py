"""Two powers over the database: `Db` may commit, `Tx` may only write inside."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from tenure.base.errors import TenureError

Tx = AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Tx]

# Connection exceptions, a server that shuts down or starts up, and one that has no room.
AWAY = ("08", "57P", "53")


class DatabaseAway(TenureError):
    """Postgres cannot be reached, or has no connection free."""

    code = "base.database_away"
    hint = "Check DATABASE_URL and the server; nothing was written, so try again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """On whose behalf a request touches tenant tables."""

    org_id: UUID | None  # None: the user acts for herself
    user_id: UUID | None
    role: str | None = None  # as our membership row says


class Db:
    """A pool. Holding one means: I decide where a transaction starts and ends."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Tx]:
        """Open one transaction: commit on success, roll back on any exception.

        Errors: DatabaseAway.
        """
        with_reason = False
        try:
            async with self._lent() as conn, conn.transaction():
                with_reason = True
                yield conn
        except (psycopg.OperationalError, PoolTimeout, PoolClosed) as exc:
            if with_reason and not is_away(exc):
                raise
            raise DatabaseAway(f"the database did not answer ({type(exc).__name__})") from exc

    @asynccontextmanager
    async def scoped(self, scope: Scope) -> AsyncGenerator[Tx]:
        """Open a transaction that sees the tenant tables of one organization or user, and no other.

        Promise: row-level security decides, whatever role the service signed in with.
        """
        async with self.transaction() as tx:
            await tx.execute(
                """
                SELECT set_config('role', 'tenure_app', true),
                       set_config('tenure.org_id', %s, true),
                       set_config('tenure.user_id', %s, true)
                """,
                (str(scope.org_id or ""), str(scope.user_id or "")),
            )
            yield tx

    @asynccontextmanager
    async def statement(self) -> AsyncGenerator[Tx]:
        """Lend a connection for single statements, each a transaction of its own.

        Errors: DatabaseAway.
        """
        try:
            async with self._lent() as conn:
                yield conn
        except (psycopg.OperationalError, PoolTimeout, PoolClosed) as exc:
            if not is_away(exc):
                raise
            raise DatabaseAway(f"the database did not answer ({type(exc).__name__})") from exc

    @asynccontextmanager
    async def _lent(self) -> AsyncGenerator[Tx]:
        """Lend a connection; who was cancelled while she waited for one stays cancelled.

        The pool forgets a cancel that comes in the moment in which it hands a connection over.
        """
        before = _cancels()
        async with self._pool.connection() as conn:
            if _cancels() > before:
                raise asyncio.CancelledError
            yield conn


def _cancels() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def is_away(exc: Exception) -> bool:
    """Say whether an error means that the server is away, not that the statement is wrong."""
    if not isinstance(exc, psycopg.Error):
        return True
    return exc.sqlstate is None or exc.sqlstate.startswith(AWAY)


def open_pool(url: str, *, size: int = 10, pooled: bool = False, timeout: float = 5.0) -> Pool:
    """Make the pool; the caller opens and closes it.

    `pooled`: a transaction-mode pooler stands in between, so no statement stays prepared.
    """
    return AsyncConnectionPool(
        url,
        open=False,
        min_size=1,
        max_size=size,
        timeout=timeout,
        max_lifetime=30 * 60,
        kwargs={
            "row_factory": dict_row,
            "autocommit": True,  # a transaction is opened by name, never by accident
            "prepare_threshold": None if pooled else 5,
            "application_name": "tenure",
            "connect_timeout": int(timeout),
        },
        connection_class=Tx,
        check=_ask,  # a restarted server costs nobody an error
    )


async def _ask(conn: Tx) -> None:
    """Raise where the connection is dead, before somebody is lent it."""
    await conn.execute("")
