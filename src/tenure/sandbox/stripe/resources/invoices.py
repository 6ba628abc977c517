"""Invoices, their lines and payments."""

from tenure.sandbox.stripe.billing import collect, lines, renew, status
from tenure.sandbox.stripe.billing.invoices import finalize, void, write_off
from tenure.sandbox.stripe.billing.proration import prorated
from tenure.sandbox.stripe.billing.start import usable_price
from tenure.sandbox.stripe.errors import declined, invalid, missing
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
    rows,
    text,
    time_range,
    whole,
)
from tenure.sandbox.stripe.route import Call, get, post

KIND = "invoice"
STATUS = one_of("draft", "open", "paid", "uncollectible", "void")


def retrieve(call: Call) -> Obj:
    """Read an invoice."""
    return call.books.get(KIND, call.id)


def listed(call: Call) -> Obj:
    """List invoices."""
    given = call.params
    equal = matching(given, "status", "collection_method")
    wanted = given.get("subscription")
    customer = given.get("customer")
    if customer:
        call.books.get("customer", customer, "customer")
    return page(
        newest(call.books, KIND, customer),
        given,
        "/v1/invoices",
        keep=lambda row: equal(row) and wanted in {None, row.get("_subscription")},
        kind=KIND,
    )


def update(call: Call) -> Obj:
    """Change what may still be changed."""
    invoice = call.books.get(KIND, call.id)
    with call.books.changing(invoice, "invoice.updated"):
        if "metadata" in call.params:
            invoice["metadata"] = merged(invoice["metadata"], call.params["metadata"])
        for name in ("description", "footer", "auto_advance", "default_payment_method"):
            if name in call.params:
                invoice[name] = call.params[name]
    return invoice


def finalized(call: Call) -> Obj:
    """Finalize a draft."""
    invoice = call.books.get(KIND, call.id)
    finalize(call.books, invoice)
    return invoice


def pay(call: Call) -> Obj:
    """Pay now.

    Errors: a card error when the card says no; the failed attempt stays on record.
    """
    books, given = call.books, call.params
    invoice = books.get(KIND, call.id)
    if invoice["status"] == "paid":
        raise invalid("Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] == "draft":
        finalize(books, invoice)
    if invoice["status"] not in {"open", "uncollectible"}:
        raise invalid(f"You cannot pay an invoice whose status is {invoice['status']}.")
    if given.get("paid_out_of_band"):
        collect.mark_paid_elsewhere(books, invoice)
        return invoice
    chosen = given.get("payment_method")
    card = books.get("payment_method", chosen, "payment_method") if chosen else None
    if not collect.attempt(books, invoice, card):
        raise declined()
    return invoice


def voided(call: Call) -> Obj:
    """Void an open invoice."""
    invoice = call.books.get(KIND, call.id)
    void(call.books, invoice)
    return invoice


def marked_uncollectible(call: Call) -> Obj:
    """Give up on an open invoice."""
    invoice = call.books.get(KIND, call.id)
    write_off(call.books, invoice)
    return invoice


def list_lines(call: Call) -> Obj:
    """List the lines of an invoice."""
    invoice = call.books.get(KIND, call.id)
    url = f"/v1/invoices/{invoice['id']}/lines"
    return page(invoice["_lines"], call.params, url, keep=lambda _row: True, kind="line_item")


def list_payments(call: Call) -> Obj:
    """List payments of invoices."""
    keep = matching(call.params, "invoice", "status")
    kind = "invoice_payment"
    return page(newest(call.books, kind), call.params, "/v1/invoice_payments", keep=keep, kind=kind)


def list_items(call: Call) -> Obj:
    """List invoice items: the prorations that wait, or were billed."""
    given = call.params
    equal = matching(given, "customer", "invoice")
    waiting = given.get("pending")
    return page(
        newest(call.books, "invoiceitem"),
        given,
        "/v1/invoiceitems",
        keep=lambda row: equal(row) and waiting in {None, row["invoice"] is None},
        kind="invoiceitem",
    )


def create_preview(call: Call) -> Obj:
    """Describe the next invoice of a subscription, with what a change would cost."""
    books, given = call.books, call.params
    if not given.get("subscription"):
        raise missing("invoice", "upcoming", "subscription")
    sub = books.get("subscription", given["subscription"], "subscription")
    if sub["status"] in status.OVER:
        raise invalid("No upcoming invoices for this subscription.", code="invoice_upcoming_none")
    drawn = [lines.line_of_item(books, sub, item) for item in status.items_of(books, sub)]
    drawn = [*_previewed(call, sub, rows(inside(given, "subscription_details"), "items")), *drawn]
    return renew.upcoming(books, sub, drawn)


def _previewed(call: Call, sub: Obj, changes: list[Obj]) -> list[Obj]:
    """Write the lines that changed items would add."""
    books, at = call.books, call.books.now_of(sub)
    found: list[Obj] = []
    for given in changes:
        item = books.get("subscription_item", given["id"], "subscription_details[items][0][id]")
        old = books.table("price")[item["price"]]
        new = usable_price(books, given["price"]) if given.get("price") else old
        quantity = item["quantity"] if given.get("quantity") is None else given["quantity"]
        period = item["current_period_start"], item["current_period_end"]
        before = lines.amount_of(old, item["quantity"] or 0)
        after = 0 if given.get("deleted") else lines.amount_of(new, quantity or 0)
        for amount in prorated(before, after, period, at):
            line = lines.line_of_item(books, sub, item)
            found.append({**line, "amount": amount, "subtotal": amount})
    return found


ROUTES = [
    post(
        "/v1/invoices/create_preview",
        create_preview,
        {
            "customer": text,
            "subscription": text,
            "subscription_details": {
                "items": [
                    {
                        "id": text,
                        "price": text,
                        "quantity": whole,
                        "deleted": flag,
                        "metadata": metadata,
                    }
                ],
                "proration_behavior": text,
                "proration_date": whole,
            },
        },
    ),
    get(
        "/v1/invoices",
        listed,
        {
            **PAGE,
            "collection_method": text,
            "created": time_range,
            "customer": text,
            "status": STATUS,
            "subscription": text,
        },
    ),
    get("/v1/invoices/{id}", retrieve),
    post(
        "/v1/invoices/{id}",
        update,
        {
            "auto_advance": flag,
            "default_payment_method": text,
            "description": text,
            "footer": text,
            "metadata": metadata,
        },
    ),
    post("/v1/invoices/{id}/finalize", finalized, {"auto_advance": flag}),
    post(
        "/v1/invoices/{id}/pay",
        pay,
        {
            "forgive": flag,
            "mandate": anything,
            "off_session": flag,
            "paid_out_of_band": flag,
            "payment_method": text,
        },
    ),
    post("/v1/invoices/{id}/void", voided),
    post("/v1/invoices/{id}/mark_uncollectible", marked_uncollectible),
    get(
        "/v1/invoiceitems",
        list_items,
        {**PAGE, "created": time_range, "customer": text, "invoice": text, "pending": flag},
    ),
    get("/v1/invoices/{id}/lines", list_lines, PAGE),
    get(
        "/v1/invoice_payments",
        list_payments,
        {**PAGE, "invoice": text, "status": text, "created": time_range},
    ),
]
