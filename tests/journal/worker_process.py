"""A worker in a process of its own: `python -m tests.journal.worker_process URL sleep|work`."""

import asyncio
import sys
from datetime import timedelta

from tenure.base.db import Db, Tx, open_pool
from tenure.base.ids import RandomIds
from tenure.journal import reconcile
from tenure.journal.model import Claim, Subject
from tenure.journal.reconcile import Pace

from .builders import KIND


class Sleeper:
    """Looks for ever; says so on stdout first."""

    kind = KIND

    async def look(self, subject: Subject) -> None:
        sys.stdout.write(f"{subject.id}\n")
        sys.stdout.flush()
        await asyncio.sleep(3600)

    async def write(self, *_: object) -> None:
        raise AssertionError


class Worker:
    """Notes when each look began, and writes it with the moment it ended."""

    kind = KIND

    def __init__(self, db: Db) -> None:
        self.db = db

    async def look(self, _: Subject) -> object:
        async with self.db.statement() as tx:
            row = await (await tx.execute("SELECT clock_timestamp() AS at")).fetchone()
        await asyncio.sleep(0.005)
        return row["at"] if row else None

    async def write(self, tx: Tx, claim: Claim, seen: object) -> None:
        await tx.execute(
            "INSERT INTO looks VALUES (%s, %s, pg_backend_pid(), %s, clock_timestamp())",
            (claim.subject.id, claim.fence, seen),
        )


async def main(url: str, what: str) -> None:
    async with open_pool(url, size=6) as pool:
        db = Db(pool)
        pace = Pace(
            lease=timedelta(seconds=1 if what == "sleep" else 60),
            pause=timedelta(milliseconds=20),
            concurrency=4,
        )
        await reconcile.drain(db, Sleeper() if what == "sleep" else Worker(db), pace, RandomIds())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
