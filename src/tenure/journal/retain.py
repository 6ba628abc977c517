"""Forget what is settled, sent and old; never what is still due."""

from datetime import timedelta
from typing import Protocol

from tenure.base.db import Db, Tx
from tenure.journal import news, store

BATCH = 5_000  # rows in one transaction


class Drop(Protocol):
    """Drops old rows of one table, a batch at a time, and counts them."""

    async def __call__(self, tx: Tx, *, kept: timedelta, limit: int) -> int:
        """Drop at most `limit` rows older than `kept`."""
        ...


async def retain(db: Db, *, inbox_kept: timedelta, news_kept: timedelta) -> dict[str, int]:
    """Drop settled events and sent news older than they are kept; count them by table."""
    return {
        "inbox": await drop_all(db, store.drop_settled, kept=inbox_kept),
        "news": await drop_all(db, news.drop_sent, kept=news_kept),
    }


async def drop_all(db: Db, drop: Drop, *, kept: timedelta) -> int:
    """Drop everything older than `kept`, in short transactions; say how much that was."""
    total = 0
    while True:
        async with db.transaction() as tx:
            dropped = await drop(tx, kept=kept, limit=BATCH)
        total += dropped
        if dropped < BATCH:
            return total
