"""The page people come back to: the same look as the worker's, with a bounded wait."""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from tenure.base.db import Db
from tenure.billing import copies, store
from tenure.billing.errors import NoSuchObject, UnknownSession
from tenure.billing.model import CUSTOMER, Status, Subscription
from tenure.billing.projection import Raw
from tenure.billing.sync import Customers
from tenure.journal import reconcile
from tenure.journal import store as journal
from tenure.journal.model import Subject
from tenure.journal.reconcile import Pace

ASK_AGAIN = 0.25  # seconds


class State(StrEnum):
    """How far a purchase is."""

    READY = "ready"  # paid, and our tables know it
    PROCESSING = "processing"  # paid or being paid; ask again in a moment
    OPEN = "open"  # not paid yet
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What became of a checkout session."""

    state: State
    subscription: Subscription | None = None


async def settle_purchase(
    db: Db, customers: Customers, session_id: str, *, wait: timedelta, lease: timedelta
) -> Purchase:
    """Bring our tables up to a checkout session that the customer has just left.

    Errors: UnknownSession when it is not of a customer of ours, StripeTrouble.
    """
    if not session_id.replace("_", "").isalnum():  # it becomes part of a path
        raise UnknownSession("this is no checkout session's id")
    try:
        session = await customers.stripe.call("get", f"/v1/checkout/sessions/{session_id}")
    except NoSuchObject as exc:
        raise UnknownSession("Stripe does not know this checkout session") from exc
    async with db.statement() as tx:
        customer = await store.get_by_stripe_id(tx, str(session.get("customer")))
    if customer is None:
        raise UnknownSession("this checkout session is of no customer of ours")
    if session["status"] != "complete":
        return Purchase(state=State.OPEN if session["status"] == "open" else State.EXPIRED)
    return await _wait_for(db, customers, session, wait=wait, lease=lease)


async def _wait_for(
    db: Db, customers: Customers, session: Raw, *, wait: timedelta, lease: timedelta
) -> Purchase:
    subject = Subject(CUSTOMER, session["customer"])
    ends = time.monotonic() + wait.total_seconds()
    while not _is_settled(bought := await _bought(db, session)) and time.monotonic() <= ends:
        await _look_now(db, customers, subject, lease)
        bought = await _bought(db, session)
        if not _is_settled(bought):  # leave Stripe, or the worker, a moment
            await asyncio.sleep(ASK_AGAIN)
    if bought is None or not _is_settled(bought):
        return Purchase(state=State.PROCESSING, subscription=bought)
    never_paid = bought.status is Status.INCOMPLETE_EXPIRED
    return Purchase(state=State.EXPIRED if never_paid else State.READY, subscription=bought)


def _is_settled(bought: Subscription | None) -> bool:
    """Say whether its payment is decided; it may have ended since, where she comes back late."""
    return bought is not None and bought.status is not Status.INCOMPLETE


async def _bought(db: Db, session: Raw) -> Subscription | None:
    async with db.statement() as tx:
        rows = await copies.list_subscriptions(tx, session["customer"])
    return next((s for s in rows if s.id == session.get("subscription")), None)


async def _look_now(db: Db, customers: Customers, subject: Subject, lease: timedelta) -> None:
    """Look at once, unless the worker is doing just that."""
    async with db.statement() as tx:
        claim = await journal.take_one(tx, subject, lease=lease)
    if claim is not None:
        pace = Pace(lease=lease, pause=timedelta(0))
        await reconcile.reconcile(db, customers, claim, pace, customers.ids)  # a failure is put off
