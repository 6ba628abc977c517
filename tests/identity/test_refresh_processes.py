"""Real processes that refresh one session at once, and that are killed in the middle."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tenure.base.clock import SystemClock
from tenure.base.db import Db
from tenure.identity.rotation import SLACK, TRY
from tests.entry.worker.test_pooler import pooled  # noqa: F401 (a fixture: its PgBouncer)
from tests.identity.refresh_scene import Cloud, Scene, a_cloud, a_scene
from tests.journal.builders import until

PROCESSES = 10  # with two requests each


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with a_cloud(SystemClock()) as made:
        yield made


@pytest.fixture
async def scene(db: Db, cloud: Cloud) -> AsyncIterator[Scene]:
    async with a_scene(db, cloud) as made:
        yield made


@pytest.fixture
async def handle(scene: Scene) -> str:
    """A session whose last rotation is a while ago."""
    begun, _ = await scene.a_broker().begin(scene.cloud.a_code())
    await scene.pass_(60)
    return begun


@asynccontextmanager
async def a_process(
    scene: Scene, url: str, handle: str, what: str = "refresh"
) -> AsyncIterator[asyncio.subprocess.Process]:
    workos = scene.cloud.workos
    given = (url, workos.url, workos.client_id, workos.api_key, scene.keys[0], handle, what)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.identity.refresh_process", *given),
        cwd=Path(__file__).parents[2],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        while await process.stdout.readline() != b"ready\n":
            assert not process.stdout.at_eof(), "it died"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def go(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")


async def said(process: asyncio.subprocess.Process) -> list[list[str]]:
    """Read what it got: fresh, verified, token."""
    out, _ = await process.communicate()
    lines = [line.split() for line in out.decode().splitlines()]
    return [words for words in lines if words[:1] in (["True"], ["False"])]


@asynccontextmanager
async def killed_in_the_middle(scene: Scene, url: str, handle: str) -> AsyncIterator[None]:
    """Kill a process after the provider has rotated, while its answer is on the way."""
    scene.cloud.fail("lost", seconds=5)
    async with a_process(scene, url, handle) as victim:
        go(victim)

        async def is_rotated() -> bool:
            return await scene.turns(handle) == 1

        await until(is_rotated)
        victim.kill()
        await victim.wait()
    session = await scene.row(handle)
    assert session.held_for is not None
    assert session.in_doubt_for is not None
    yield


async def test_twenty_requests_in_ten_processes_behind_a_pooler_rotate_once(
    scene: Scene,
    handle: str,
    pooled: str,  # noqa: F811 (the fixture)
) -> None:
    """M8: authkit-nextjs#28, kcap-cli#946: one spent the token, the others were logged out."""
    async with AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(a_process(scene, pooled, handle))
            for _ in range(PROCESSES)
        ]
        for process in processes:
            go(process)
        lines = [line for process in processes for line in await said(process)]

    assert len(lines) == PROCESSES * 2
    assert len({token for _, _, token in lines}) == 1
    assert {(fresh, proven) for fresh, proven, _ in lines} == {("True", "True")}
    assert await scene.turns(handle) == 1


async def test_a_process_killed_between_the_answer_and_the_row_costs_no_session(
    scene: Scene, handle: str, url: str
) -> None:
    """M8: SIGKILL after the provider rotated: the next one gets the very same pair, in time."""
    broker = scene.a_broker()

    async def is_fresh() -> bool:
        return (await broker.refresh(handle)).is_fresh  # until then the old token, which is good

    async with killed_in_the_middle(scene, url, handle):
        await until(is_fresh, within=2 * (TRY + SLACK).total_seconds())
    await broker.close()

    session = await scene.row(handle)
    assert (session.ended_why, session.in_doubt_for) == (None, None)
    assert await scene.turns(handle) == 1


async def test_a_process_that_stands_by_rescues_what_another_left(
    scene: Scene, handle: str, url: str
) -> None:
    """M8: and nobody has to ask for that session within the grace."""
    async with a_process(scene, url, handle, "rescue") as rescuer:
        go(rescuer)
        async with killed_in_the_middle(scene, url, handle):

            async def is_rescued() -> bool:
                return (await scene.row(handle)).in_doubt_for is None

            await until(is_rescued, within=24)

    assert (await scene.row(handle)).ended_why is None
    assert await scene.turns(handle) == 1
