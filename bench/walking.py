"""One walk in a process of its own, so that its memory can be told: JSON in, JSON out."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tenure.base.budget import Budget
from tenure.base.clock import SystemClock
from tenure.base.db import Db, open_pool
from tenure.base.ids import RandomIds
from tenure.identity.clerk import ClerkDirectory
from tenure.identity.directory import Directory, Page
from tenure.identity.model import SeenMembership
from tenure.identity.walk import Walker
from tenure.identity.workos import WorkosDirectory

T = TypeVar("T")
PLAIN = """
    INSERT INTO bench_members (id, org_id, user_id, role, status) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (id) DO UPDATE
       SET org_id = excluded.org_id, user_id = excluded.user_id, role = excluded.role,
           status = excluded.status
    """
TABLE = """
    CREATE TABLE IF NOT EXISTS bench_members (
        id text PRIMARY KEY, org_id text, user_id text, role text, status text)
    """


@dataclass(slots=True, kw_only=True)
class Counted:
    """How many calls were made, and the budget that each one spends."""

    db: Db
    budget: Budget
    calls: int = 0

    async def spend(self) -> None:
        """Take one call."""
        self.calls += 1
        await self.budget.spend(self.db)


@dataclass(slots=True, kw_only=True)
class Walked:
    """What a walk came to."""

    met: int = 0
    differences: int = 0
    reasons: dict[str, int] = field(default_factory=dict[str, int])


async def main(asked: dict[str, Any]) -> dict[str, Any]:
    """Walk as asked: "walk" as the worker does, "plain" as a script would, "list" only reading."""
    every = {"walk": _walk, "plain": _plain, "list": _list}
    # A budget so wide that only its statement costs: what the real limit makes of it is reckoned.
    budget = Budget(name="bench", every=timedelta(microseconds=1), burst=1_000_000)
    async with (
        open_pool(asked["database"], size=4) as pool,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        counted = Counted(db=Db(pool), budget=budget)
        directory = _directory(asked, http, counted)
        began, cpu = time.perf_counter(), time.process_time()
        walked = await every[asked["how"]](directory, counted.db)
        return {
            "seconds": time.perf_counter() - began,
            "busy": time.process_time() - cpu,
            "calls": counted.calls,
            "met": walked.met,
            "differences": walked.differences,
            "reasons": walked.reasons,
            "peak_mib": _peak(),
        }


def _peak() -> float:
    """Say how much memory this program has held at most; what rusage says is also its parent's."""
    status = Path("/proc/self/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if "VmHWM" in line)
    return int(kilobytes) / 1024


def _directory(asked: dict[str, Any], http: httpx.AsyncClient, counted: Counted) -> Directory:
    base, key = asked["base"], asked["key"]
    if asked["provider"] == "clerk":
        return ClerkDirectory(key, livemode=False, api_base=base, http=http, spend=counted.spend)
    return WorkosDirectory(key, api_base=base, http=http, spend=counted.spend)


async def _walk(directory: Directory, db: Db) -> Walked:
    """Walk as the worker does."""
    walked = Walked()
    walker = Walker(directory=directory, db=db, clock=SystemClock(), ids=RandomIds())
    async for step in walker.walk():
        walked.met += step.met if step.phase == "memberships" else 0
        walked.differences += len(step.differences)
        for difference in step.differences:
            reason = f"{difference.subject.kind} {difference.reason}"
            walked.reasons[reason] = walked.reasons.get(reason, 0) + 1
    return walked


async def _plain(directory: Directory, db: Db) -> Walked:
    """Write memberships as a script would: no order of versions, no history, no seats, no log."""
    walked = Walked()
    async for page in _pages(directory):
        rows = [(m.id, m.org.id, m.user.id, m.role, m.status.value) for m in page.items]
        async with db.transaction() as tx, tx.cursor() as cur:
            await cur.executemany(PLAIN, rows)
        walked.met += len(rows)
    return walked


async def _list(directory: Directory, db: Db) -> Walked:
    """Read only: what nobody can be faster than."""
    del db
    walked = Walked()
    async for page in _pages(directory):
        walked.met += len(page.items)
    return walked


async def _pages(directory: Directory) -> AsyncIterator[Page[SeenMembership]]:
    """List the same as a walk does, in the same order."""
    orgs: list[str | None] = []
    for kind in (directory.users, directory.organizations):
        orgs = []
        async for page in _all(kind):
            orgs += [item.id for item in page.items]
    if directory.lists_everywhere:
        orgs = [None]
    for org in orgs:
        async for page in _all(partial(directory.memberships, org)):
            yield page


async def _all(list_: Callable[[str | None], Awaitable[Page[T]]]) -> AsyncIterator[Page[T]]:
    place: str | None = None
    while True:
        page = await list_(place)
        yield page
        if (place := page.next) is None:
            return


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
