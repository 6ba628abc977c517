"""How a subscription begins."""

from collections.abc import Sequence

from tenure.sandbox.stripe.billing import cards, collect, entitled, invoices, lines, status
from tenure.sandbox.stripe.billing.periods import period_at
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.errors import StripeRefusal, declined, invalid
from tenure.sandbox.stripe.model import DAY, Obj


def new_item(books: Books, sub: Obj, given: Obj, at: int) -> Obj:
    """Add an item with its own period, counted from the subscription's anchor."""
    price = usable_price(books, given["price"])
    quantity = given.get("quantity")
    metered = price["recurring"]["usage_type"] == "metered"
    item = books.add(
        "subscription_item",
        {
            "price": price["id"],
            "quantity": None if metered else (1 if quantity is None else quantity),
            "subscription": sub["id"],
            "metadata": given.get("metadata") or {},
        },
        at=at,
    )
    del item["livemode"]  # items have none
    put_period(books, sub, item, at)
    sub["_items"].append(item["id"])
    return item


def put_period(books: Books, sub: Obj, item: Obj, at: int) -> None:
    """Give an item the period that holds `at`: the trial, or its interval from the anchor."""
    if sub["trial_end"] and at < sub["trial_end"]:
        start, stop = sub["trial_start"], sub["trial_end"]
    else:
        recurring = books.table("price")[item["price"]]["recurring"]
        anchor = sub["billing_cycle_anchor"]
        start, stop = period_at(anchor, recurring["interval"], recurring["interval_count"], at)
    item["current_period_start"], item["current_period_end"] = start, stop


def usable_price(books: Books, price_id: str) -> Obj:
    """Find a price that a subscription can use.

    Errors: a refusal for a price that is gone, inactive or paid only once.
    """
    price = books.get("price", price_id, "items[0][price]")
    if not price["active"]:
        raise invalid(
            f"The price specified is inactive. This field only accepts active prices: {price_id}",
            "items[0][price]",
        )
    if price["type"] != "recurring":
        raise invalid(
            "The price specified is set to `type=one_time` but this field only accepts prices "
            "with `type=recurring`.",
            "items[0][price]",
        )
    return price


def open_subscription(books: Books, customer: Obj, given: Obj, items: Sequence[Obj]) -> Obj:
    """Write the subscription with its items, not yet paid and not yet told."""
    prices = [usable_price(books, item["price"]) for item in items]
    if len({price["currency"] for price in prices}) > 1:
        raise invalid("All prices on a subscription must have the same currency.", "items")
    at = books.now_of(customer)
    trial_end = _trial_end(given, at)
    sub = books.add(
        "subscription",
        {
            "billing_cycle_anchor": trial_end or at,
            "currency": prices[0]["currency"],
            "customer": customer["id"],
            "start_date": at,
            "test_clock": customer["test_clock"],
            "trial_start": at if trial_end else None,
            "trial_end": trial_end,
            "status": "trialing" if trial_end else "incomplete",
            "_items": [],
            **given.get("fields", {}),
        },
        at=at,
    )
    for item in items:
        new_item(books, sub, item, at)
    customer["currency"] = customer["currency"] or sub["currency"]
    if given.get("cancel_at_period_end"):
        status.plan_cancel(books, sub, at_period_end=True)
    elif given.get("cancel_at"):
        status.put_cancel_at(books, sub, given["cancel_at"])
    return sub


def _trial_end(given: Obj, at: int) -> int | None:
    if given.get("trial_period_days"):
        return at + int(given["trial_period_days"]) * DAY
    asked = given.get("trial_end")
    if asked is None or asked == "now":
        return None
    if asked <= at:
        raise invalid("The subscription's `trial_end` must be in the future.", "trial_end")
    return int(asked)


def bill_first(books: Books, sub: Obj, behaviour: str) -> None:
    """Bill the beginning and tell of it.

    `default_incomplete` leaves the invoice open; `error_if_incomplete` refuses and undoes all;
    `checkout` tells of the creation before it is paid, as Checkout does.
    """
    _check_card(books, sub, behaviour)
    free = sub["status"] == "trialing"
    drawn = [
        lines.line_of_item(books, sub, item, free=free) for item in status.items_of(books, sub)
    ]
    if behaviour == "error_if_incomplete" and not free:
        _need_money(books, sub, sum(line["amount"] for line in drawn))
    quiet = _quietly_active(books, sub, behaviour, sum(line["amount"] for line in drawn))
    if quiet:
        sub["status"] = "active"
    books.tell("customer.subscription.created", sub)
    invoice = invoices.draft(books, sub, drawn, "subscription_create")
    invoice["_days_until_due"] = sub["days_until_due"]
    sub["latest_invoice"] = invoice["id"]
    if behaviour == "default_incomplete" and invoice["total"] and not quiet:
        invoices.finalize(books, invoice)
    else:
        collect.settle(books, invoice)
    entitled.refresh(books, sub["customer"])


def _quietly_active(books: Books, sub: Obj, behaviour: str, total: int) -> bool:
    """Tell whether the subscription is active from its first event on."""
    if sub["status"] != "incomplete" or behaviour == "checkout":
        return False
    if total == 0 or sub["collection_method"] == invoices.SEND_INVOICE:
        return True
    return behaviour != "default_incomplete" and _would_pay(books, sub)


def _would_pay(books: Books, sub: Obj) -> bool:
    card = cards.card_of(books, books.table("customer")[sub["customer"]], sub)
    return card is not None and cards.charge(dict(card))


def _check_card(books: Books, sub: Obj, behaviour: str) -> None:
    """Refuse a subscription that must be paid now by a customer without a card."""
    if sub["status"] == "trialing" or behaviour == "default_incomplete":
        return
    if sub["collection_method"] == invoices.SEND_INVOICE:
        return
    customer = books.table("customer")[sub["customer"]]
    owed = sum(
        lines.amount_of(books.table("price")[item["price"]], item["quantity"] or 0)
        for item in status.items_of(books, sub)
    )
    if owed and cards.card_of(books, customer, sub) is None:
        _forget(books, sub)
        raise StripeRefusal(
            "This customer has no attached payment source or default payment method. Please "
            "consider adding a default payment method.",
            code="resource_missing",
        )


def _need_money(books: Books, sub: Obj, total: int) -> None:
    if total and not _would_pay(books, sub):
        _forget(books, sub)
        raise declined()


def _forget(books: Books, sub: Obj) -> None:
    """Undo a subscription that nobody was told of."""
    for name in sub["_items"]:
        del books.table("subscription_item")[name]
    del books.table("subscription")[sub["id"]]
