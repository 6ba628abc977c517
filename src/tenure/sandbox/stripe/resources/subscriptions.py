"""Subscriptions and their items."""

from tenure.sandbox.stripe.billing import change, status
from tenure.sandbox.stripe.billing.start import bill_first, open_subscription
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.errors import invalid
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.paging import newest, page, within
from tenure.sandbox.stripe.params import (
    PAGE,
    anything,
    flag,
    inside,
    merged,
    metadata,
    moment_or,
    one_of,
    text,
    time_range,
    whole,
)
from tenure.sandbox.stripe.resources.subscription_updates import apply_update
from tenure.sandbox.stripe.route import Call, delete, get, post

KIND = "subscription"
STATUSES = (
    "active",
    "all",
    "canceled",
    "ended",
    "incomplete",
    "incomplete_expired",
    "past_due",
    "paused",
    "trialing",
    "unpaid",
)
PRORATION = one_of("always_invoice", "create_prorations", "none")
ITEM = {"price": text, "quantity": whole, "metadata": metadata, "tax_rates": [text]}
COMMON = {
    "automatic_tax": anything,
    "cancel_at": moment_or("max_period_end", "min_period_end"),
    "cancel_at_period_end": flag,
    "collection_method": one_of("charge_automatically", "send_invoice"),
    "days_until_due": whole,
    "default_payment_method": text,
    "default_tax_rates": [text],
    "description": text,
    "invoice_settings": anything,
    "metadata": metadata,
    "off_session": flag,
    "payment_behavior": one_of("allow_incomplete", "default_incomplete", "error_if_incomplete"),
    "payment_settings": anything,
    "proration_behavior": PRORATION,
    "trial_end": moment_or("now"),
    "trial_settings": {
        "end_behavior": {
            "missing_payment_method": one_of("cancel", "create_invoice", "pause"),
        }
    },
}
CREATE = {
    **COMMON,
    "customer": text,
    "items": [ITEM],
    "trial_period_days": whole,
    "billing_mode": anything,
    "currency": text,
}
UPDATE = {
    **COMMON,
    "items": [{**ITEM, "id": text, "deleted": flag, "clear_usage": flag}],
    "billing_cycle_anchor": one_of("now", "unchanged"),
    "cancellation_details": {"comment": text, "feedback": text},
    "pause_collection": {
        "behavior": one_of("keep_as_draft", "mark_uncollectible", "void"),
        "resumes_at": whole,
    },
    "proration_date": whole,
}
COPIED = (
    "collection_method",
    "days_until_due",
    "default_payment_method",
    "description",
    "trial_settings",
)


def create(call: Call) -> Obj:
    """Begin a subscription."""
    books, given = call.books, call.params
    customer = books.get("customer", given["customer"], "customer")
    if given.get("default_payment_method"):
        books.get("payment_method", given["default_payment_method"], "default_payment_method")
    if any(not item.get("price") for item in given["items"]):
        raise invalid("Missing required param: items[0][price].", "items[0][price]")
    fields = {name: given[name] for name in COPIED if given.get(name) is not None}
    fields["metadata"] = merged({}, given.get("metadata") or {})
    if fields.get("collection_method") == "send_invoice" and not fields.get("days_until_due"):
        raise invalid("You must pass `days_until_due` when `collection_method` is set to "
                      "`send_invoice`.", "days_until_due")  # fmt: skip
    sub = open_subscription(books, customer, {**given, "fields": fields}, given["items"])
    bill_first(books, sub, given.get("payment_behavior") or "allow_incomplete")
    return sub


def retrieve(call: Call) -> Obj:
    """Read a subscription, canceled ones too."""
    return call.books.get(KIND, call.id)


def update(call: Call) -> Obj:
    """Change a subscription."""
    sub = call.books.get(KIND, call.id)
    apply_update(call.books, sub, call.params)
    return sub


def listed(call: Call) -> Obj:
    """List subscriptions; canceled ones only when asked for."""
    given = call.params
    customer, wanted = given.get("customer"), given.get("status")
    recent = within(given.get("created"))
    if customer:
        call.books.get("customer", customer, "customer")

    def keep(row: Obj) -> bool:
        return (
            recent(row)
            and _has_status(row, wanted)
            and _has_price(call.books, row, given.get("price"))
            and given.get("collection_method") in {None, row["collection_method"]}
            and given.get("test_clock") in {None, row["test_clock"]}
        )

    rows = newest(call.books, KIND, customer)
    return page(rows, given, "/v1/subscriptions", keep=keep, kind=KIND)


def _has_status(sub: Obj, wanted: str | None) -> bool:
    if wanted == "all":
        return True
    if wanted == "ended":
        return sub["status"] in status.OVER
    if wanted is None:
        return sub["status"] not in status.OVER
    return bool(sub["status"] == wanted)


def _has_price(books: Books, sub: Obj, price: str | None) -> bool:
    return price is None or any(i["price"] == price for i in status.items_of(books, sub))


def cancel(call: Call) -> Obj:
    """Cancel now."""
    books, given = call.books, call.params
    sub = books.get(KIND, call.id)
    if sub["status"] in status.OVER:
        raise invalid(f"No such subscription: '{call.id}'", "id", "resource_missing")
    sub["cancellation_details"].update(inside(given, "cancellation_details"))
    if given.get("prorate"):
        change.credit_rest(books, sub)
    if given.get("invoice_now") and change.waits(books, sub):
        change.bill(books, sub, [])
    status.end(books, sub, "cancellation_requested")
    return sub


def resume(call: Call) -> Obj:
    """Bring a paused subscription back."""
    sub = call.books.get(KIND, call.id)
    if sub["status"] != "paused":
        raise invalid("This subscription cannot be resumed because it is not paused.")
    anchor_now = call.params.get("billing_cycle_anchor") != "unchanged"
    change.resume(call.books, sub, anchor_now=anchor_now)
    return sub


def listed_of(call: Call) -> Obj:
    """List the subscriptions of the customer in the path."""
    call.books.get("customer", call.id, "customer")
    rows = newest(call.books, KIND, call.id)
    url = f"/v1/customers/{call.id}/subscriptions"
    return page(rows, call.params, url, keep=lambda r: _has_status(r, None), kind=KIND)


ROUTES = [
    post("/v1/subscriptions", create, CREATE, need=["customer", "items"]),
    get(
        "/v1/subscriptions",
        listed,
        {
            **PAGE,
            "collection_method": text,
            "created": time_range,
            "customer": text,
            "price": text,
            "status": one_of(*STATUSES),
            "test_clock": text,
        },
    ),
    get("/v1/subscriptions/{id}", retrieve),
    post("/v1/subscriptions/{id}", update, UPDATE),
    delete(
        "/v1/subscriptions/{id}",
        cancel,
        {
            "cancellation_details": {"comment": text, "feedback": text},
            "invoice_now": flag,
            "prorate": flag,
        },
    ),
    post(
        "/v1/subscriptions/{id}/resume",
        resume,
        {
            "billing_cycle_anchor": one_of("now", "unchanged"),
            "proration_behavior": PRORATION,
            "proration_date": whole,
        },
    ),
    get("/v1/customers/{id}/subscriptions", listed_of, PAGE),
]
