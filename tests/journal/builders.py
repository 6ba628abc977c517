"""What the tests of the journal are made from."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import LiteralString

from psycopg.rows import DictRow

from tenure.base.db import Db, Tx
from tenure.journal import store
from tenure.journal.model import Claim, Knock, Subject
from tenure.journal.reconcile import Pace

KIND = "stripe.customer"
JOB = f"reconcile:{KIND}"
LONG = timedelta(hours=1)
NONE = timedelta(0)
SCRATCH = "CREATE TABLE written (id text, fence bigint, seen int)"


def a_knock(number: int = 1, **changes: object) -> Knock:
    """Make a valid event; name only the fields the test is about."""
    base: dict[str, object] = {
        "source": "stripe",
        "livemode": False,
        "event_id": f"evt_{number}",
        "kind": "customer.updated",
        "subject": a_subject(),
        "body": b"{}",
    }
    return Knock(**base | changes)  # type: ignore[arg-type]


def a_subject(number: int = 1) -> Subject:
    return Subject(KIND, f"cus_{number}")


def a_pace(**changes: object) -> Pace:
    base: dict[str, object] = {
        "pause": timedelta(milliseconds=50),
        "patience": timedelta(seconds=10),
    }
    return Pace(**base | changes)  # type: ignore[arg-type]


class Looker:
    """A reconciler that counts its looks, and writes what it counted."""

    kind = KIND

    def __init__(self, *, failures: Sequence[Exception] = (), breaks: bool = False) -> None:
        self.looks: Counter[str] = Counter()
        self.failures = list(failures)
        self.breaks = breaks  # in `write`, after its row is written

    async def look(self, subject: Subject) -> int:
        self.looks[subject.id] += 1
        await self.meanwhile(subject)
        if self.failures:
            raise self.failures.pop(0)
        return self.looks[subject.id]

    async def meanwhile(self, subject: Subject) -> None:
        """Do what a test wants to happen during a look."""

    async def write(self, tx: Tx, claim: Claim, seen: int) -> None:
        await tx.execute(
            "INSERT INTO written VALUES (%s, %s, %s)", (claim.subject.id, claim.fence, seen)
        )
        if self.breaks:
            raise RuntimeError("a bug in write")


async def rows(db: Db, query: LiteralString, *params: object) -> list[DictRow]:
    async with db.statement() as tx:
        return await (await tx.execute(query, params)).fetchall()


async def row(db: Db, query: LiteralString, *params: object) -> DictRow:
    found = await rows(db, query, *params)
    assert len(found) == 1, found
    return found[0]


async def subject_row(db: Db, subject: Subject | None = None) -> DictRow:
    kind, key = subject or a_subject()
    query: LiteralString = """
        SELECT dirty_seq, claimed_seq, settled_seq, fence, lease_until, attempts, last_error,
               retry_at > clock_timestamp() AS is_put_off, settled_at
          FROM tenure.subjects WHERE kind = %s AND id = %s
        """
    return await row(db, query, kind, key)


async def waiting_jobs(db: Db) -> list[str]:
    query: LiteralString = """
        SELECT queueing_lock AS lock FROM procrastinate.procrastinate_jobs
         WHERE status = 'todo' ORDER BY 1
        """
    return [job["lock"] for job in await rows(db, query)]


async def forget_jobs(db: Db) -> None:
    """Let every job be done, as after a worker ran."""
    async with db.statement() as tx:
        await tx.execute("UPDATE procrastinate.procrastinate_jobs SET status = 'succeeded'")


async def mark(db: Db, *subjects: Subject) -> None:
    async with db.statement() as tx:
        await store.mark(tx, subjects or [a_subject()])


async def put(db: Db, *knocks: Knock) -> None:
    async with db.statement() as tx:
        await store.put_knocks(tx, knocks)


async def claim_all(db: Db, *, limit: int = 10, lease: timedelta = LONG) -> list[Claim]:
    async with db.statement() as tx:
        return await store.take_due(tx, KIND, limit=limit, lease=lease)


async def claim_one(db: Db, *, lease: timedelta = LONG) -> Claim:
    claims = await claim_all(db, lease=lease)
    assert len(claims) == 1, claims
    return claims[0]


async def settle(db: Db, claim: Claim, *, pause: timedelta = NONE) -> None:
    async with db.transaction() as tx:
        await store.settle(tx, claim, pause=pause)


async def until(holds: Callable[[], Awaitable[bool]], *, within: float = 20.0) -> None:
    """Ask again and again; fail when it takes too long."""
    ends = time.monotonic() + within
    while not await holds():
        assert time.monotonic() < ends, f"did not come true within {within} s"
        await asyncio.sleep(0.02)
