"""Claim, look, write: the one loop behind everything that keeps two sides equal."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from tenure.base.db import DatabaseAway, Db, Tx
from tenure.base.errors import TenureError
from tenure.base.ids import Ids
from tenure.base.log import log
from tenure.journal import rules, store
from tenure.journal.errors import StaleFence
from tenure.journal.model import Claim, Subject

BREATH = 0.01  # seconds between two claims of what is due, but locked by somebody for a moment
Seen = TypeVar("Seen")
_Looks = set[asyncio.Task[bool]]


class Reconciler(Protocol[Seen]):
    """How one kind of subject is looked at and written down."""

    @property
    def kind(self) -> str:
        """Name the kind of subject: "stripe.customer"."""
        ...

    async def look(self, subject: Subject) -> Seen:
        """Ask the source of truth; no transaction is open."""
        ...

    async def write(self, tx: Tx, claim: Claim, seen: Seen) -> None:
        """Write the difference, with its audit line and its news, inside `tx`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How hard to work."""

    lease: timedelta = timedelta(seconds=60)  # longer than a look may take
    pause: timedelta = timedelta(milliseconds=400)  # between two looks at one subject
    concurrency: int = 8  # looks at once in this process
    patience: timedelta = timedelta(seconds=20)  # then the job ends and others get their turn


async def drain(db: Db, reconciler: Reconciler[Any], pace: Pace, ids: Ids) -> int:
    """Look at everything of one kind that is due, until nothing is; say how many looks that took.

    Before it ends it waits once for `pause`, for what was marked while it finished.
    """
    looks, last_call = 0, False
    ends = time.monotonic() + pace.patience.total_seconds()
    running: _Looks = set()
    try:
        while (goes_on := time.monotonic() < ends) or running:
            free = pace.concurrency - len(running) if goes_on else 0
            claims = await _claim(db, reconciler.kind, pace, free=free)
            running |= {
                asyncio.create_task(reconcile(db, reconciler, claim, pace, ids)) for claim in claims
            }
            looks += len(claims)
            if running:
                last_call = False
                _, running = await _some_done(running, pace)
            elif last_call:
                break
            else:
                last_call = not await _is_due_soon(db, reconciler.kind, pace)
    finally:
        await _stop(running)  # where the job is cut off, no look goes on behind its back
    return looks


async def reconcile(
    db: Db, reconciler: Reconciler[Any], claim: Claim, pace: Pace, ids: Ids
) -> bool:
    """Look once and write what was seen; False when that failed and is put off."""
    started = time.perf_counter()
    facts: dict[str, object] = {"kind": claim.subject.kind, "id": claim.subject.id}
    try:
        await look_and_write(db, reconciler, claim, pause=pace.pause)
    except asyncio.CancelledError:
        await asyncio.shield(_give_back(db, claim))  # whoever goes on need not wait for the lease
        raise
    except StaleFence:
        log.info("journal.reconcile.fenced", **facts)
        return False
    except TenureError as exc:
        log.warning("journal.reconcile.put_off", **facts, code=exc.code, error=str(exc))
        await _put_off(db, claim, exc, ids)
        return False
    except Exception as exc:  # noqa: BLE001 (a bug must not stop the others; it is kept and told)
        log.exception("journal.reconcile.broke", **facts)
        await _put_off(db, claim, exc, ids)
        return False
    took = round((time.perf_counter() - started) * 1000, 1)
    log.info("journal.reconcile.written", **facts, fence=claim.fence, ms=took)
    return True


async def look_and_write(
    db: Db, reconciler: Reconciler[Any], claim: Claim, *, pause: timedelta
) -> None:
    """Look outside every transaction, then settle and write inside one.

    Errors: StaleFence, and whatever the reconciler raises.
    """
    seen = await reconciler.look(claim.subject)
    async with db.transaction() as tx:
        await store.settle(tx, claim, pause=pause)  # first: it locks the subject, or refuses
        await reconciler.write(tx, claim, seen)


async def _claim(db: Db, kind: str, pace: Pace, *, free: int) -> list[Claim]:
    if free < 1:
        return []
    async with db.statement() as tx:
        return await store.take_due(tx, kind, limit=free, lease=pace.lease)


async def _some_done(looks: _Looks, pace: Pace) -> tuple[_Looks, _Looks]:
    """Wait for a look to end, but for `pause` at most: a slow one must not hold up the others."""
    wait = max(BREATH, pace.pause.total_seconds())
    return await asyncio.wait(looks, timeout=wait, return_when=asyncio.FIRST_COMPLETED)


async def _stop(looks: _Looks) -> None:
    for look in looks:
        look.cancel()
    await asyncio.gather(*looks, return_exceptions=True)


async def _is_due_soon(db: Db, kind: str, pace: Pace) -> bool:
    """Wait until the next subject is due, but for `pause` at most; say whether one will be."""
    async with db.statement() as tx:
        wait = await store.next_due(tx, kind)
    if wait is None or wait > pace.pause:
        await asyncio.sleep(pace.pause.total_seconds())
        return False
    await asyncio.sleep(max(BREATH, wait.total_seconds()))
    return True


async def _give_back(db: Db, claim: Claim) -> None:
    with suppress(DatabaseAway):  # then the lease ends by itself
        async with db.statement() as tx:
            await store.give_back(tx, claim)


async def _put_off(db: Db, claim: Claim, exc: Exception, ids: Ids) -> None:
    asked = getattr(exc, "retry_after", timedelta(0))
    wait = rules.back_off(claim.attempts, ids.jitter(), asked=asked)
    code = exc.code if isinstance(exc, TenureError) else type(exc).__name__
    try:
        async with db.statement() as tx:
            await store.put_off(tx, claim, error=f"{code}: {exc}", wait=wait)
    except DatabaseAway:
        log.warning("journal.reconcile.lease_left", kind=claim.subject.kind, id=claim.subject.id)
