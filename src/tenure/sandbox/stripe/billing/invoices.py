"""Invoices from draft to their end."""

from collections.abc import Sequence

from tenure.sandbox.stripe.billing.lines import line_of_pending
from tenure.sandbox.stripe.billing.proration import with_balance
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.errors import invalid
from tenure.sandbox.stripe.model import DAY, Obj
from tenure.sandbox.stripe.shapes import blank

SEND_INVOICE = "send_invoice"


def preview(books: Books, sub: Obj, lines: Sequence[Obj], reason: str) -> Obj:
    """Describe an invoice without keeping it."""
    at = books.now_of(sub)
    customer = books.table("customer")[sub["customer"]]
    total = sum(line["amount"] for line in lines)
    due, after = with_balance(total, customer["balance"])
    return {
        "amount_due": due,
        "amount_remaining": due,
        "billing_reason": reason,
        "collection_method": sub["collection_method"],
        "currency": sub["currency"],
        "customer": sub["customer"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "default_payment_method": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {"metadata": sub["metadata"], "subscription": sub["id"]},
            "type": "subscription_details",
        },
        "period_start": at,
        "period_end": at,
        "starting_balance": customer["balance"],
        "ending_balance": after,
        "subtotal": total,
        "subtotal_excluding_tax": total,
        "test_clock": sub["test_clock"],
        "total": total,
        "total_excluding_tax": total,
        "_subscription": sub["id"],
        "_lines": list(lines),
    }


def blank_invoice(books: Books, sub: Obj) -> Obj:
    """Shape an invoice that is not kept."""
    return blank("invoice", "", created=books.now_of(sub), livemode=books.live)


def waiting_items(books: Books, sub: Obj) -> list[Obj]:
    """Give what waits for a subscription's next invoice."""
    return [
        item
        for item in books.owned("invoiceitem", sub["customer"])
        if item["invoice"] is None and item["_subscription"] == sub["id"]
    ]


def draft(books: Books, sub: Obj, lines: Sequence[Obj], reason: str) -> Obj:
    """Open a draft with the given lines and everything that waits for this subscription."""
    waiting = waiting_items(books, sub)
    drawn = [*(line_of_pending(books, item) for item in waiting), *lines]
    fields = {**preview(books, sub, drawn, reason), "ending_balance": None}
    invoice = books.add("invoice", fields, at=books.now_of(sub))
    for line in drawn:
        line["invoice"] = invoice["id"]
    for item in waiting:
        item["invoice"] = invoice["id"]
    books.tell("invoice.created", invoice)
    return invoice


def finalize(books: Books, invoice: Obj) -> None:
    """Close a draft: number it, settle the balance, and make it payable."""
    if invoice["status"] != "draft":
        raise invalid("This invoice is already finalized, you can't re-finalize a non-draft "
                      "invoice.", code="invoice_not_editable")  # fmt: skip
    at = books.now_of(invoice)
    customer = books.table("customer")[invoice["customer"]]
    due, after = with_balance(invoice["total"], customer["balance"])
    invoice.update(
        status="open",
        amount_due=due,
        amount_remaining=due,
        starting_balance=customer["balance"],
        ending_balance=after,
        effective_at=at,
        automatically_finalizes_at=None,
        number=f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}",
    )
    invoice["status_transitions"]["finalized_at"] = at
    if invoice["collection_method"] == SEND_INVOICE:
        invoice["due_date"] = at + int(invoice.get("_days_until_due") or 0) * DAY
    customer["next_invoice_sequence"] += 1
    _put_balance(books, customer, after)
    books.tell("invoice.finalized", invoice)


def _put_balance(books: Books, customer: Obj, balance: int) -> None:
    with books.changing(customer, "customer.updated"):
        customer["balance"] = balance


def void(books: Books, invoice: Obj) -> None:
    """Take an open invoice back; what it took from the balance is given back."""
    _close(books, invoice, "void", "voided_at", "invoice.voided")
    customer = books.table("customer")[invoice["customer"]]
    taken = (invoice["ending_balance"] or 0) - invoice["starting_balance"]
    if taken:
        _put_balance(books, customer, customer["balance"] - taken)


def write_off(books: Books, invoice: Obj) -> None:
    """Give up on an open invoice."""
    _close(
        books,
        invoice,
        "uncollectible",
        "marked_uncollectible_at",
        "invoice.marked_uncollectible",
    )


def _close(books: Books, invoice: Obj, status: str, stamp: str, event: str) -> None:
    if invoice["status"] not in {"open", "uncollectible"}:
        raise invalid(
            f"You can only pass in open invoices. This invoice isn't open: it is "
            f"{invoice['status']}."
        )
    invoice["status"] = status
    invoice["next_payment_attempt"] = None
    invoice["status_transitions"][stamp] = books.now_of(invoice)
    books.tell(event, invoice)
