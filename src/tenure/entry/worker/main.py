"""Run one worker process: any number of them, on any number of machines."""

import asyncio
import signal

import psycopg
from procrastinate import App
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import DeleteJobCondition
from psycopg_pool import PoolTimeout

from tenure.base.db import DatabaseAway
from tenure.base.log import log
from tenure.base.settings import Settings
from tenure.entry.worker.queue import CHORES, make_queue, queue_of
from tenure.entry.worker.tasks import add_tasks, reconcilers
from tenure.entry.world import World, is_pooled, open_world

POLL = 1.0  # seconds between two looks at the queue where no NOTIFY reaches us
SPARE = 2  # slots beside one for each kind: for jobs that only ask for another round
GRACE = 5.0  # seconds that a job under way gets when we are told to stop
STOPS = (signal.SIGTERM, signal.SIGINT)
AWAY = (ConnectorException, DatabaseAway, psycopg.OperationalError, PoolTimeout)


def run(settings: Settings) -> None:
    """Work until told to stop."""
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in STOPS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_world(settings) as world:
        working = asyncio.create_task(work(world, stop))
        await stop.wait()
        await asyncio.wait({working}, timeout=GRACE + POLL)
        working.cancel()  # where a database that does not answer holds it up
        await asyncio.gather(working, return_exceptions=True)


async def work(world: World, stop: asyncio.Event) -> None:
    """Take jobs until `stop`: of all kinds of subjects, and chores beside them.

    Where the database is away, it waits and begins again.
    """
    while not stop.is_set():
        try:
            await _take_jobs(world, stop)
        except AWAY as exc:
            log.warning("worker.database_away", error=type(exc).__name__)
            await _pause(stop)
        except Exception:  # noqa: BLE001 (the worker outlives its bugs, and tells of them)
            log.exception("worker.begins_again")
            await _pause(stop)


async def _take_jobs(world: World, stop: asyncio.Event) -> None:
    queue = make_queue(world.direct_url)
    add_tasks(queue, world)
    listen = not await is_pooled(world.direct_url)  # a pooler hides NOTIFY; then we only poll
    async with queue.open_async():
        kinds = [queue_of(kind) for kind in reconcilers(world)]
        workers = [
            asyncio.create_task(_worker(queue, "chores", [CHORES], slots=4, listen=listen)),
            asyncio.create_task(
                _worker(queue, "reconcile", kinds, slots=len(kinds) + SPARE, listen=listen)
            ),
        ]
        log.info("worker.started", queues=[CHORES, *kinds], listens=listen)
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*workers, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*workers, stopping):
                task.cancel()
            ended = await asyncio.gather(*workers, return_exceptions=True)
        for problem in ended:
            if isinstance(problem, Exception):
                raise problem


async def _worker(queue: App, name: str, queues: list[str], *, slots: int, listen: bool) -> None:
    await queue.run_worker_async(
        queues=queues,
        name=name,
        concurrency=slots,
        fetch_job_polling_interval=POLL,
        listen_notify=listen,
        shutdown_graceful_timeout=GRACE,
        delete_jobs=DeleteJobCondition.ALWAYS,
        install_signal_handlers=False,
    )


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(POLL):
            await stop.wait()
    except TimeoutError:
        return
