"""Hear of changes as they are committed, and drop the facts they change."""

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from tenure.base.log import log
from tenure.gate.cache import FactsCache
from tenure.journal.news import CHANNEL

AGAIN = 1.0  # seconds until we try to listen again
AGAIN_POOLED = 30.0  # the same, where a pooler swallows every note: that is a matter of settings
ALIVE = 10.0  # seconds between two questions whether the connection still stands
ECHO = 2.0  # seconds within which our own note must come back


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
    told = ""  # what was last said of being deaf: once, not every second
    while True:
        pause = AGAIN
        try:
            async with await _connect(url) as conn:
                if await _hears(conn, url):
                    await _listen(conn, cache)
                await conn.execute("UNLISTEN *")  # a pooler hands this session on to others
                pause = AGAIN_POOLED
            why = "a pooler hides NOTIFY: set DATABASE_DIRECT_URL"
        except psycopg.Error as exc:
            why = type(exc).__name__
        except Exception:  # noqa: BLE001 (a bug must not leave us deaf until the process ends)
            log.exception("gate.watch.broke")
            why = "a bug"
        if why != told:
            log.warning("gate.watch.deaf", why=why)
            told = why
        cache.hears(news=False)
        await asyncio.sleep(pause)


async def _connect(url: str) -> AsyncConnection:
    return await AsyncConnection.connect(
        url, autocommit=True, application_name="tenure gate", connect_timeout=5
    )


async def _hears(conn: AsyncConnection, url: str) -> bool:
    """Begin to listen, and send ourselves a note: behind some poolers nothing ever comes."""
    await conn.execute("LISTEN tenure_news")
    await conn.execute("LISTEN tenure_ears")
    note = f"{os.getpid()}:{time.monotonic_ns()}"
    async with await _connect(url) as other:
        await other.execute("SELECT pg_notify('tenure_ears', %s)", (note,))
    async with aclosing(conn.notifies(timeout=ECHO)) as notes:
        async for heard in notes:
            if heard.payload == note:
                return True
    return False


async def _listen(conn: AsyncConnection, cache: FactsCache) -> None:
    await conn.execute("UNLISTEN tenure_ears")
    cache.hears(news=True)  # forgets what was read before we listened
    while True:
        async for note in conn.notifies(timeout=ALIVE):
            if note.channel == CHANNEL:
                _drop(cache, note.payload)
        await conn.execute("SELECT 1")  # raises where the connection died silently


def _drop(cache: FactsCache, payload: str) -> None:
    """Drop what a note names; whatever cannot be understood may mean anything, so drop it all."""
    try:
        told = json.loads(payload)
        cache.drop(org_id=_uuid(told["org_id"]), user_id=_uuid(told["user_id"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        log.warning("gate.watch.not_understood")
        cache.hears(news=True)


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None
