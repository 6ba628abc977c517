"""What the worker does, and when: the one table of reconcilers, news and periodic chores."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from procrastinate import App
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Status

from tenure.base.log import log
from tenure.billing import sweep
from tenure.entry.worker.identity import identity_reconcilers, poll_events, walk_all
from tenure.entry.worker.queue import CHORES
from tenure.entry.world import World
from tenure.identity import decisions, fulfil, graves, session_rows, sync
from tenure.journal import news, relay, retain, store
from tenure.journal.reconcile import Reconciler, drain

TICK = "* * * * * */5"  # cron with seconds: what a crash or a lost wake left is due again in 5 s
NIGHTLY = "17 3 * * *"
SESSIONS_KEPT = timedelta(days=400)  # longer than any provider lets a session live
LOOK_AGAIN_AFTER = timedelta(hours=24)  # a copy that nobody looked at for so long is looked at

# Which news marks which subjects: outbound reconcilers stand here.
ROUTES: relay.Routes = {"member.wished": fulfil.route, "identity.named": sync.route}


def reconcilers(world: World) -> Mapping[str, Reconciler[Any]]:
    """List everything that keeps two sides equal, by the kind of subject."""
    everything = (world.customers, *identity_reconcilers(world))
    return {reconciler.kind: reconciler for reconciler in everything}


def add_tasks(queue: App, world: World) -> None:
    """Register every task with the queue."""
    drains = Drains(world, reconcilers(world))

    @queue.task(name="reconcile")
    async def _reconcile(kind: str) -> None:
        await drains.drain(kind)

    @queue.task(name="relay", queue=CHORES)
    async def _relay() -> None:
        await relay.relay(world.db, ROUTES)

    _add_periodic(queue, world)


class Drains:
    """Drains each kind of subject once at a time in this process, so that none takes all slots.

    A job for a kind that is being drained only asks for another round.
    """

    def __init__(self, world: World, table: Mapping[str, Reconciler[Any]]) -> None:
        self._world = world
        self._table = table
        self._under_way: set[str] = set()
        self._again: set[str] = set()

    async def drain(self, kind: str) -> None:
        """Look at everything of one kind until nothing is due."""
        reconciler = self._table.get(kind)
        if reconciler is None:  # of a newer release, or one that is gone
            log.warning("worker.unknown_kind", kind=kind)
            return
        self._again.add(kind)
        if kind in self._under_way:
            return
        self._under_way.add(kind)
        try:
            while kind in self._again:  # and no await between this and the end: no wake is lost
                self._again.discard(kind)
                await drain(self._world.db, reconciler, self._world.pace, self._world.ids)
                if await self._is_due(kind):
                    self._again.add(kind)
        finally:
            self._under_way.discard(kind)
            self._again.discard(kind)

    async def _is_due(self, kind: str) -> bool:
        async with self._world.db.statement() as tx:
            wait = await store.next_due(tx, kind)
        return wait is not None and wait <= timedelta(0)


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

    @queue.periodic(cron=cron_of(world.settings.walk_every))
    @queue.task(name="walk", queue=CHORES, queueing_lock="walk", lock="walk")
    async def _walk(timestamp: int) -> None:  # noqa: ARG001 (as above)
        await walk_all(world)

    @queue.periodic(cron=cron_of(world.settings.poll_every))
    @queue.task(name="poll", queue=CHORES, queueing_lock="poll", lock="poll")
    async def _poll(timestamp: int) -> None:  # noqa: ARG001 (as above)
        if await poll_events(world):
            with suppress(AlreadyEnqueued):  # another one waits already
                walk = queue.configure_task("walk", queue=CHORES, queueing_lock="walk", lock="walk")
                await walk.defer_async(timestamp=0)

    @queue.periodic(cron=NIGHTLY)
    @queue.task(name="retain", queue=CHORES, queueing_lock="retain", lock="retain")
    async def _retain(timestamp: int) -> None:  # noqa: ARG001 (as above)
        settings = world.settings
        dropped = await retain.retain(
            world.db, inbox_kept=settings.inbox_kept, news_kept=settings.news_kept
        )
        dropped["decisions"] = await retain.drop_all(
            world.db, decisions.drop_old, kept=settings.decisions_kept
        )
        dropped["ended_sessions"] = await retain.drop_all(
            world.db, graves.drop_ended_sessions, kept=SESSIONS_KEPT
        )
        dropped["kept_sessions"] = await retain.drop_all(
            world.db, session_rows.drop_ended, kept=settings.inbox_kept
        ) + await retain.drop_all(world.db, session_rows.drop_unused, kept=SESSIONS_KEPT)
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
