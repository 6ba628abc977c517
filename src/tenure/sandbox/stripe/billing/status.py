"""A subscription's status, its pending cancel and its end."""

from tenure.sandbox.stripe.billing import entitled
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.model import Obj

OVER = {"canceled", "incomplete_expired"}


def items_of(books: Books, sub: Obj) -> list[Obj]:
    """Give all items of a subscription, oldest first."""
    table = books.table("subscription_item")
    return [table[name] for name in sub["_items"]]


def put_status(books: Books, sub: Obj, status: str) -> None:
    """Move to a status, and tell."""
    with books.changing(sub, "customer.subscription.updated"):
        sub["status"] = status
        if status == "incomplete_expired":
            sub["ended_at"] = books.now_of(sub)
    put_delinquent(books, sub["customer"])
    entitled.refresh(books, sub["customer"])


def put_delinquent(books: Books, customer_id: str) -> None:
    """Call a customer delinquent while a subscription of theirs is behind with payments."""
    customer = books.find("customer", customer_id)
    if customer is not None:
        late = {"past_due", "unpaid"}
        with books.changing(customer, "customer.updated"):
            customer["delinquent"] = any(
                s["status"] in late for s in books.owned("subscription", customer_id)
            )


def end(books: Books, sub: Obj, reason: str) -> None:
    """Cancel now: the end, from which no subscription comes back."""
    at = books.now_of(sub)
    sub["status"] = "canceled"
    sub["ended_at"] = at
    sub["canceled_at"] = sub["canceled_at"] or at
    details = sub["cancellation_details"]
    details["reason"] = details["reason"] or reason
    for invoice in books.owned("invoice", sub["customer"]):
        if invoice.get("_subscription") == sub["id"] and invoice["status"] in {"draft", "open"}:
            invoice["auto_advance"] = False
            invoice["next_payment_attempt"] = None
            invoice["automatically_finalizes_at"] = None
    books.tell("customer.subscription.deleted", sub)
    put_delinquent(books, sub["customer"])
    entitled.refresh(books, sub["customer"])


def plan_cancel(books: Books, sub: Obj, *, at_period_end: bool) -> None:
    """Set or clear the cancel at the end of what is paid: the latest end among the items."""
    sub["cancel_at_period_end"] = at_period_end
    ends = [item["current_period_end"] for item in items_of(books, sub)]
    put_cancel_at(books, sub, max(ends) if at_period_end and ends else None)


def put_cancel_at(books: Books, sub: Obj, cancel_at: int | None) -> None:
    """Set or clear the moment of a planned cancel."""
    sub["cancel_at"] = cancel_at
    sub["canceled_at"] = None if cancel_at is None else books.now_of(sub)
    sub["cancellation_details"]["reason"] = None if cancel_at is None else "cancellation_requested"
