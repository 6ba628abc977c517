"""Forget what is settled, sent and old; never what is still due."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from tenure.base.db import Db, Tx
from tenure.journal import news, store

BATCH = 5_000  # rows in one transaction


async def retain(db: Db, *, inbox_kept: timedelta, news_kept: timedelta) -> dict[str, int]:
    """Drop settled events and sent news older than they are kept; count them by table."""
    return {
        "inbox": await _all(db, lambda tx: store.drop_settled(tx, kept=inbox_kept, limit=BATCH)),
        "news": await _all(db, lambda tx: news.drop_sent(tx, kept=news_kept, limit=BATCH)),
    }


async def _all(db: Db, drop: Callable[[Tx], Awaitable[int]]) -> int:
    total = 0
    while True:
        async with db.transaction() as tx:
            dropped = await drop(tx)
        total += dropped
        if dropped < BATCH:
            return total
