"""What the tests of the gate are made from."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
from psycopg.types.json import Jsonb

from tenure.base.clock import Clock
from tenure.base.db import Db, Tx
from tenure.base.ids import CountedIds
from tenure.billing.model import Status
from tenure.gate.cache import FactsCache
from tenure.gate.check import Gate
from tenure.gate.model import Bought, Facts
from tenure.identity.claims import Principal
from tenure.identity.issuers import clerk
from tenure.identity.session import Verifier

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORG, USER = UUID(int=1), UUID(int=2)
LONG = timedelta(hours=1)


def a_bought(**changes: object) -> Bought:
    """Make an active subscription; name only the fields the test is about."""
    base: dict[str, object] = {
        "id": "sub_1",
        "status": Status.ACTIVE,
        "created_at": NOW - timedelta(days=10),
        "current_period_end": NOW + timedelta(days=20),
        "trial_end": None,
        "past_due_since": None,
        "ends_at": None,
        "ended_at": None,
        "collection_paused": False,
        "looked_at": NOW,
        "look_fence": 1,
    }
    return Bought(**base | changes)  # type: ignore[arg-type]


def some_facts(**changes: object) -> Facts:
    base: dict[str, object] = {
        "user_id": USER,
        "org_id": ORG,
        "role": "member",
        "bought": a_bought(),
        "read_at": NOW,
    }
    return Facts(**base | changes)  # type: ignore[arg-type]


@dataclass(kw_only=True)
class Row:
    """A subscription as it is put into the table."""

    id: str = "sub_1"
    status: str = "active"
    created_at: datetime = NOW
    current_period_end: datetime | None = None
    cancel_at: datetime | None = None
    cancel_at_period_end: bool = False
    past_due_since: datetime | None = None
    features: list[str] = field(default_factory=list)


async def put_customer(
    tx: Tx, *, org_id: UUID | None = None, user_id: UUID | None = None, livemode: bool = False
) -> str:
    customer = f"cus_{(org_id or user_id or ORG).hex}{'live' if livemode else ''}"
    await tx.execute(
        """
        INSERT INTO tenure.stripe_customers (org_id, user_id, stripe_customer_id, livemode)
        VALUES (%s, %s, %s, %s)
        """,
        (org_id, user_id, customer, livemode),
    )
    return customer


async def put_subscription(tx: Tx, customer: str, row: Row) -> None:
    await tx.execute(
        """
        INSERT INTO tenure.subscriptions
               (id, stripe_customer_id, org_id, user_id, status, created_at, current_period_end,
                cancel_at, cancel_at_period_end, past_due_since, metadata, looked_at, look_fence)
        SELECT %s, stripe_customer_id, org_id, user_id, %s, %s, %s, %s, %s, %s, %s, now(), 1
          FROM tenure.stripe_customers WHERE stripe_customer_id = %s
        """,
        (
            row.id,
            row.status,
            row.created_at,
            row.current_period_end,
            row.cancel_at,
            row.cancel_at_period_end,
            row.past_due_since,
            Jsonb({}),
            customer,
        ),
    )
    for feature in row.features:
        await tx.execute(
            """
            INSERT INTO tenure.entitlements
                   (stripe_customer_id, lookup_key, org_id, user_id, feature_id)
            SELECT stripe_customer_id, %s, org_id, user_id, 'feat_1'
              FROM tenure.stripe_customers WHERE stripe_customer_id = %s
            """,
            (feature, customer),
        )


async def org_of(db: Db, who: Principal) -> UUID:
    async with db.statement() as tx:
        cur = await tx.execute(
            "SELECT org_id FROM tenure.identities WHERE external_id = %s", (who.org_id,)
        )
        row = await cur.fetchone()
    assert row is not None
    return row["org_id"]


async def subscribe(db: Db, who: Principal, **row: object) -> UUID:
    """Give the organization of somebody who has arrived a subscription."""
    org = await org_of(db, who)
    async with db.transaction() as tx:
        customer = await put_customer(tx, org_id=org)
        await put_subscription(tx, customer, Row(**row))  # type: ignore[arg-type]
    return org


@asynccontextmanager
async def a_gate(
    db: Db, issuer: str, clock: Clock, *, cache: FactsCache | None = None, seed: int = 1
) -> AsyncIterator[Gate]:
    async with httpx.AsyncClient() as http:
        verifier = Verifier([clerk(issuer)], clock=clock, http=http)
        yield Gate(
            verifier=verifier,
            db=db,
            clock=clock,
            ids=CountedIds(seed),
            livemode=False,
            cache=cache or FactsCache(max_age=LONG),
        )
        await verifier.close()


async def until(holds: Callable[[], Awaitable[bool]], *, within: float = 20.0) -> None:
    """Ask again and again; fail when it takes too long."""
    ends = time.monotonic() + within
    while not await holds():
        assert time.monotonic() < ends, f"did not come true within {within} s"
        await asyncio.sleep(0.02)
