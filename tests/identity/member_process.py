"""A process that writes members: `python -m tests.identity.member_process URL ACT FROM TO`.

It says `ready`, waits for a line, does everything several at once, and ends with 0 or a traceback.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tenure.base.clock import StoppedClock
from tenure.base.db import Db, open_pool
from tenure.base.ids import RandomIds
from tenure.identity.errors import NoSuchMember
from tenure.identity.wish import Wishes

from .builders import Registry, a_membership, a_user, an_org, at, gone

AT_ONCE = 6
ORGS = 3


async def joins(ours: Registry, numbers: range) -> AsyncIterator[Coroutine[Any, Any, object]]:
    """Let each of some people join one organization."""
    for user in numbers:
        yield ours.put(a_membership(user))


async def comes(ours: Registry, numbers: range) -> AsyncIterator[Coroutine[Any, Any, object]]:
    """Tell of each person's first and second life."""
    for user in numbers:
        yield ours.put(a_membership(user), asked=False)
        yield ours.put(a_membership(user, gen=2, role="admin"), asked=False)


async def goes(ours: Registry, numbers: range) -> AsyncIterator[Coroutine[Any, Any, object]]:
    """Tell of the end of each person's first life, and of a change in it."""
    for user in numbers:
        yield ours.drop(gone(user), user)
        yield ours.put(a_membership(user, role="viewer", version=at(1500)), asked=False)


async def anything(ours: Registry, numbers: range) -> AsyncIterator[Coroutine[Any, Any, object]]:
    """Do everything that takes a lock, to few people and organizations, in no order."""
    for number in numbers:
        dice = number * 7919 % 10007
        user, org = dice % 5 + 1, dice // 5 % ORGS + 1
        later = replace(ours, clock=StoppedClock(at(10**7 + number * 120)))  # absences yield
        yield _any(later, user, org, dice // 15 % 10, number)


async def _any(ours: Registry, user: int, org: int, what: int, number: int) -> None:
    gen = number // 20 + 1  # so that people come back
    if what < 3:
        await ours.put(*(a_membership(one, org, gen=gen) for one in (user, user % 5 + 1)))
        return
    acts: dict[int, Callable[[], Awaitable[object]]] = {
        3: lambda: ours.drop_user(user),  # found missing: later answers bring her back
        4: lambda: ours.put_user(a_user(user, version=at(number))),
        5: lambda: ours.drop_org(org),
        6: lambda: ours.put_org(an_org(org, version=at(number))),
        7: lambda: ours.drop(gone(user, org, gen=gen), user, org),
        8: lambda: ours.admit(user, org),
        9: lambda: _wish(ours, user, org),
    }
    await acts[what]()


async def _wish(ours: Registry, user: int, org: int) -> None:
    member = await ours.member(user, org)
    if member is not None and member.removed_at is None:
        wishes = Wishes(db=ours.db, clock=ours.clock, ids=ours.ids)
        with suppress(NoSuchMember):  # removed meanwhile
            await wishes.set_role(await ours.scope(org), member.user_id, "viewer", actor="user:x")


ACTS = {"joins": joins, "comes": comes, "goes": goes, "anything": anything}


async def main(url: str, act: str, first: str, last: str) -> None:
    async with open_pool(url, size=AT_ONCE, timeout=60) as pool:
        ours = Registry(db=Db(pool), ids=RandomIds())
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        room = asyncio.Semaphore(AT_ONCE)

        async def do(one: Coroutine[Any, Any, object]) -> None:
            async with room:
                await one

        async with asyncio.TaskGroup() as group:
            async for one in ACTS[act](ours, range(int(first), int(last))):
                group.create_task(do(one))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
