"""What happens at the end of a period."""

from tenure.sandbox.stripe.billing import collect, invoices, lines, status
from tenure.sandbox.stripe.billing.start import put_period
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.model import Obj


def renew(books: Books, sub: Obj, at: int) -> None:
    """Begin the next period of every item whose period ended, and bill it."""
    with books.changing(sub, "customer.subscription.updated"):
        drawn: list[Obj] = []
        for item in status.items_of(books, sub):
            if item["current_period_end"] <= at:
                put_period(books, sub, item, item["current_period_end"])
                drawn.append(lines.line_of_item(books, sub, item))
        invoice = invoices.draft(books, sub, drawn, "subscription_cycle")
        invoice["_days_until_due"] = sub["days_until_due"]
        sub["latest_invoice"] = invoice["id"]
    _then(books, sub, invoice, at)


def _then(books: Books, sub: Obj, invoice: Obj, at: int) -> None:
    """Bill now, after the draft's hour, or not at all while collection rests."""
    pause = sub["pause_collection"]
    if pause is not None:
        _rest(books, invoice, pause["behavior"])
    elif sub["status"] == "unpaid":
        invoice["auto_advance"] = False
    elif books.policy.draft_seconds:
        invoice["automatically_finalizes_at"] = at + books.policy.draft_seconds
    else:
        collect.settle(books, invoice)


def _rest(books: Books, invoice: Obj, behaviour: str) -> None:
    invoice["auto_advance"] = False
    if behaviour == "keep_as_draft":
        return
    invoices.finalize(books, invoice)
    if behaviour == "void":
        invoices.void(books, invoice)
    else:
        invoices.write_off(books, invoice)


def announce_invoice(books: Books, sub: Obj, at_end: int) -> None:
    """Tell what will be billed soon: an invoice that has no id yet."""
    sub["_announced"] = at_end
    items = [i for i in status.items_of(books, sub) if i["current_period_end"] == at_end]
    drawn = [lines.line_of_item(books, sub, item) for item in items]
    books.tell("invoice.upcoming", upcoming(books, sub, drawn))


def upcoming(books: Books, sub: Obj, drawn: list[Obj]) -> Obj:
    """Describe the next invoice as Stripe previews it: without an id."""
    from_blank = invoices.preview(books, sub, drawn, "upcoming")
    shape = invoices.blank_invoice(books, sub)
    shape.update(from_blank, next_payment_attempt=None)
    for name in ("id", "_lines", "_subscription"):
        del shape[name]
    shape["lines"] = {
        "object": "list",
        "data": [{**line, "invoice": None} for line in drawn],
        "has_more": False,
        "url": "/v1/invoices/upcoming/lines",
    }
    return shape
