"""procrastinate on our Postgres, in a schema of its own, behind any pooler."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from procrastinate import App, PsycopgConnector
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow

CHORES = "tenure"  # relay, tick, sweep, retain; each kind of subject has a queue of its own


def queue_of(kind: str) -> str:
    """Name the queue of the jobs that reconcile one kind of subject."""
    return f"reconcile:{kind}"


class Connector(PsycopgConnector):
    """Runs each statement in a transaction that knows where procrastinate's tables are.

    The library writes their names bare, and a search_path of the session would be lost behind a
    transaction-mode pooler.
    """

    @asynccontextmanager
    async def _get_cursor(
        self, connection: AsyncConnection[Any] | None = None
    ) -> AsyncGenerator[AsyncCursor[DictRow]]:
        async with super()._get_cursor(connection) as cursor, cursor.connection.transaction():
            await cursor.execute("SET LOCAL search_path TO procrastinate, pg_temp")
            yield cursor


def make_queue(url: str) -> App:
    """Make the queue; the caller opens and closes it."""
    connector = Connector(
        conninfo=url,
        min_size=1,
        max_size=6,
        kwargs={"prepare_threshold": None, "application_name": "tenure worker"},
    )
    return App(connector=connector)
