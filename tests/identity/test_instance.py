from datetime import UTC, datetime, timedelta

import pytest

from tenure.base.clock import StoppedClock
from tenure.base.db import Db
from tenure.base.ids import RandomIds
from tenure.identity import people
from tenure.identity.act import Act
from tenure.identity.clerk import ClerkDirectory
from tenure.identity.errors import WrongInstance
from tenure.identity.instance import Instance
from tenure.sandbox.clerk.app import Inside, clerk_inside

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def no_limit() -> None:
    """Spend nothing."""


def directory_of(clerk: Inside) -> ClerkDirectory:
    return ClerkDirectory(
        clerk.world.state.secret_key,
        livemode=False,
        api_base=clerk.world.url,
        http=clerk.http,
        spend=no_limit,
    )


async def test_with_the_key_of_another_instance_nobody_is_believed_missing(db: Db) -> None:
    """M7: every question is answered "not found" there, for everybody."""
    clock = StoppedClock(NOON)
    async with clerk_inside(clock=clock) as ours, clerk_inside(clock=clock) as other:
        await sign_up(ours, "ada@example.com")
        await sign_up(other, "stranger@example.com")
        await keep_all(db, ours)
        good = Instance(directory=directory_of(ours), db=db, clock=clock)
        wrong = Instance(directory=directory_of(other), db=db, clock=clock)

        await good.check()
        with pytest.raises(WrongInstance, match="of the first 1 users of clerk none is known"):
            await wrong.check()


async def test_an_instance_without_any_user_is_believed(db: Db) -> None:
    """M7: the last user may be deleted too."""
    clock = StoppedClock(NOON)
    async with clerk_inside(clock=clock) as clerk:
        await Instance(directory=directory_of(clerk), db=db, clock=clock).check()


async def test_a_good_answer_counts_for_a_minute(db: Db) -> None:
    clock = StoppedClock(NOON)
    async with clerk_inside(clock=clock) as clerk:
        await sign_up(clerk, "ada@example.com")
        await keep_all(db, clerk)
        instance = Instance(directory=directory_of(clerk), db=db, clock=clock)

        await instance.check()
        await instance.check()
        assert await times_listed(clerk) == 1
        clock.tick(timedelta(minutes=1))
        await instance.check()
        assert await times_listed(clerk) == 2


async def sign_up(clerk: Inside, email: str) -> None:
    made = await clerk.http.post("/v1/users", json={"email_address": [email]})
    assert made.is_success, made.text


async def keep_all(db: Db, clerk: Inside) -> None:
    page = await directory_of(clerk).users(None)
    async with db.transaction() as tx:
        act = Act(tx=tx, ids=RandomIds(), provider="clerk", now=NOON, cause="walk", asked=True)
        for user in page.items:
            await people.put_user(act, user)


async def times_listed(clerk: Inside) -> int:
    counted = (await clerk.http.get("/_sandbox/requests")).json()["by_path"]
    asked = sum(n for path, n in counted.items() if path.endswith("/v1/users"))
    return asked - 2  # the sign-up, and `keep_all`
