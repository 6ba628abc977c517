import asyncio
from datetime import timedelta

import pytest

from tenure.base.db import DatabaseAway, Db, open_pool
from tenure.base.ids import RandomIds
from tenure.base.lease import Busy, Leases
from tests.journal.builders import rows

SOON = timedelta(milliseconds=100)
LONG = timedelta(seconds=30)


def leases(db: Db) -> Leases:
    return Leases(db=db, ids=RandomIds())


async def hold(db: Db, *, wait: timedelta = SOON) -> None:
    async with leases(db).held("x", wait=wait):
        pass


async def test_ten_holders_at_once_hold_one_after_the_other(db: Db, url: str) -> None:
    """T4: what only one may do at a time is done by one, in every process."""
    inside, most, turns = 0, 0, 0

    async def take(mine: Db) -> None:
        nonlocal inside, most, turns
        async with leases(mine).held("x", wait=LONG):
            inside += 1
            most = max(most, inside)
            turns += 1
            await asyncio.sleep(0)
            await rows(mine, "SELECT 1")
            inside -= 1

    async with open_pool(url, size=6) as other:
        await asyncio.gather(*(take(mine) for mine in [db, Db(other)] * 5))

    assert (most, turns, inside) == (1, 10, 0)
    assert await rows(db, "SELECT * FROM tenure.leases") == []


async def test_who_waits_too_long_is_told_that_somebody_is_busy(db: Db) -> None:
    async with leases(db).held("x"):
        with pytest.raises(Busy) as busy:
            await hold(db)
    assert busy.value.facts == {"name": "x"}
    assert busy.value.retry_after > timedelta(0)

    await hold(db)


async def test_other_names_are_other_leases(db: Db) -> None:
    async with leases(db).held("x"), leases(db).held("y"):
        names = await rows(db, "SELECT name FROM tenure.leases ORDER BY 1")
    assert [row["name"] for row in names] == ["x", "y"]


async def test_a_holder_that_died_is_replaced_when_its_lease_ends(db: Db) -> None:
    """T4: process death does not lock anybody out."""
    async with db.statement() as tx:
        await tx.execute(
            """
            INSERT INTO tenure.leases
            VALUES ('x', 'somebody who died', clock_timestamp() + interval '200 ms')
            """
        )

    await hold(db, wait=LONG)


async def test_a_holder_that_was_replaced_does_not_end_its_successors_lease(db: Db) -> None:
    async with leases(db).held("x", last=timedelta(0)):
        async with leases(db).held("x", last=LONG):
            held = await rows(db, "SELECT holder FROM tenure.leases")
        await rows(db, "SELECT 1")
        async with db.statement() as tx:
            await tx.execute(
                "INSERT INTO tenure.leases VALUES ('x', 'a third', now() + interval '1 hour')"
            )
    assert len(held) == 1
    assert [row["holder"] for row in await rows(db, "SELECT holder FROM tenure.leases")] == [
        "a third"
    ]


async def test_a_lease_is_given_back_when_its_block_fails(db: Db) -> None:
    with pytest.raises(LookupError):
        async with leases(db).held("x"):
            raise LookupError

    assert await rows(db, "SELECT * FROM tenure.leases") == []


async def test_a_lease_is_given_back_when_its_holder_is_cancelled(db: Db) -> None:
    held = asyncio.Event()

    async def take() -> None:
        async with leases(db).held("x"):
            held.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(take())
    await held.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await rows(db, "SELECT * FROM tenure.leases") == []


async def test_without_a_database_nobody_holds_anything(url: str) -> None:
    async with open_pool(url, size=1) as pool:
        closed = Db(pool)
    with pytest.raises(DatabaseAway):
        await hold(closed)
