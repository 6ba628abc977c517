import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from tenure.base.clock import SystemClock
from tenure.base.db import Db, Tx
from tenure.base.ids import RandomIds
from tenure.entry.worker.tasks import Drains
from tenure.journal import store
from tenure.journal.model import Claim, Subject
from tenure.journal.reconcile import Pace

KIND = "test.thing"


@dataclass(kw_only=True)
class Looker:
    """A reconciler that takes a moment and notes what it looked at."""

    kind: str = KIND
    seen: list[str] = field(default_factory=list)
    at_once: int = 0
    most: int = 0
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def look(self, subject: Subject) -> None:
        self.began.set()
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        self.seen.append(subject.id)

    async def write(self, tx: Tx, claim: Claim, seen: None) -> None:
        """Write nothing."""


@dataclass(kw_only=True)
class Stage:
    """As much of a world as drains need."""

    db: Db
    pace: Pace
    ids: RandomIds = field(default_factory=RandomIds)
    clock: SystemClock = field(default_factory=SystemClock)


async def mark(db: Db, *names: str) -> None:
    async with db.transaction() as tx:
        await store.mark(tx, [Subject(KIND, name) for name in names])


async def due(db: Db) -> int:
    async with db.statement() as tx:
        return sum(one.due for one in await store.list_backlog(tx))


def drains_of(db: Db, looker: Looker, **pace: object) -> Drains:
    quick = {"pause": timedelta(milliseconds=5), "concurrency": 2} | pace
    return Drains(Stage(db=db, pace=Pace(**quick)), {KIND: looker})  # type: ignore[arg-type]


async def test_a_job_for_what_is_being_drained_only_asks_for_another_round(db: Db) -> None:
    """M6: however many jobs come, one kind takes one slot, and nothing marked meanwhile is left."""
    looker = Looker()
    drains = drains_of(db, looker)
    await mark(db, *(f"a{n}" for n in range(8)))
    first = asyncio.create_task(drains.drain(KIND))
    await looker.began.wait()
    await mark(db, "b")
    await asyncio.gather(*(drains.drain(KIND) for _ in range(5)))  # they return at once
    assert not first.done()
    await first

    assert "b" in looker.seen
    assert looker.most <= 2
    assert await due(db) == 0


async def test_what_is_left_when_patience_ends_is_taken_up_at_once(db: Db) -> None:
    """M6: a long backlog does not wait for the next tick."""
    looker = Looker()
    await mark(db, *(f"a{n}" for n in range(30)))

    await drains_of(db, looker, patience=timedelta(milliseconds=20)).drain(KIND)

    assert len(looker.seen) == 30
    assert await due(db) == 0


async def test_a_kind_that_nobody_knows_is_passed_over(db: Db) -> None:
    """M6: a job of another release must not stop the worker."""
    await drains_of(db, Looker()).drain("unknown.kind")
