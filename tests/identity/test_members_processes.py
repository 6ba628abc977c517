"""Members written by several real processes at once."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tenure.base.db import Db

from .builders import Registry, an_org, rows

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ours(db: Db) -> Registry:
    return Registry(db=db)


@asynccontextmanager
async def ready(url: str, act: str, first: int, last: int) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.identity.member_process", url, act, str(first), str(last)),
        cwd=ROOT,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        assert process.stdout
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def together(url: str, *acts: tuple[str, int, int]) -> None:
    """Start a process for each act, let them go at once, and see that none of them failed."""
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(ready(url, *act)) for act in acts]
        ended = await asyncio.gather(*(one.communicate(b"go\n") for one in processes))
        if any(one.returncode for one in processes):
            pytest.fail(b"".join(told for _, told in ended).decode())


async def test_fifty_joins_from_five_processes_take_exactly_the_seats_there_are(
    ours: Registry, url: str
) -> None:
    """M7: aurora#474, with real processes: 5 seats for 50 who join at once, and 45 are kept."""
    await ours.put_org(an_org())
    await ours.limit(5)

    await together(url, *(("joins", start, start + 10) for start in range(1, 51, 10)))

    assert len(await ours.holders()) == 5
    left = await rows(
        ours.db,
        "SELECT 1 FROM tenure.memberships WHERE NOT holds_seat AND status = 'active'",
    )
    assert len(left) == 45
    assert (await ours.seats()).used == 5
    await ours.check()


async def test_two_changes_of_one_person_at_once_end_alike_in_either_order(
    ours: Registry, url: str
) -> None:
    """M7: two processes tell two halves of sixty lives: everybody ends in her newest one."""
    people = 60
    await ours.put_org(an_org())
    await ours.limit(20)

    await together(url, ("comes", 1, people + 1), ("goes", 1, people + 1))

    for user in range(1, people + 1):
        member = await ours.stands(user)
        assert (member.external_id, member.role) == (f"mem_1_{user}_2", "admin")
    assert len(await ours.holders()) == 20
    await ours.check()


async def test_nothing_that_is_done_to_members_at_once_ever_deadlocks(
    ours: Registry, url: str
) -> None:
    """M7: joins, leaves, deletions, tokens and wishes of few people, from three processes."""
    for org in (1, 2, 3):
        await ours.put_org(an_org(org))
    await ours.limit(2)

    await together(url, *(("anything", start, start + 150) for start in (0, 150, 300)))

    await ours.check()
