"""Turn Stripe's answers into our rows: shapes in, values out, nothing touched."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tenure.base.clock import moment
from tenure.billing.model import (
    Account,
    Entitlement,
    Item,
    PaymentMethod,
    Profile,
    Status,
    Subscription,
)

Raw = Mapping[str, Any]  # an object as Stripe's API answers it


def project(
    customer: Raw,
    *,
    subscriptions: Sequence[Raw],
    entitlements: Sequence[Raw],
    payment_methods: Sequence[Raw],
    open_invoices: Sequence[Raw],
    looked_at: datetime,
    livemode: bool,
) -> Account:
    """Turn Stripe's answers about one customer into the rows that we keep."""
    return Account(
        stripe_customer_id=customer["id"],
        profile=None if customer.get("deleted") else profile(customer),
        subscriptions=tuple(subscription(raw, open_invoices) for raw in subscriptions),
        entitlements=tuple(
            Entitlement(lookup_key=raw["lookup_key"], feature_id=_id(raw["feature"]))
            for raw in entitlements
        ),
        payment_methods=tuple(_payment_method(raw) for raw in payment_methods),
        looked_at=looked_at,
        livemode=livemode,
    )


def subscription(raw: Raw, open_invoices: Sequence[Raw] = ()) -> Subscription:
    """Read one subscription; periods come from its items, which may differ among themselves."""
    found = [_item(item) for item in raw["items"]["data"]]
    items = tuple(sorted(found, key=lambda item: item.id))  # the order at Stripe says nothing
    starts = [i.current_period_start for i in items if i.current_period_start]
    ends = [i.current_period_end for i in items if i.current_period_end]
    status = Status(raw["status"])
    return Subscription(
        id=raw["id"],
        status=status,
        collection_paused=raw.get("pause_collection") is not None,
        current_period_start=min(starts, default=None),
        current_period_end=max(ends, default=None),
        trial_end=_moment(raw.get("trial_end")),
        past_due_since=_unpaid_since(raw, open_invoices) if status is Status.PAST_DUE else None,
        cancel_at=_moment(raw.get("cancel_at")),
        cancel_at_period_end=bool(raw.get("cancel_at_period_end")),
        canceled_at=_moment(raw.get("canceled_at")),
        ended_at=_moment(raw.get("ended_at")),
        created_at=moment(raw["created"]),
        metadata=metadata_of(raw),
        items=items,
    )


def _unpaid_since(raw: Raw, open_invoices: Sequence[Raw]) -> datetime | None:
    """Find when the oldest invoice that is still unpaid was asked for: grace counts from there."""
    mine = [
        _asked_at(invoice) for invoice in open_invoices if _subscription_of(invoice) == raw["id"]
    ]
    since = [at for at in mine if at is not None]
    return moment(min(since)) if since else None


def _asked_at(invoice: Raw) -> int | None:
    """Say when an invoice was to be paid: at once by a card, until its due date by a transfer."""
    if invoice.get("attempt_count", 0) > 0:
        return _part(invoice, "status_transitions").get("finalized_at") or invoice["created"]
    return invoice.get("due_date")  # nobody tries to collect it


def _subscription_of(invoice: Raw) -> str | None:
    found = _part(_part(invoice, "parent"), "subscription_details").get("subscription")
    return _id(found) if found else None


def profile(customer: Raw) -> Profile:
    """Read what Stripe holds about the customer itself."""
    default = _part(customer, "invoice_settings").get("default_payment_method")
    return Profile(
        email=customer.get("email"),
        name=customer.get("name"),
        default_payment_method=_id(default) if default else None,
        metadata=metadata_of(customer),
        billing_address=customer.get("address"),
    )


def _item(raw: Raw) -> Item:
    return Item(
        id=raw["id"],
        price_id=raw["price"]["id"],
        product_id=_id(raw["price"]["product"]),
        quantity=raw.get("quantity"),
        current_period_start=_moment(raw.get("current_period_start")),
        current_period_end=_moment(raw.get("current_period_end")),
    )


def _payment_method(raw: Raw) -> PaymentMethod:
    card = _part(raw, "card")
    return PaymentMethod(
        id=raw["id"],
        kind=raw["type"],
        brand=card.get("brand"),
        last4=card.get("last4"),
        exp_month=card.get("exp_month"),
        exp_year=card.get("exp_year"),
        created_at=moment(raw["created"]),
    )


def _id(found: str | Raw) -> str:
    """Read an id, whether Stripe sent it alone or with its object."""
    return found if isinstance(found, str) else str(found["id"])


def _moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else moment(seconds)


def metadata_of(raw: Raw) -> dict[str, str]:
    """Read the metadata of any object, or of the parameters for one."""
    return dict(_part(raw, "metadata"))


def _part(raw: Raw, name: str) -> Raw:
    """Read a part that may be missing or null."""
    found: Raw | None = raw.get(name)
    return {} if found is None else found
