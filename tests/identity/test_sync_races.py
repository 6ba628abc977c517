"""Workers, requests and webhooks at the same rows at once, as on the first day."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
import structlog

from tenure.base.db import Db, open_pool
from tenure.base.ids import RandomIds
from tenure.entry.worker.tasks import ROUTES
from tenure.identity.arrive import arrive
from tenure.journal import relay, store
from tenure.journal.model import Knock
from tenure.journal.reconcile import Pace, drain

from .builders import rows
from .mirror import Clerk, a_clerk
from .test_arrive import a_principal

PACE = Pace(pause=timedelta(milliseconds=20), patience=timedelta(seconds=20), concurrency=4)


async def arrivals(db: Db, clerk: Clerk, pairs: Sequence[str]) -> None:
    """Let everybody come with a token."""
    for pair in pairs:
        org, user = pair.split("/")
        who = a_principal(user_id=user, org_id=org, role="member", org_slug=None)
        await arrive(db, clerk.clock, RandomIds(), who)


async def knocks(db: Db, clerk: Clerk) -> None:
    """Take everything in, several events of several kinds at a time."""
    heard = [clerk.directory.knock_of(body, event_id=name) for name, body in clerk.letters()]
    for start in range(0, len(heard), 7):
        some: Sequence[Knock] = heard[start : start + 7]
        async with db.statement() as tx:
            await store.put_knocks(tx, some)


async def relays(db: Db, *, times: int) -> None:
    """Pass news on, and let the job be done, so that the next news needs a new one."""
    for _ in range(times):
        await relay.relay(db, ROUTES)
        await rows(
            db,
            """
            DELETE FROM procrastinate.procrastinate_jobs
             WHERE id IN (SELECT id FROM procrastinate.procrastinate_jobs
                           ORDER BY id FOR UPDATE SKIP LOCKED) RETURNING 1
            """,
        )
        await asyncio.sleep(0)


@pytest.mark.parametrize("asks", [True, False], ids=["asked", "told"])
async def test_the_first_day_ends_equal_and_without_a_deadlock(
    url: str,
    asks: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """M7: everybody signs in, every event comes, and every worker looks, all at once."""
    async with open_pool(url, size=24, timeout=60) as pool, a_clerk(Db(pool), asks=asks) as clerk:
        crowd = Db(pool)
        pairs = []
        for number in range(4):
            org = await clerk.an_org(f"Org {number}")
            pairs += [await clerk.a_member(f"u{number}{n}", org) for n in range(4)]
        with structlog.testing.capture_logs() as lines:
            await asyncio.gather(
                arrivals(crowd, clerk, pairs),
                arrivals(crowd, clerk, pairs[::-1]),
                knocks(crowd, clerk),
                relays(crowd, times=60),
                *(drain(crowd, one, PACE, RandomIds()) for one in clerk.reconcilers() * 2),
            )
        clerk.heard = len(clerk.letters())
        await clerk.wait_over()
        await clerk.work()

        await clerk.check()
    assert [line for line in lines if line["event"] == "journal.reconcile.broke"] == []
