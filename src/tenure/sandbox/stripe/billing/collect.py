"""Getting an invoice paid: the attempt, and what follows from it for the subscription."""

from tenure.sandbox.stripe.billing import cards, invoices, status
from tenure.sandbox.stripe.billing.dunning import next_attempt
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.model import Obj


def settle(books: Books, invoice: Obj) -> None:
    """Finalize a draft and try to get it paid, as its collection method says."""
    invoices.finalize(books, invoice)
    if invoice["collection_method"] == invoices.SEND_INVOICE and invoice["amount_due"]:
        books.tell("invoice.sent", invoice)
        return
    attempt(books, invoice)


def attempt(books: Books, invoice: Obj, card: Obj | None = None) -> bool:
    """Try to collect once; whichever way it ends, the events and the subscription follow."""
    if invoice["amount_due"] == 0:
        _mark_paid(books, invoice)
        return True
    sub = subscription_of(books, invoice)
    customer = books.table("customer")[invoice["customer"]]
    card = card or cards.card_of(books, customer, sub)
    invoice["attempt_count"] += 1
    invoice["attempted"] = True
    if cards.charge(card):
        _mark_paid(books, invoice)
        return True
    _mark_failed(books, invoice, sub)
    return False


def mark_paid_elsewhere(books: Books, invoice: Obj) -> None:
    """Note that the money came by another way."""
    _mark_paid(books, invoice)


def subscription_of(books: Books, invoice: Obj) -> Obj | None:
    """Find the subscription that an invoice bills."""
    name = invoice.get("_subscription")
    return books.find("subscription", name) if name else None


def _mark_paid(books: Books, invoice: Obj) -> None:
    at = books.now_of(invoice)
    paid = invoice["amount_due"]
    invoice.update(
        status="paid",
        amount_paid=paid,
        amount_remaining=0,
        attempted=True,
        next_payment_attempt=None,
    )
    invoice["status_transitions"]["paid_at"] = at
    if paid:
        _note_payment(books, invoice, at)
    books.tell("invoice.paid", invoice)
    books.tell("invoice.payment_succeeded", invoice)
    sub = subscription_of(books, invoice)
    if sub and sub["status"] in {"incomplete", "past_due", "unpaid", "paused"}:
        _revive(books, sub)


def _revive(books: Books, sub: Obj) -> None:
    """Go back to active once nothing is owed any more."""
    owed = (
        invoice
        for invoice in books.owned("invoice", sub["customer"])
        if invoice.get("_subscription") == sub["id"] and invoice["status"] == "open"
    )
    if not any(owed):
        status.put_status(books, sub, "active")


def _note_payment(books: Books, invoice: Obj, at: int) -> None:
    fields: Obj = {
        "amount_paid": invoice["amount_due"],
        "amount_requested": invoice["amount_due"],
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "payment": {"payment_intent": books.ids.token("pi_", 24), "type": "payment_intent"},
        "status": "paid",
        "status_transitions": {"canceled_at": None, "paid_at": at},
    }
    books.add("invoice_payment", fields, at=at)


def _mark_failed(books: Books, invoice: Obj, sub: Obj | None) -> None:
    """Plan the next attempt, or give up as the account's settings say."""
    first = invoice["billing_reason"] == "subscription_create"
    days = books.policy.dunning_days
    at = books.now_of(invoice)
    with books.changing(invoice, "invoice.updated"):
        later = None if first else next_attempt(invoice["attempt_count"], days, at)
        invoice["next_payment_attempt"] = later
    books.tell("invoice.payment_failed", invoice)
    if sub is None or first or sub["status"] in status.OVER | {"paused"}:
        return
    if later is not None:
        _fall_behind(books, sub)
    elif invoice["attempt_count"] > len(days):
        _give_up(books, sub)


def _fall_behind(books: Books, sub: Obj) -> None:
    if sub["status"] in {"active", "trialing"}:
        status.put_status(books, sub, "past_due")


def _give_up(books: Books, sub: Obj) -> None:
    """End the dunning: cancel, or stay unpaid, or stay past due."""
    if books.policy.dunning_end == "cancel":
        status.end(books, sub, "payment_failed")
    else:
        status.put_status(books, sub, books.policy.dunning_end)
