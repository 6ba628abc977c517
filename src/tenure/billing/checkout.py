"""Sell one subscription: never two at once, never to a page that is not ours."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta

from tenure.base.clock import Clock
from tenure.base.db import Db
from tenure.base.ids import Ids
from tenure.base.lease import Leases
from tenure.billing import projection, rules
from tenure.billing.customers import Desk, Wish
from tenure.billing.errors import AddressNotAllowed, AlreadySubscribed, Refused
from tenure.billing.model import Customer, Owner
from tenure.billing.projection import Raw
from tenure.billing.stripe import Stripe
from tenure.journal import audit
from tenure.journal.model import Entry

FINGERPRINT = "tenure_order"
LONGEST = timedelta(minutes=1)  # for four calls of Stripe; after a crash the next one waits it out
AWHILE = timedelta(seconds=15)  # that a second click waits for the first


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One price to be sold."""

    price: str
    quantity: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What somebody wants to buy, and where to send her afterwards."""

    lines: Sequence[Line]
    success_url: str
    cancel_url: str | None
    trial_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A page of Stripe's where the customer pays."""

    id: str
    url: str
    customer: Customer
    reused: bool  # the same order was open already


@dataclass(frozen=True, slots=True, kw_only=True)
class Till:
    """Opens checkout sessions."""

    db: Db
    stripe: Stripe
    clock: Clock
    ids: Ids
    origins: Sequence[str]

    async def open(self, owner: Owner, order: Order, wish: Wish, *, actor: str) -> Session:
        """Open a checkout session for an owner, making the customer first where there is none.

        Errors:  AddressNotAllowed, AlreadySubscribed, Busy, Refused, StripeTrouble.
        Promise: an owner has at most one open session: the same order gives the same page again,
                 another order closes the page before. So two tabs cannot both be paid.
        """
        for address in filter(None, (order.success_url, order.cancel_url)):
            if not rules.is_allowed(address, self.origins):
                raise AddressNotAllowed(f"people may not be sent to {address}", address=address)
        desk = Desk(db=self.db, stripe=self.stripe, clock=self.clock, ids=self.ids)
        customer, _ = await desk.ensure(owner, wish, actor=actor)
        leases = Leases(db=self.db, ids=self.ids)
        name = f"checkout:{customer.stripe_customer_id}"
        async with leases.held(name, last=LONGEST, wait=AWHILE), desk.believing(customer):
            print_ = _fingerprint(order)
            session = await self._open_one(customer, print_)
            await self._refuse_second(customer)  # last: what was closed now can be paid no more
            if session:
                return Session(id=session["id"], url=session["url"], customer=customer, reused=True)
            return await self._create(customer, order, print_, actor)

    async def _refuse_second(self, customer: Customer) -> None:
        """Ask Stripe, not our copy: the copy may lag behind a payment made a second ago."""
        of = customer.stripe_customer_id
        for raw in await self.stripe.all("/v1/subscriptions", customer=of, status="all"):
            found = projection.subscription(raw)
            if found.is_live:
                raise AlreadySubscribed(
                    f"subscription {found.id} is {found.status}; a second one would bill twice",
                    subscription=found.id,
                    status=found.status,
                )

    async def _open_one(self, customer: Customer, print_: str) -> Raw | None:
        """Find the open session of the same order, and close those of other orders."""
        of = customer.stripe_customer_id
        same: Raw | None = None
        for session in await self.stripe.all("/v1/checkout/sessions", customer=of, status="open"):
            if same is None and projection.metadata_of(session).get(FINGERPRINT) == print_:
                same = session
            else:
                await self._close(session["id"])
        return same

    async def _close(self, session_id: str) -> None:
        with suppress(Refused):  # paid since it was listed: the subscription it made is found next
            await self.stripe.call("post", f"/v1/checkout/sessions/{session_id}/expire")

    async def _create(self, customer: Customer, order: Order, print_: str, actor: str) -> Session:
        metadata = {"tenure_owner": str(customer.owner), FINGERPRINT: print_}
        made = await self.stripe.call(
            "post",
            "/v1/checkout/sessions",
            mode="subscription",
            customer=customer.stripe_customer_id,
            client_reference_id=str(customer.owner),
            line_items=[asdict(line) for line in order.lines],
            success_url=order.success_url,
            metadata=metadata,
            subscription_data=_data(customer, order),
            **({"cancel_url": order.cancel_url} if order.cancel_url else {}),
        )
        entry = Entry(
            org_id=customer.owner.org_id,
            user_id=customer.owner.user_id,
            at=self.clock.now(),
            actor=actor,
            action="checkout.opened",
            subject=made["id"],
            details={"lines": [asdict(line) for line in order.lines]},
        )
        async with self.db.transaction() as tx:
            await audit.append(tx, entry)
        return Session(id=made["id"], url=made["url"], customer=customer, reused=False)


def _data(customer: Customer, order: Order) -> dict[str, object]:
    data: dict[str, object] = {"metadata": {"tenure_owner": str(customer.owner)}}
    return data | ({"trial_period_days": order.trial_days} if order.trial_days else {})


def _fingerprint(order: Order) -> str:
    text = json.dumps(asdict(order), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
