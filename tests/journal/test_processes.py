"""Workers as real processes, that run side by side and that are killed."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tenure.base.db import Db
from tenure.base.ids import CountedIds
from tenure.journal import reconcile

from .builders import (
    SCRATCH,
    Looker,
    a_pace,
    a_subject,
    mark,
    row,
    rows,
    subject_row,
    until,
)

OVERLAPS = """
    SELECT * FROM looks a JOIN looks b ON a.id = b.id AND a.fence < b.fence
     WHERE a.began < b.ended AND b.began < a.ended
    """


@asynccontextmanager
async def a_worker(url: str, what: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.journal.worker_process", url, what),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_worker_killed_between_look_and_write_is_replaced(
    db: Db, url: str, ids: CountedIds
) -> None:
    """M6, B2: SIGKILL in a look: after the lease another worker looks and settles."""
    async with db.statement() as tx:
        await tx.execute(SCRATCH)
    await mark(db)
    async with a_worker(url, "sleep") as victim:
        assert victim.stdout is not None
        assert await victim.stdout.readline() == b"cus_1\n"
        held = await subject_row(db)
        assert (held["fence"], held["settled_seq"]) == (1, 0)
        victim.kill()
        await victim.wait()

    async def is_settled() -> bool:
        await reconcile.drain(db, Looker(), a_pace(), ids)
        return (await subject_row(db))["settled_seq"] == 1

    await until(is_settled)

    assert await row(db, "SELECT * FROM written") == {"id": "cus_1", "fence": 2, "seen": 1}


async def test_two_worker_processes_never_look_at_one_subject_at_the_same_time(
    db: Db, url: str
) -> None:
    """M6: one writer per subject, however many processes there are."""
    async with db.statement() as tx:
        await tx.execute(
            """
            CREATE TABLE looks (id text, fence bigint, pid int,
                                began timestamptz, ended timestamptz)
            """
        )
    subjects = [a_subject(n) for n in range(12)]
    await mark(db, *subjects)
    async with a_worker(url, "work") as one, a_worker(url, "work") as two:
        for _ in range(60):  # keep marking while both run
            await mark(db, *subjects)
        assert await asyncio.gather(one.wait(), two.wait()) == [0, 0]

    async def all_settled() -> bool:
        due = await rows(db, "SELECT FROM tenure.subjects WHERE dirty_seq > settled_seq")
        return not due

    await until(all_settled)
    assert await rows(db, OVERLAPS) == []
    assert {one["id"] for one in await rows(db, "SELECT id FROM looks")} == {
        subject.id for subject in subjects
    }
    fences = await row(db, "SELECT count(*) AS n, count(DISTINCT (id, fence)) AS d FROM looks")
    assert fences["n"] == fences["d"]
