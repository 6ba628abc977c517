"""What the tests of billing share: owners, a merchant at the sandbox, and our side of it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import stripe as sdk
from psycopg import sql
from psycopg.rows import DictRow

from tenure.base.clock import Clock
from tenure.base.db import Db, Tx
from tenure.base.ids import Ids
from tenure.billing import store
from tenure.billing.checkout import Line, Order, Till
from tenure.billing.customers import Desk, Wish
from tenure.billing.model import CUSTOMER, Customer, Owner
from tenure.billing.stripe import Stripe
from tenure.billing.sync import Customers
from tenure.identity import store as identity
from tenure.identity.claims import Principal
from tenure.identity.model import OrgId, SeenOrganization, SeenUser, UserId
from tenure.journal import reconcile
from tenure.journal import store as journal
from tenure.journal.model import Claim, Subject
from tenure.sandbox.stripe.running import Box

DAY = 86_400
MONTH = 31 * DAY
LONG = timedelta(minutes=10)
ORIGIN = "https://app.test"
BACK = f"{ORIGIN}/paid?session_id={{CHECKOUT_SESSION_ID}}"
WISH = Wish(email="ada@example.com", name="Ada")
DAWN = datetime(2026, 1, 1, tzinfo=UTC)


async def nothing() -> None:
    """Spend nothing: most tests are not about the allowance."""


def merchant_of(box: Box, key: str = "") -> sdk.StripeClient:
    return sdk.StripeClient(
        key or box.secret_key, base_addresses={"api": box.url}, max_network_retries=0
    )


def stripe_of(box: Box, **changes: Any) -> Stripe:
    given = {"secret_key": box.secret_key, "api_base": box.url, "spend": nothing, **changes}
    return Stripe(given.pop("secret_key"), **given)


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Our side of billing, and the merchant who acts at Stripe's."""

    box: Box
    merchant: sdk.StripeClient
    db: Db
    stripe: Stripe
    clock: Clock
    ids: Ids

    @property
    def desk(self) -> Desk:
        return Desk(db=self.db, stripe=self.stripe, clock=self.clock, ids=self.ids)

    @property
    def till(self) -> Till:
        return Till(
            db=self.db, stripe=self.stripe, clock=self.clock, ids=self.ids, origins=(ORIGIN,)
        )

    @property
    def customers(self) -> Customers:
        return Customers(db=self.db, stripe=self.stripe, clock=self.clock, ids=self.ids)

    @asynccontextmanager
    async def other(self, **changes: Any) -> AsyncGenerator["Shop"]:
        """Give the same shop with another way to Stripe; usually with little patience."""
        stripe = stripe_of(self.box, **{"timeout": 0.2, **changes})
        try:
            yield replace(self, stripe=stripe)
        finally:
            await stripe.close()

    async def hurry(self) -> None:
        """Do what waiting for a back-off, or for a lease to end, would do."""
        async with self.db.statement() as tx:
            await tx.execute("UPDATE tenure.subjects SET retry_at = '-infinity'")
            await tx.execute("UPDATE tenure.subjects SET lease_until = NULL")
            await tx.execute("UPDATE tenure.leases SET until = clock_timestamp()")

    async def customer(self, owner: Owner) -> Customer:
        found, _ = await self.desk.ensure(owner, WISH, actor="test")
        return found

    async def kept_customer(self, owner: Owner) -> str:
        """Make a customer and let the writer see it once."""
        found = await self.customer(owner)
        await self.work()
        return found.stripe_customer_id

    async def mark(self, *customers: str) -> None:
        async with self.db.transaction() as tx:
            await journal.mark(tx, [Subject(CUSTOMER, c) for c in customers])

    async def claim(self, *, lease: timedelta = LONG) -> Claim:
        async with self.db.statement() as tx:
            claims = await journal.take_due(tx, CUSTOMER, limit=10, lease=lease)
        assert len(claims) == 1, claims
        return claims[0]

    async def work(self, *customers: str) -> int:
        """Look at what is due, and at `customers` in any case; count the looks."""
        if customers:
            await self.mark(*customers)
        looks = 0
        while True:
            async with self.db.statement() as tx:
                claims = await journal.take_due(tx, CUSTOMER, limit=50, lease=LONG)
            for claim in claims:
                await self.finish(claim)
            if not claims:
                return looks
            looks += len(claims)

    async def finish(self, claim: Claim) -> None:
        await reconcile.look_and_write(self.db, self.customers, claim, pause=timedelta(0))

    async def rows(self, query: LiteralString, *params: object) -> list[DictRow]:
        async with self.db.statement() as tx:
            return await (await tx.execute(query, params)).fetchall()

    async def count(self, table: str) -> int:
        query = sql.SQL("SELECT count(*) AS n FROM tenure.{}").format(sql.Identifier(table))
        async with self.db.statement() as tx:
            found = await (await tx.execute(query)).fetchone()
        return int(found["n"]) if found else 0

    async def told(self) -> list[str]:
        """List what the audit log says of all, in order."""
        rows = await self.rows("SELECT action FROM tenure.audit_log ORDER BY chain, seq")
        return [row["action"] for row in rows]

    async def living(self, owner: Owner) -> Customer | None:
        async with self.db.statement() as tx:
            return await store.get_customer(tx, owner, livemode=self.stripe.livemode)

    def price(self, key: str = "team_monthly") -> str:
        return self.merchant.v1.prices.list({"lookup_keys": [key]}).data[0].id

    def give_card(self, customer: str, kind: str = "visa") -> str:
        attached = self.merchant.v1.payment_methods.attach(
            f"pm_card_{kind}", {"customer": customer}
        )
        card = attached.id
        self.merchant.v1.customers.update(
            customer, {"invoice_settings": {"default_payment_method": card}}
        )
        return card

    def subscribe(self, customer: str, quantity: int = 1, **fields: Any) -> sdk.Subscription:
        if not self.merchant.v1.payment_methods.list({"customer": customer}).data:
            self.give_card(customer)
        items = [{"price": self.price(), "quantity": quantity}]
        return self.merchant.v1.subscriptions.create(
            {"customer": customer, "items": items, **fields}
        )

    def order(self, key: str = "team_monthly", **changes: Any) -> Order:
        line = Line(price=self.price(key), quantity=changes.pop("quantity", 1))
        given: dict[str, Any] = {"success_url": BACK, "cancel_url": None, **changes}
        return Order(lines=[line], **given)

    def asked(self, operation: str) -> int:
        return self.box.requests().get(operation, 0)

    async def until_asked(self, operation: str, times: int = 1) -> None:
        await until(lambda: self.asked(operation) >= times)


async def until(holds: Callable[[], bool], *, within: float = 20.0) -> None:
    """Ask again and again; fail when it takes too long."""
    ends = time.monotonic() + within
    while not holds():
        assert time.monotonic() < ends, f"did not come true within {within} s"
        await asyncio.sleep(0.02)


def a_person(name: str, org: str | None = None) -> Principal:
    return Principal(
        provider="clerk",
        issuer="https://issuer.test",
        user_id=f"user_{name}",
        session_id=None,
        org_id=f"org_{org}" if org else None,
        org_slug=None,
        role=None,
        permissions=frozenset(),
        actor=None,
        issued_at=DAWN,
        expires_at=DAWN,
    )


async def put_org(tx: Tx, org_id: OrgId, who: Principal, *, name: str = "Org") -> None:
    seen = SeenOrganization(id=who.org_id or "", name=name, slug=None, version=None)
    await identity.put_organization(tx, who.provider, org_id, seen, at=DAWN)


async def put_user(tx: Tx, user_id: UserId, who: Principal) -> None:
    seen = SeenUser(id=who.user_id, email=None, name=None, version=None)
    await identity.put_users(tx, who.provider, [(user_id, seen)], at=DAWN)


async def new_org(db: Db, number: int = 1) -> Owner:
    key = UUID(int=0xA000 + number)
    who = a_person("any", str(number))
    async with db.transaction() as tx:
        await put_org(tx, OrgId(key), who, name=f"Org {number}")
    return Owner(org_id=key, user_id=None)


async def new_user(db: Db, number: int = 1) -> Owner:
    key = UUID(int=0xB000 + number)
    async with db.transaction() as tx:
        await put_user(tx, UserId(key), a_person(str(number)))
    return Owner(org_id=None, user_id=key)
