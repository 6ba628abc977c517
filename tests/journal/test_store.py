import asyncio
from datetime import timedelta
from typing import LiteralString

import pytest

from tenure.base.db import Db, open_pool
from tenure.journal import store
from tenure.journal.errors import StaleFence
from tenure.journal.model import Claim, Subject

from .builders import (
    JOB,
    KIND,
    LONG,
    NONE,
    a_subject,
    claim_all,
    claim_one,
    forget_jobs,
    mark,
    rows,
    settle,
    subject_row,
    waiting_jobs,
)

PASSED: LiteralString = "UPDATE tenure.subjects SET lease_until = clock_timestamp()"


async def put_off(db: Db, claim: Claim, *, wait: timedelta = NONE) -> bool:
    async with db.statement() as tx:
        return await store.put_off(tx, claim, error="away", wait=wait)


async def next_due(db: Db, kind: str = KIND) -> timedelta | None:
    async with db.statement() as tx:
        return await store.next_due(tx, kind)


async def take_one(db: Db, *, lease: timedelta = LONG) -> Claim | None:
    async with db.statement() as tx:
        return await store.take_one(tx, a_subject(), lease=lease)


async def let_leases_end(db: Db) -> None:
    async with db.statement() as tx:
        await tx.execute(PASSED)


async def test_a_mark_makes_a_subject_due_and_wakes_a_worker_once(db: Db) -> None:
    await mark(db, a_subject(1), a_subject(2), a_subject(1))
    await mark(db, a_subject(1))

    assert await waiting_jobs(db) == [JOB]
    assert (await subject_row(db))["dirty_seq"] == 2
    assert (await subject_row(db, a_subject(2)))["dirty_seq"] == 1


async def test_a_claim_raises_the_fence_and_counts_the_attempt(db: Db) -> None:
    await mark(db)

    first = await claim_one(db)
    await put_off(db, first)
    second = await claim_one(db)

    assert (first.fence, first.attempts, first.seq) == (1, 1, 1)
    assert (second.fence, second.attempts, second.seq) == (2, 2, 1)


async def test_a_claimed_subject_is_nobody_elses(db: Db) -> None:
    await mark(db)
    await claim_one(db)

    assert await claim_all(db) == []
    assert await take_one(db) is None


async def test_many_claimers_at_once_share_the_subjects(db: Db, url: str) -> None:
    """M6: two workers never hold the same subject."""
    await mark(db, *(a_subject(n) for n in range(60)))
    async with open_pool(url, size=6) as other:
        taken = await asyncio.gather(
            *(claim_all(one, limit=7) for one in [db, Db(other)] for _ in range(8))
        )

    subjects = [claim.subject for claims in taken for claim in claims]
    assert len(subjects) == len(set(subjects)) == 60


async def test_other_kinds_are_left_alone(db: Db) -> None:
    await mark(db, Subject("clerk.user", "user_1"))

    assert await claim_all(db) == []
    assert await next_due(db) is None


async def test_an_expired_lease_is_claimed_anew_and_the_old_fence_is_refused(db: Db) -> None:
    """M6: a stalled worker that wakes up can do no harm."""
    await mark(db)
    stalled = await claim_one(db)
    await let_leases_end(db)
    newer = await claim_one(db)
    before = await subject_row(db)

    with pytest.raises(StaleFence) as refused:
        await settle(db, stalled)
    assert not await put_off(db, stalled)

    assert refused.value.facts["fence"] == stalled.fence
    assert await subject_row(db) == before
    await settle(db, newer)
    assert (await subject_row(db))["settled_seq"] == 1


async def test_a_claim_whose_lease_ended_may_still_settle_until_somebody_claims_it(db: Db) -> None:
    await mark(db)
    slow = await claim_one(db)
    await let_leases_end(db)

    await settle(db, slow)

    assert await claim_all(db) == []


async def test_a_mark_during_a_look_is_due_again_after_the_pause(db: Db) -> None:
    await mark(db)
    claim = await claim_one(db)
    await mark(db)

    await settle(db, claim, pause=LONG)
    assert await claim_all(db) == []
    wait = await next_due(db)
    assert wait is not None
    assert timedelta(minutes=59) < wait <= LONG

    await settle(db, claim, pause=NONE)
    assert (await claim_one(db)).seq == 2


async def test_a_failure_is_put_off_kept_and_forgotten_at_the_next_success(db: Db) -> None:
    await mark(db)
    assert await put_off(db, await claim_one(db), wait=LONG)
    failing = await subject_row(db)
    assert failing["is_put_off"]
    assert (failing["last_error"], failing["attempts"]) == ("away", 1)
    assert await claim_all(db) == []
    async with db.statement() as tx:
        assert [(b.kind, b.due, b.failing) for b in await store.list_backlog(tx)] == [(KIND, 1, 1)]
        await tx.execute("UPDATE tenure.subjects SET retry_at = clock_timestamp()")

    await settle(db, await claim_one(db))

    settled = await subject_row(db)
    assert (settled["last_error"], settled["attempts"]) == (None, 0)
    async with db.statement() as tx:
        assert await store.list_backlog(tx) == []


@pytest.mark.parametrize("error", ["x" * 5_000, "nul \x00 and \ud800"], ids=["long", "odd"])
async def test_any_error_text_can_be_kept(db: Db, error: str) -> None:
    await mark(db)
    claim = await claim_one(db)
    async with db.statement() as tx:
        assert await store.put_off(tx, claim, error=error, wait=NONE)

    assert 0 < len((await subject_row(db))["last_error"]) <= 500


async def test_next_due_knows_now_later_and_never(db: Db) -> None:
    """B7: on every supported Postgres, for a subject that was never looked at too."""
    assert await next_due(db) is None
    await mark(db)
    now = await next_due(db)
    assert now is not None
    assert now <= NONE

    claim = await claim_one(db)
    held = await next_due(db)
    assert held is not None
    assert timedelta(minutes=59) < held <= LONG

    await settle(db, claim)
    assert await next_due(db) is None


async def test_next_due_is_that_of_the_first(db: Db) -> None:
    await mark(db, a_subject(1))
    await put_off(db, await claim_one(db), wait=LONG)
    await mark(db, a_subject(2))

    wait = await next_due(db)

    assert wait is not None
    assert wait <= NONE


async def test_wake_due_wakes_each_kind_that_has_something_due(db: Db) -> None:
    user = Subject("clerk.user", "user_1")
    await mark(db, a_subject(1), a_subject(2), user)
    await forget_jobs(db)
    async with db.statement() as tx:
        await store.wake_due(tx)
    assert await waiting_jobs(db) == ["reconcile:clerk.user", JOB]


@pytest.mark.parametrize("state", ["held", "put off", "settled"])
async def test_wake_due_lets_sleep_what_is_not_due(db: Db, state: str) -> None:
    await mark(db)
    claim = await claim_one(db)
    if state == "put off":
        await put_off(db, claim, wait=LONG)
    if state == "settled":
        await settle(db, claim)
    await forget_jobs(db)

    async with db.statement() as tx:
        await store.wake_due(tx)

    assert await waiting_jobs(db) == []


async def test_take_one_claims_a_new_a_clean_and_a_due_subject_at_once(db: Db) -> None:
    for fence in (1, 2, 3):
        if fence == 3:
            await mark(db)
        claim = await take_one(db)
        assert claim is not None
        assert claim.fence == fence
        await settle(db, claim, pause=LONG)

    assert await rows(db, "SELECT 1 FROM tenure.subjects WHERE dirty_seq > settled_seq") == []


async def test_take_one_at_the_same_time_is_won_by_one(db: Db, url: str) -> None:
    async with open_pool(url, size=4) as other:
        taken = await asyncio.gather(*(take_one(one) for one in [db, Db(other)] * 10))

    assert len([claim for claim in taken if claim]) == 1
