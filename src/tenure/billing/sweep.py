"""Look for what no event told us: lost events from Stripe's list, old copies from our own."""

from datetime import timedelta

import msgspec

from tenure.base.clock import Clock
from tenure.base.db import Db
from tenure.billing import events, store
from tenure.billing.model import CUSTOMER
from tenure.billing.stripe import Stripe
from tenure.journal import store as journal
from tenure.journal.model import Knock, Subject

OVERLAP = timedelta(minutes=10)  # Stripe's list of events lags behind
LISTED = timedelta(days=30)  # Stripe lists no older events
BATCH = 100
STALE_AT_ONCE = 500


async def sweep(db: Db, stripe: Stripe, clock: Clock, *, every: timedelta) -> int:
    """Bring what was lost through the same door as everything else; say how many looked lost.

    Run it `every` so often. Each run reads twice that span of events, and all since the last one
    that came to its end: so runs may fail, and workers may be down for days.
    """
    began = clock.now()
    source = f"stripe:{'live' if stripe.livemode else 'test'}"
    async with db.statement() as tx:
        last = await journal.last_sweep(tx, source) or began
    since = max(min(began - 2 * every, last) - OVERLAP, began - LISTED)
    lost = 0
    batch: list[Knock] = []
    async for event in stripe.pages("/v1/events", created={"gte": int(since.timestamp())}):
        batch.append(events.knock_of(msgspec.json.encode(event), livemode=stripe.livemode))
        if len(batch) == BATCH:
            lost += await _keep(db, batch)
            batch = []
    lost += await _keep(db, batch) if batch else 0
    async with db.statement() as tx:
        await journal.put_sweep(tx, source, reached=began)
    return lost


async def look_again(db: Db, stripe: Stripe, *, after: timedelta) -> int:
    """Mark customers that nobody has looked at for so long; say how many."""
    async with db.transaction() as tx:
        stale = await store.list_stale(
            tx, seconds=after.total_seconds(), livemode=stripe.livemode, limit=STALE_AT_ONCE
        )
        if stale:
            await journal.mark(tx, [Subject(CUSTOMER, customer) for customer in stale])
    return len(stale)


async def _keep(db: Db, batch: list[Knock]) -> int:
    async with db.transaction() as tx:
        new = await journal.list_unknown(tx, batch)
        if new:
            await journal.put_knocks(tx, new)
    return len(new)
