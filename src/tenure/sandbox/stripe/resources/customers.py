"""Customers, from creation to the tombstone."""

from tenure.sandbox.stripe.billing import cards, status
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.errors import invalid
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.paging import matching, newest, page
from tenure.sandbox.stripe.params import (
    PAGE,
    anything,
    flag,
    inside,
    merged,
    metadata,
    one_of,
    text,
    time_range,
    whole,
)
from tenure.sandbox.stripe.route import Call, delete, get, post

ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"), text)
FIELDS = {
    "address": ADDRESS,
    "balance": whole,
    "business_name": text,
    "description": text,
    "email": text,
    "individual_name": text,
    "invoice_prefix": text,
    "invoice_settings": {
        "custom_fields": anything,
        "default_payment_method": text,
        "footer": text,
        "rendering_options": anything,
    },
    "metadata": metadata,
    "name": text,
    "next_invoice_sequence": whole,
    "phone": text,
    "preferred_locales": [text],
    "shipping": {"address": ADDRESS, "name": text, "phone": text},
    "tax": anything,
    "tax_exempt": one_of("exempt", "none", "reverse"),
    "validate": flag,
}
CREATE = {
    **FIELDS,
    "payment_method": text,
    "test_clock": text,
}
IGNORED = {"tax", "validate", "payment_method", "expand", "business_name", "individual_name"}
LONGEST_EMAIL = 512


def create(call: Call) -> Obj:
    """Make a customer."""
    books, given = call.books, call.params
    clock_id = given.get("test_clock")
    if clock_id:
        books.get("test_helpers.test_clock", clock_id, "test_clock")
    _check(given)
    customer = new_customer(books, clock_id)
    _apply(books, customer, given)
    if given.get("payment_method"):
        attach(books, customer, given["payment_method"])
    books.tell("customer.created", customer)
    return customer


def new_customer(books: Books, clock_id: str | None = None) -> Obj:
    """Make a blank customer, not yet told."""
    prefix = books.ids.token("", 8).upper()
    fields: Obj = {"invoice_prefix": prefix, "test_clock": clock_id}
    return books.add("customer", fields, at=books.now(clock_id))


def _check(given: Obj) -> None:
    email = given.get("email")
    if email and ("@" not in email or len(email) > LONGEST_EMAIL):
        raise invalid(f"Invalid email address: {email}", "email", "email_invalid")


def _apply(books: Books, customer: Obj, given: Obj) -> None:
    settings = inside(given, "invoice_settings")
    card = settings.get("default_payment_method")
    if card and card not in {c["id"] for c in books.owned("payment_method", customer["id"])}:
        books.get("payment_method", card, "invoice_settings[default_payment_method]")
        message = (
            "The customer does not have a payment method with the ID "
            f"{card}. The payment method must be attached to the customer."
        )
        raise invalid(message, "invoice_settings[default_payment_method]", "resource_missing")
    for name, value in given.items():
        if name == "metadata":
            customer["metadata"] = merged(customer["metadata"], value)
        elif name == "invoice_settings":
            customer["invoice_settings"].update(settings)
        elif name not in IGNORED:
            customer[name] = value


def attach(books: Books, customer: Obj, token: str) -> Obj:
    """Give a customer a card, from a test token or one made before.

    Errors: a card error when the card is refused.
    """
    card = books.find("payment_method", token)
    if card is None:
        if token not in cards.CARDS:
            books.get("payment_method", token, "payment_method")
        card = cards.new_card(books, token, books.now_of(customer))
    cards.check_attachable(card)
    books.give("payment_method", card, customer["id"])
    books.tell("payment_method.attached", card)
    return card


def retrieve(call: Call) -> Obj:
    """Read a customer; a deleted one answers with its tombstone."""
    found = call.books.table("customer").get(call.id)
    if found is not None and found.get("_deleted"):
        return tombstone(found)
    return call.books.get("customer", call.id)


def update(call: Call) -> Obj:
    """Change a customer."""
    customer = call.books.get("customer", call.id)
    _check(call.params)
    with call.books.changing(customer, "customer.updated"):
        _apply(call.books, customer, call.params)
    return customer


def listed(call: Call) -> Obj:
    """List customers."""
    keep = matching(call.params, "email", "test_clock")
    return page(
        newest(call.books, "customer"), call.params, "/v1/customers", keep=keep, kind="customer"
    )


def remove(call: Call) -> Obj:
    """Delete a customer, and with it every subscription it has."""
    return drop(call.books, call.books.get("customer", call.id))


def drop(books: Books, customer: Obj) -> Obj:
    """Delete: subscriptions end first, then the customer is told gone."""
    for sub in books.owned("subscription", customer["id"]):
        if sub["status"] not in status.OVER:
            status.end(books, sub, "cancellation_requested")
    for card in books.owned("payment_method", customer["id"]):
        books.give("payment_method", card, None)
    books.tell("customer.deleted", customer)
    customer["_deleted"] = True
    return tombstone(customer)


def tombstone(obj: Obj) -> Obj:
    """Show what is left of a deleted object."""
    return {"id": obj["id"], "object": obj["object"], "deleted": True}


def active_entitlements(call: Call) -> Obj:
    """List what a customer may use."""
    customer = call.books.get("customer", call.params["customer"], "customer")
    kind = "entitlements.active_entitlement"
    rows = call.books.owned(kind, customer["id"])
    url = "/v1/entitlements/active_entitlements"
    found = page(rows, call.params, url, keep=lambda _row: True, kind=kind)
    found["data"] = [{k: v for k, v in row.items() if k != "customer"} for row in found["data"]]
    return found


def active_entitlement(call: Call) -> Obj:
    """Read one entitlement."""
    found = call.books.get("entitlements.active_entitlement", call.id)
    return {k: v for k, v in found.items() if k != "customer"}


LIST = {**PAGE, "created": time_range, "email": text, "test_clock": text}
ROUTES = [
    post("/v1/customers", create, CREATE),
    get("/v1/customers", listed, LIST),
    get("/v1/customers/{id}", retrieve),
    post("/v1/customers/{id}", update, FIELDS),
    delete("/v1/customers/{id}", remove),
    get(
        "/v1/entitlements/active_entitlements",
        active_entitlements,
        {**PAGE, "customer": text},
        need=["customer"],
    ),
    get("/v1/entitlements/active_entitlements/{id}", active_entitlement),
]
