"""Hear of changes as they are committed, and drop the facts they change."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from tenure.base.log import log
from tenure.gate.cache import FactsCache
from tenure.journal.news import CHANNEL

AGAIN = 1.0  # seconds until we try to listen again
ALIVE = 10.0  # seconds between two questions whether the connection still stands


@asynccontextmanager
async def watching(url: str, cache: FactsCache) -> AsyncGenerator[None]:
    """Listen for as long as the block lasts. `url` must not be a transaction-mode pooler."""
    task = asyncio.create_task(_watch(url, cache))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(url: str, cache: FactsCache) -> None:
    while True:
        try:
            async with await AsyncConnection.connect(
                url, autocommit=True, application_name="tenure gate", connect_timeout=5
            ) as conn:
                await _listen(conn, cache)
        except psycopg.OperationalError as exc:
            log.warning("gate.watch.deaf", error=type(exc).__name__)
        cache.hears(news=False)
        await asyncio.sleep(AGAIN)


async def _listen(conn: AsyncConnection, cache: FactsCache) -> None:
    await conn.execute("LISTEN tenure_news")
    cache.hears(news=True)
    while True:
        async for note in conn.notifies(timeout=ALIVE):
            if note.channel == CHANNEL:
                told = json.loads(note.payload)
                cache.drop(org_id=_uuid(told["org_id"]), user_id=_uuid(told["user_id"]))
        await conn.execute("SELECT 1")  # raises where the connection died silently


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None
