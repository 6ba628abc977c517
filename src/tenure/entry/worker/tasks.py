"""What the worker does, and when: the one table of reconcilers, news and periodic chores."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from procrastinate import App
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Status

from tenure.base.log import log
from tenure.billing import sweep
from tenure.entry.worker.queue import CHORES
from tenure.entry.world import World
from tenure.journal import news, relay, retain, store
from tenure.journal.reconcile import Reconciler, drain

TICK = "* * * * * */5"  # cron with seconds: what a crash or a lost wake left is due again in 5 s
NIGHTLY = "17 3 * * *"
LOOK_AGAIN_AFTER = timedelta(hours=24)  # a copy that nobody looked at for so long is looked at

# Which news marks which subjects. Nobody outside listens yet; outbound reconcilers stand here.
ROUTES: relay.Routes = {}


def reconcilers(world: World) -> Mapping[str, Reconciler[Any]]:
    """List everything that keeps two sides equal, by the kind of subject."""
    return {reconciler.kind: reconciler for reconciler in (world.customers,)}


def add_tasks(queue: App, world: World) -> None:
    """Register every task with the queue."""
    table = reconcilers(world)

    @queue.task(name="reconcile")
    async def _reconcile(kind: str) -> None:
        if kind not in table:  # of a newer release, or one that is gone
            log.warning("worker.unknown_kind", kind=kind)
            return
        await drain(world.db, table[kind], world.pace, world.ids)

    @queue.task(name="relay", queue=CHORES)
    async def _relay() -> None:
        await relay.relay(world.db, ROUTES)

    _add_periodic(queue, world)


def _add_periodic(queue: App, world: World) -> None:
    every = world.settings.sweep_every

    @queue.periodic(cron=TICK)
    @queue.task(name="tick", queue=CHORES, queueing_lock="tick", pass_context=False)
    async def _tick(timestamp: int) -> None:  # noqa: ARG001 (procrastinate names the moment)
        await _drop_orphans(queue)
        async with world.db.statement() as tx:
            await store.wake_due(tx)
            await news.wake_unsent(tx)

    @queue.periodic(cron=cron_of(every))
    @queue.task(name="sweep", queue=CHORES, queueing_lock="sweep", lock="sweep")
    async def _sweep(timestamp: int) -> None:  # noqa: ARG001 (as above)
        lost = await sweep.sweep(world.db, world.stripe, world.clock, every=every)
        stale = await sweep.look_again(world.db, world.stripe, after=LOOK_AGAIN_AFTER)
        log.info("worker.swept", lost=lost, stale=stale)

    @queue.periodic(cron=NIGHTLY)
    @queue.task(name="retain", queue=CHORES, queueing_lock="retain", lock="retain")
    async def _retain(timestamp: int) -> None:  # noqa: ARG001 (as above)
        settings = world.settings
        dropped = await retain.retain(
            world.db, inbox_kept=settings.inbox_kept, news_kept=settings.news_kept
        )
        log.info("worker.retained", **dropped)


async def _drop_orphans(queue: App) -> None:
    """Forget jobs whose worker died: their locks would hold up every later job of the kind."""
    for job in await queue.job_manager.get_stalled_jobs():
        with suppress(ConnectorException):  # another worker was quicker
            await queue.job_manager.finish_job(job, Status.FAILED, delete_job=True)
            log.warning("worker.orphan_dropped", task=job.task_name)


def cron_of(every: timedelta) -> str:
    """Write an interval as cron, rounded to whole minutes from one minute on."""
    seconds = round(every.total_seconds())
    if seconds < 60:  # noqa: PLR2004 (seconds in a minute)
        return f"* * * * * */{seconds}"
    minutes = seconds // 60
    return f"*/{minutes} * * * *" if minutes < 60 else f"7 */{min(minutes // 60, 23)} * * *"  # noqa: PLR2004 (minutes in an hour)
