import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import LiteralString

import pytest

from tenure.base.db import DatabaseAway, Db, open_pool
from tenure.journal import inbox, store
from tenure.journal.errors import InboxFull
from tenure.journal.inbox import Inbox
from tenure.journal.model import Knock, Subject
from tenure.schema import apply, changes
from tests.conftest import Frail, recreate

from .builders import (
    JOB,
    LONG,
    a_knock,
    a_subject,
    claim_one,
    forget_jobs,
    put,
    row,
    rows,
    settle,
    subject_row,
    until,
    waiting_jobs,
)

IDS = "SELECT event_id FROM tenure.inbox ORDER BY 1"


async def keep_all(db: Db, knocks: Sequence[Knock]) -> list[BaseException | None]:
    async with Inbox(db) as box:
        return await asyncio.gather(*map(box.keep, knocks), return_exceptions=True)


async def kept(db: Db) -> set[str]:
    return {found["event_id"] for found in await rows(db, IDS)}


async def test_what_comes_at_once_is_written_in_one_statement(
    db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M6: verify, dedupe, 2xx: many requests share one commit."""
    sizes: list[int] = []
    put_knocks = store.put_knocks

    async def counted(tx: object, knocks: Sequence[Knock]) -> None:
        sizes.append(len(knocks))
        await put_knocks(tx, knocks)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "put_knocks", counted)
    await keep_all(db, [a_knock(n, subject=a_subject(n % 7)) for n in range(100)])

    assert sizes == [100]
    assert (await row(db, "SELECT count(*) AS n FROM tenure.inbox")) == {"n": 100}
    commits = await rows(db, "SELECT DISTINCT xmin::text FROM tenure.inbox")
    assert len(commits) == 1


async def test_a_large_burst_is_cut_into_bounded_batches(
    db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "BATCH", 20)

    await keep_all(db, [a_knock(n) for n in range(100)])

    commits = await rows(db, "SELECT count(*) AS n FROM tenure.inbox GROUP BY xmin::text")
    assert sum(found["n"] for found in commits) == 100
    assert max(found["n"] for found in commits) <= 20


async def test_the_same_event_fifty_times_at_once_is_one_row_and_a_mark(db: Db, url: str) -> None:
    """T8, M6: a doubled event is kept once."""
    async with open_pool(url, size=4) as other:
        both = await asyncio.gather(
            keep_all(db, [a_knock()] * 25), keep_all(Db(other), [a_knock()] * 25)
        )

    assert both == [[None] * 25] * 2
    assert await kept(db) == {"evt_1"}
    assert (await subject_row(db))["dirty_seq"] > (await subject_row(db))["settled_seq"]
    assert await waiting_jobs(db) == [JOB]


async def test_events_of_other_accounts_modes_and_sources_are_other_events(db: Db) -> None:
    others = [
        a_knock(),
        a_knock(livemode=True),
        a_knock(account="acct_2"),
        a_knock(source="clerk"),
    ]

    await put(db, *others)

    assert await row(db, "SELECT count(*) AS n FROM tenure.inbox") == {"n": 4}


async def test_a_duplicate_of_an_unsettled_event_wakes_the_worker_again(db: Db) -> None:
    await put(db, a_knock())
    await forget_jobs(db)

    await put(db, a_knock())

    assert await waiting_jobs(db) == [JOB]
    assert (await subject_row(db))["dirty_seq"] == 1


async def test_a_duplicate_of_a_settled_event_does_not_mark(db: Db) -> None:
    await put(db, a_knock())
    await settle(db, await claim_one(db))

    await put(db, a_knock())

    seen = await subject_row(db)
    assert (seen["dirty_seq"], seen["settled_seq"]) == (1, 1)


async def test_an_event_that_concerns_nobody_is_kept_with_its_note(db: Db) -> None:
    """T8: an unknown kind of event is kept and answered 2xx."""
    odd = a_knock(kind="radar.something", subject=None, note="unknown kind", body=b"\x00\xff")

    assert await keep_all(db, [odd]) == [None]

    found = await row(db, "SELECT * FROM tenure.inbox")
    assert (found["seq"], found["note"], found["body"]) == (None, "unknown kind", b"\x00\xff")
    assert await rows(db, "SELECT * FROM tenure.subjects") == []
    assert await waiting_jobs(db) == []


async def test_a_subject_that_is_due_and_unclaimed_is_not_touched_again(db: Db) -> None:
    await put(db, a_knock(1))
    version: LiteralString = "SELECT xmin::text, ctid::text, dirty_seq FROM tenure.subjects"
    before = await row(db, version)

    await put(db, a_knock(2))

    assert await row(db, version) == before
    assert await kept(db) == {"evt_1", "evt_2"}


async def test_a_claimed_subject_is_raised_once_until_it_is_claimed_again(db: Db) -> None:
    await put(db, a_knock(1))
    await claim_one(db)

    await put(db, a_knock(2))
    await put(db, a_knock(3))

    seen = await subject_row(db)
    assert (seen["dirty_seq"], seen["claimed_seq"], seen["settled_seq"]) == (2, 1, 0)


async def test_an_event_is_settled_exactly_when_a_later_look_is(db: Db) -> None:
    """B2: what came before the look is settled by it, what came during it is not."""
    settled = """
        SELECT i.event_id FROM tenure.inbox i JOIN tenure.subjects s
            ON s.kind = i.subject_kind AND s.id = i.subject_id
         WHERE i.seq <= s.settled_seq ORDER BY 1
        """
    await put(db, a_knock(1), a_knock(2))
    first = await claim_one(db)
    await put(db, a_knock(3))
    assert (
        await rows(db, "SELECT 1 FROM tenure.inbox JOIN tenure.subjects ON seq > dirty_seq") == []
    )

    await settle(db, first)
    assert [found["event_id"] for found in await rows(db, settled)] == ["evt_1", "evt_2"]

    await settle(db, await claim_one(db))
    assert len(await rows(db, settled)) == 3


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "customer\x00updated"},
        {"subject": Subject("stripe.customer", "cus_\x00")},
        {"note": "\ud800", "subject": None},
        {"event_id": "".join(sha256(bytes([n])).hexdigest() for n in range(200))},
    ],
    ids=["nul", "nul in the subject", "half a surrogate pair", "too long for an index"],
)
async def test_a_bad_event_does_not_hold_up_the_others(db: Db, bad: dict[str, object]) -> None:
    knocks = [a_knock(1), a_knock(2, **bad), a_knock(3)]

    answers = await keep_all(db, knocks)

    assert [answer is None for answer in answers] == [True, False, True]
    assert await kept(db) == {"evt_1", "evt_3"}


async def test_more_than_we_may_hold_in_memory_is_refused(
    db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "ROOM", 3)

    answers = await keep_all(db, [a_knock(n) for n in range(5)])

    assert [type(answer) for answer in answers] == [type(None)] * 3 + [InboxFull] * 2
    assert await kept(db) == {"evt_0", "evt_1", "evt_2"}


async def test_a_client_that_goes_away_costs_nobody_else_an_answer(db: Db) -> None:
    async with Inbox(db) as box:
        gone, stays = (asyncio.create_task(box.keep(a_knock(n))) for n in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        await stays

    assert "evt_2" in await kept(db)
    assert gone.cancelled()


async def test_no_answer_before_the_commit(db: Db, url: str) -> None:
    """T8: the 2xx goes out only after the commit."""
    async with open_pool(url, size=2) as other, Inbox(db) as box:
        async with Db(other).transaction() as tx:
            await tx.execute("LOCK TABLE tenure.inbox IN EXCLUSIVE MODE")
            answer = asyncio.create_task(box.keep(a_knock()))
            await until(lambda: _somebody_waits(db))
            assert not answer.done()
        await answer

    assert await kept(db) == {"evt_1"}


async def test_an_inbox_that_closes_answers_everybody(db: Db, url: str) -> None:
    async with open_pool(url, size=2) as other, Db(other).transaction() as tx:
        await tx.execute("LOCK TABLE tenure.inbox IN EXCLUSIVE MODE")
        async with Inbox(db) as box:
            answer = asyncio.create_task(box.keep(a_knock()))
            await until(lambda: _somebody_waits(db))
        async with asyncio.timeout(10):
            with pytest.raises(DatabaseAway):
                await answer

    assert await kept(db) == set()


async def test_nothing_is_lost_when_the_database_dies_and_the_provider_tries_again(
    frail: Frail,
) -> None:
    """T8: Postgres away gives an error, never a 2xx; the retry is kept."""
    url = recreate(frail.on(), "frail_inbox", "template0")
    apply.apply(url, changes.load())
    async with open_pool(url, size=3, timeout=2) as pool, Inbox(Db(pool)) as box:
        await box.keep(a_knock(1))
        frail.off()
        answers = await asyncio.gather(
            *(box.keep(a_knock(n)) for n in range(2, 5)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [DatabaseAway] * 3

        frail.on()
        await until(lambda: _is_kept(box, [a_knock(n) for n in range(1, 5)]))
        assert await kept(Db(pool)) == {"evt_1", "evt_2", "evt_3", "evt_4"}


async def test_a_restart_nobody_noticed_costs_no_event_an_error(frail: Frail) -> None:
    """T8, B7: a kept connection that died is replaced before anybody hears of it."""
    url = recreate(frail.on(), "frail_inbox", "template0")
    apply.apply(url, changes.load())
    async with open_pool(url, size=3) as pool, Inbox(Db(pool)) as box:
        await asyncio.gather(*(box.keep(a_knock(n)) for n in range(5)))
        frail.off()
        frail.on()
        await asyncio.gather(*(box.keep(a_knock(n)) for n in range(5, 9)))
        assert len(await kept(Db(pool))) == 9


async def test_a_database_that_hangs_is_given_up_and_the_next_try_is_kept(
    frail: Frail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T8: slow is answered like away, and in time for the provider's retry."""
    monkeypatch.setattr(inbox, "GIVE_UP", 0.5)
    url = recreate(frail.on(), "frail_inbox", "template0")
    apply.apply(url, changes.load())
    async with open_pool(url, size=3) as pool, Inbox(Db(pool)) as box:
        await box.keep(a_knock(1))
        with _hanging(await _processes(Db(pool), frail)):
            async with asyncio.timeout(30):
                with pytest.raises(DatabaseAway):
                    await box.keep(a_knock(2))
        await until(lambda: _is_kept(box, [a_knock(2)]))
        assert await kept(Db(pool)) == {"evt_1", "evt_2"}


async def _processes(db: Db, frail: Frail) -> list[int]:
    assert frail.server is not None
    found = await rows(db, "SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
    return [frail.server.process.pid, *(one["pid"] for one in found)]


@contextmanager
def _hanging(pids: Sequence[int]) -> Iterator[None]:
    """Let server processes stand still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def test_two_processes_on_hot_subjects_do_not_deadlock(db: Db, url: str) -> None:
    """M6: the same events, in any order, through two pools at once, while a worker claims."""
    await _widen_the_window(db)
    nobody = [a_knock(n, subject=None, note="nobody") for n in range(10)]
    hot = [a_knock(n, subject=Subject(f"kind{n % 3}", f"{n % 4}")) for n in range(10, 40)]
    async with open_pool(url, size=4) as other:
        for _ in range(6):
            async with asyncio.timeout(30):
                await asyncio.gather(  # a deadlock would be raised here
                    put(db, *nobody, *hot),
                    put(Db(other), *reversed(hot), *reversed(nobody)),
                    put(Db(other), *reversed(nobody), *hot),
                    _look(db),
                )
            async with db.statement() as tx:
                gone = await tx.execute("DELETE FROM tenure.inbox WHERE source = 'stripe'")
            assert gone.rowcount == 40


async def _widen_the_window(db: Db) -> None:
    """Make the inbox so large that rows come in the caller's order, and each takes a moment."""
    async with db.statement() as tx:
        await tx.execute(
            """
            INSERT INTO tenure.inbox (source, livemode, event_id, kind, body)
            SELECT 'clerk', false, 'evt_' || n, 'user.updated', '' FROM generate_series(1, 20000) n
            """
        )
        await tx.execute("ANALYZE tenure.inbox")
        await tx.execute(
            """
            CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END $$;
            CREATE TRIGGER slow BEFORE INSERT ON tenure.inbox
                FOR EACH ROW EXECUTE FUNCTION slow();
            CREATE TRIGGER slow BEFORE INSERT ON tenure.subjects
                FOR EACH ROW EXECUTE FUNCTION slow();
            """
        )


async def _look(db: Db) -> None:
    """Claim and settle meanwhile, as a worker does."""
    async with db.statement() as tx:
        claims = await store.take_due(tx, "kind1", limit=10, lease=LONG)
    for claim in claims:
        await settle(db, claim)


async def _somebody_waits(db: Db) -> bool:
    found = await rows(db, "SELECT 1 FROM pg_locks WHERE NOT granted AND database IS NOT NULL")
    return bool(found)


async def _is_kept(box: Inbox, knocks: Sequence[Knock]) -> bool:
    try:
        for knock in knocks:
            await box.keep(knock)
    except DatabaseAway:
        return False
    return True
