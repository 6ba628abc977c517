import asyncio
from datetime import timedelta

import psycopg
import pytest

from tenure.base.db import DatabaseAway, Db, open_pool
from tenure.base.errors import TenureError
from tenure.base.ids import CountedIds
from tenure.journal import reconcile, store
from tenure.journal.errors import StaleFence
from tenure.journal.model import Subject
from tenure.schema import apply, changes
from tests.conftest import Frail, recreate

from .builders import (
    KIND,
    NONE,
    SCRATCH,
    Looker,
    a_knock,
    a_pace,
    a_subject,
    claim_one,
    mark,
    put,
    row,
    rows,
    subject_row,
    until,
)


class Busy(TenureError):
    code = "test.busy"
    retry_after = timedelta(minutes=7)


@pytest.fixture
async def scratch(db: Db) -> Db:
    async with db.statement() as tx:
        await tx.execute(SCRATCH)
    return db


async def written(db: Db) -> list[tuple[str, int, int]]:
    found = await rows(db, "SELECT id, fence, seen FROM written ORDER BY ctid")
    return [(one["id"], one["fence"], one["seen"]) for one in found]


async def unsettled(db: Db) -> int:
    query = "SELECT count(*) AS n FROM tenure.subjects WHERE dirty_seq > settled_seq"
    return (await row(db, query))["n"]


async def test_what_is_due_is_looked_at_written_and_settled(scratch: Db, ids: CountedIds) -> None:
    """M6: one writer that looks, and never applies what an event says."""
    await put(scratch, *(a_knock(n, subject=a_subject(n % 20)) for n in range(60)))
    looker = Looker()

    looks = await reconcile.drain(scratch, looker, a_pace(), ids)

    assert looks == 20
    assert set(looker.looks.values()) == {1}
    assert len(await written(scratch)) == 20
    assert await unsettled(scratch) == 0


async def test_with_nothing_due_a_drain_returns_at_once(scratch: Db, ids: CountedIds) -> None:
    assert await reconcile.drain(scratch, Looker(), a_pace(), ids) == 0


async def test_a_burst_of_300_events_during_a_drain_costs_at_most_two_looks(
    scratch: Db, ids: CountedIds
) -> None:
    """M6: a burst on one customer is one look, and one more for what came during it."""
    await mark(scratch)

    class Burst(Looker):
        async def meanwhile(self, subject: Subject) -> None:
            if self.looks[subject.id] == 1:
                for n in range(300):
                    await put(scratch, a_knock(n))

    looker = Burst()
    assert await reconcile.drain(scratch, looker, a_pace(), ids) <= 2

    assert looker.looks["cus_1"] <= 2
    assert await unsettled(scratch) == 0


async def test_marks_that_come_while_a_drain_ends_are_seen_by_it_or_by_the_next_job(
    scratch: Db, ids: CountedIds
) -> None:
    looker = Looker()
    for _ in range(5):
        await mark(scratch)
        drained = asyncio.create_task(reconcile.drain(scratch, looker, a_pace(), ids))
        for _ in range(30):
            await mark(scratch)
        await drained
        await reconcile.drain(scratch, looker, a_pace(), ids)
        assert await unsettled(scratch) == 0


async def test_no_more_looks_at_once_than_the_pace_allows(scratch: Db, ids: CountedIds) -> None:
    await mark(scratch, *(a_subject(n) for n in range(12)))
    at_once: list[int] = []

    class Crowd(Looker):
        now = 0

        async def meanwhile(self, _: Subject) -> None:
            self.now += 1
            at_once.append(self.now)
            await asyncio.sleep(0.01)
            self.now -= 1

    await reconcile.drain(scratch, Crowd(), a_pace(concurrency=3), ids)

    assert max(at_once) == 3


async def test_a_slow_look_does_not_hold_up_what_is_marked_during_it(
    scratch: Db, ids: CountedIds
) -> None:
    await mark(scratch, a_subject(1))

    class OneIsSlow(Looker):
        async def meanwhile(self, subject: Subject) -> None:
            if subject.id == "cus_1":
                await mark(scratch, a_subject(2))
                await until(lambda: is_written(scratch))

    assert await reconcile.drain(scratch, OneIsSlow(), a_pace(), ids) == 2

    assert [one for one, _, _ in await written(scratch)] == ["cus_2", "cus_1"]


async def test_a_failing_look_is_put_off_with_its_reason_and_a_later_one_clears_it(
    scratch: Db, ids: CountedIds
) -> None:
    await mark(scratch)
    looker = Looker(failures=[Busy("not now")])

    await reconcile.drain(scratch, looker, a_pace(), ids)

    failing = await subject_row(scratch)
    assert failing["is_put_off"]
    assert failing["lease_until"] is None
    assert (failing["last_error"], failing["attempts"]) == ("test.busy: not now", 1)
    assert await written(scratch) == []
    wait = await row(scratch, "SELECT retry_at - clock_timestamp() AS wait FROM tenure.subjects")
    assert timedelta(minutes=6) < wait["wait"] <= Busy.retry_after  # as the provider asked

    await retry_now(scratch)
    await reconcile.drain(scratch, looker, a_pace(), ids)

    settled = await subject_row(scratch)
    assert (settled["last_error"], settled["attempts"]) == (None, 0)
    assert await unsettled(scratch) == 0


async def test_a_subject_that_keeps_failing_does_not_stop_the_others(
    scratch: Db, ids: CountedIds
) -> None:
    await mark(scratch, *(a_subject(n) for n in range(6)))

    class OneIsBroken(Looker):
        async def meanwhile(self, subject: Subject) -> None:
            if subject.id == "cus_3":
                raise KeyError("a bug \x00")

    await reconcile.drain(scratch, OneIsBroken(), a_pace(concurrency=2), ids)

    assert {one for one, _, _ in await written(scratch)} == {f"cus_{n}" for n in (0, 1, 2, 4, 5)}
    assert "KeyError" in (await subject_row(scratch, a_subject(3)))["last_error"]


async def test_an_exception_in_write_takes_back_the_rows_and_the_settling(
    scratch: Db, ids: CountedIds
) -> None:
    """M6: state, audit, news and settled are one transaction."""
    await mark(scratch)

    await reconcile.drain(scratch, Looker(breaks=True), a_pace(), ids)

    seen = await subject_row(scratch)
    assert await written(scratch) == []
    assert (seen["settled_seq"], seen["lease_until"]) == (0, None)
    assert "a bug in write" in seen["last_error"]


async def test_a_stale_look_writes_nothing(scratch: Db) -> None:
    """M6: fencing: who was overtaken is refused."""
    await mark(scratch)
    stalled = await claim_one(scratch, lease=NONE)
    newer = await claim_one(scratch)

    with pytest.raises(StaleFence):
        await reconcile.look_and_write(scratch, Looker(), stalled, pause=NONE)
    await reconcile.look_and_write(scratch, Looker(), newer, pause=NONE)

    assert await written(scratch) == [("cus_1", newer.fence, 1)]


async def test_a_look_that_outlives_its_lease_is_overtaken_and_refused(
    scratch: Db, ids: CountedIds
) -> None:
    await mark(scratch)
    begun = asyncio.Event()

    class Stalls(Looker):
        async def meanwhile(self, subject: Subject) -> None:
            begun.set()
            if self.looks[subject.id] == 1:
                await until(lambda: is_written(scratch))

    looker, pace = Stalls(), a_pace(lease=timedelta(milliseconds=200))
    stalled = asyncio.create_task(reconcile.drain(scratch, looker, pace, ids))
    await begun.wait()
    await until(lambda: is_settled(scratch, looker, ids))
    await stalled

    assert await written(scratch) == [("cus_1", 2, 2)]


async def test_no_transaction_is_open_during_a_look(scratch: Db, ids: CountedIds) -> None:
    await mark(scratch)
    seen: list[str] = []

    class Peeks(Looker):
        async def meanwhile(self, _: Subject) -> None:
            query = """
                SELECT state FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()
                   AND backend_type = 'client backend' AND xact_start IS NOT NULL
                """
            seen.extend(one["state"] for one in await rows(scratch, query))

    await reconcile.drain(scratch, Peeks(), a_pace(), ids)

    assert seen == []


async def test_a_drain_ends_when_its_patience_does_though_more_is_due(
    scratch: Db, ids: CountedIds
) -> None:
    """Others get their turn: patience holds under a load that never stops."""
    await mark(scratch, *(a_subject(n) for n in range(6)))

    class NeverDone(Looker):
        async def meanwhile(self, subject: Subject) -> None:
            await mark(scratch, subject)
            await asyncio.sleep(0.005 * int(subject.id[-1]))  # so that one is always running

    pace = a_pace(pause=NONE, patience=timedelta(milliseconds=300), concurrency=3)
    async with asyncio.timeout(20):
        looks = await reconcile.drain(scratch, NeverDone(), pace, ids)

    assert looks > 6
    assert await unsettled(scratch) > 0
    held = await rows(scratch, "SELECT FROM tenure.subjects WHERE lease_until IS NOT NULL")
    assert held == []


async def test_a_drain_that_is_cut_off_leaves_no_look_running(scratch: Db, ids: CountedIds) -> None:
    await mark(scratch, a_subject(1), a_subject(2))
    begun: asyncio.Event = asyncio.Event()
    ended: list[str] = []

    class Endless(Looker):
        async def meanwhile(self, subject: Subject) -> None:
            begun.set()
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(subject.id)

    job = asyncio.create_task(reconcile.drain(scratch, Endless(), a_pace(), ids))
    await begun.wait()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job

    assert sorted(ended) == ["cus_1", "cus_2"]


async def test_a_worker_that_is_told_to_stop_gives_its_claims_back_at_once(
    scratch: Db, ids: CountedIds
) -> None:
    begun = asyncio.Event()

    class Endless(Looker):
        async def meanwhile(self, _: Subject) -> None:
            begun.set()
            await asyncio.Event().wait()

    await mark(scratch, a_subject())
    task = asyncio.create_task(reconcile.drain(scratch, Endless(), a_pace(), ids))
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    found = await subject_row(scratch)
    assert (found["lease_until"], found["attempts"]) == (None, 0)
    assert (
        await reconcile.drain(scratch, Looker(), a_pace(), ids) == 1
    )  # long before the lease ends


async def test_what_is_due_soon_is_waited_for_and_what_is_due_later_is_not(
    scratch: Db, ids: CountedIds
) -> None:
    await mark(scratch, a_subject(1), a_subject(2))
    async with scratch.statement() as tx:
        await tx.execute(
            """
            UPDATE tenure.subjects SET retry_at = clock_timestamp()
                   + CASE id WHEN 'cus_1' THEN interval '200 ms' ELSE interval '1 hour' END
            """
        )
    looker = Looker()

    await reconcile.drain(scratch, looker, a_pace(pause=timedelta(milliseconds=400)), ids)

    assert dict(looker.looks) == {"cus_1": 1}


async def test_a_row_that_somebody_locks_is_passed_over_and_seen_later(
    scratch: Db, url: str, ids: CountedIds
) -> None:
    await mark(scratch, a_subject(1), a_subject(2))
    looker = Looker()
    async with open_pool(url, size=1) as other, Db(other).transaction() as tx:
        await tx.execute("SELECT FROM tenure.subjects WHERE id = 'cus_1' FOR UPDATE")
        job = asyncio.create_task(reconcile.drain(scratch, looker, a_pace(), ids))
        await until(lambda: is_written(scratch))
        assert dict(looker.looks) == {"cus_2": 1}
    await job

    assert dict(looker.looks) == {"cus_1": 1, "cus_2": 1}


async def test_a_database_that_goes_away_leaves_the_subject_to_the_next_drain(
    frail: Frail, ids: CountedIds
) -> None:
    """B7: Postgres restarted in the middle: nothing is half written, nothing is forgotten."""
    url = recreate(frail.on(), "frail_reconcile", "template0")
    apply.apply(url, changes.load())
    async with open_pool(url, size=4, timeout=2) as pool:
        db = Db(pool)
        async with db.statement() as tx:
            await tx.execute(SCRATCH)
        await mark(db)

        class Cut(Looker):
            async def meanwhile(self, subject: Subject) -> None:
                if self.looks[subject.id] == 1:
                    await asyncio.to_thread(frail.off)

        looker = Cut()
        with pytest.raises(DatabaseAway):
            await reconcile.drain(db, looker, a_pace(lease=timedelta(seconds=1)), ids)
        frail.on()
        await until(lambda: is_settled(db, looker, ids))

        assert [(key, seen) for key, _, seen in await written(db)] == [("cus_1", 2)]


async def test_a_job_is_there_as_soon_as_the_mark_is(scratch: Db) -> None:
    """M6: the job is deferred in the same transaction as the mark."""

    async with scratch.transaction() as tx:
        await store.mark(tx, [a_subject()])
        raise psycopg.Rollback

    assert await rows(scratch, "SELECT FROM procrastinate.procrastinate_jobs") == []
    await mark(scratch)
    found = await row(scratch, "SELECT task_name, args FROM procrastinate.procrastinate_jobs")
    assert found == {"task_name": "reconcile", "args": {"kind": KIND}}


async def retry_now(db: Db) -> None:
    async with db.statement() as tx:
        await tx.execute("UPDATE tenure.subjects SET retry_at = clock_timestamp()")


async def is_written(db: Db) -> bool:
    return bool(await written(db))


async def is_settled(db: Db, looker: Looker, ids: CountedIds) -> bool:
    """Drain once more, as the next job does."""
    try:
        await reconcile.drain(db, looker, a_pace(), ids)
        return await unsettled(db) == 0
    except DatabaseAway:
        return False
