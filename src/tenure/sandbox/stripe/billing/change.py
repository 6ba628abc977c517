"""How the items of a running subscription change, and what that costs."""

from collections.abc import Sequence

from tenure.sandbox.stripe.billing import cards, collect, entitled, invoices, lines, status
from tenure.sandbox.stripe.billing.start import new_item, put_period, usable_price
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.errors import StripeRefusal
from tenure.sandbox.stripe.model import Obj

BILLED = {"active", "past_due"}


def change_items(
    books: Books, sub: Obj, given: Sequence[Obj], behaviour: str, at: int | None = None
) -> None:
    """Apply changes to items, as of `at`; prorations wait for the next invoice or are billed."""
    at = books.now_of(sub) if at is None else at
    pending: list[Obj] = []
    anew = False
    for change in given:
        made, restarted = _change(books, sub, change, at)
        pending += made
        anew = anew or restarted
    if behaviour != "none" and sub["status"] in BILLED:
        _keep_waiting(books, pending, at)
    entitled.refresh(books, sub["customer"])
    if anew and sub["status"] in BILLED:
        restart(books, sub, at)
    elif behaviour == "always_invoice" and pending and sub["status"] in BILLED:
        bill(books, sub, [])


def _keep_waiting(books: Books, pending: Sequence[Obj], at: int) -> None:
    for fields in pending:
        waiting = books.add("invoiceitem", fields, at=at)
        del waiting["created"]  # an invoice item has a `date` instead
        books.tell("invoiceitem.created", waiting)


def credit_rest(books: Books, sub: Obj) -> None:
    """Give credit for what is left of every item's period."""
    at, prices = books.now_of(sub), books.table("price")
    if sub["status"] not in BILLED:
        return
    for item in status.items_of(books, sub):
        price = prices[item["price"]]
        old = (price, item["quantity"] or 0)
        made = lines.proration_items(books, sub, item, old=old, new=(price, 0), at=at)
        _keep_waiting(books, made, at)


def waits(books: Books, sub: Obj) -> bool:
    """Tell whether anything waits for the next invoice."""
    return bool(invoices.waiting_items(books, sub))


def _change(books: Books, sub: Obj, change: Obj, at: int) -> tuple[list[Obj], bool]:
    """Apply one change: give the prorations, and whether a new period must begin."""
    if change.get("id") is None:
        return _add(books, sub, change, at), False
    item = books.get("subscription_item", change["id"])
    if change.get("deleted"):
        return _remove(books, sub, item, at), False
    return _replace(books, sub, item, change, at)


def _add(books: Books, sub: Obj, change: Obj, at: int) -> list[Obj]:
    item = new_item(books, sub, change, at)
    price = books.table("price")[item["price"]]
    new = (price, item["quantity"] or 0)
    return lines.proration_items(books, sub, item, old=(price, 0), new=new, at=at)


def _remove(books: Books, sub: Obj, item: Obj, at: int) -> list[Obj]:
    price = books.table("price")[item["price"]]
    old = (price, item["quantity"] or 0)
    made = lines.proration_items(books, sub, item, old=old, new=(price, 0), at=at)
    sub["_items"].remove(item["id"])
    del books.table("subscription_item")[item["id"]]
    return made


def _replace(books: Books, sub: Obj, item: Obj, change: Obj, at: int) -> tuple[list[Obj], bool]:
    old_price = books.table("price")[item["price"]]
    price = usable_price(books, change["price"]) if change.get("price") else old_price
    quantity = item["quantity"] if change.get("quantity") is None else change["quantity"]
    anew = _rhythm(price) != _rhythm(old_price)
    old, new = (old_price, item["quantity"] or 0), (price, 0 if anew else quantity or 0)
    same = (price["id"], quantity) == (item["price"], item["quantity"])
    made = [] if same else lines.proration_items(books, sub, item, old=old, new=new, at=at)
    item["price"], item["quantity"] = price["id"], quantity
    if change.get("metadata") is not None:
        item["metadata"] = change["metadata"]
    return made, anew


def _rhythm(price: Obj) -> tuple[str, int]:
    return price["recurring"]["interval"], price["recurring"]["interval_count"]


def restart(books: Books, sub: Obj, at: int) -> None:
    """Begin a new period now, and bill it now."""
    sub["billing_cycle_anchor"] = at
    items = status.items_of(books, sub)
    for item in items:
        put_period(books, sub, item, at)
    if sub["cancel_at_period_end"]:
        status.plan_cancel(books, sub, at_period_end=True)
    bill(books, sub, [lines.line_of_item(books, sub, item) for item in items])


def bill(books: Books, sub: Obj, drawn: list[Obj]) -> None:
    """Bill what waits, and the given lines, at once."""
    invoice = invoices.draft(books, sub, drawn, "subscription_update")
    invoice["_days_until_due"] = sub["days_until_due"]
    sub["latest_invoice"] = invoice["id"]
    collect.settle(books, invoice)


def check_invoice_limit(books: Books, sub: Obj) -> None:
    """Hold Stripe's own limit on new invoices: 10 a minute and 20 a day per subscription.

    Errors: a 429, when the account asks for such limits.
    """
    if not books.policy.subscription_limits:
        return
    now = books.now_of(sub)
    ages = [
        now - invoice["created"]
        for invoice in books.owned("invoice", sub["customer"])
        if invoice.get("_subscription") == sub["id"]
    ]
    if sum(age < 60 for age in ages) >= 10 or sum(age < 86_400 for age in ages) >= 20:  # noqa: PLR2004 (Stripe's figures)
        raise StripeRefusal(
            "This subscription has too many recent invoices.", status=429, code="rate_limit"
        )


def end_trial(books: Books, sub: Obj, at: int) -> None:
    """End the trial at `at`, and bill the first paid period or do as the trial's settings say."""
    behaviour = sub["trial_settings"]["end_behavior"]["missing_payment_method"]
    if behaviour != "create_invoice" and not has_card(books, sub):
        _end_without_card(books, sub, behaviour)
        return
    with books.changing(sub, "customer.subscription.updated"):
        sub["trial_end"] = at
        sub["status"] = "active"
        sub["billing_cycle_anchor"] = at
        _roll(books, sub, at)
        invoice = _draw(books, sub)
    collect.settle(books, invoice)
    entitled.refresh(books, sub["customer"])


def _end_without_card(books: Books, sub: Obj, behaviour: str) -> None:
    if behaviour == "cancel":
        status.end(books, sub, "payment_failed")
    else:
        status.put_status(books, sub, "paused")
        books.tell("customer.subscription.paused", sub)


def _roll(books: Books, sub: Obj, at: int) -> None:
    for item in status.items_of(books, sub):
        put_period(books, sub, item, at)


def _draw(books: Books, sub: Obj) -> Obj:
    drawn = [lines.line_of_item(books, sub, item) for item in status.items_of(books, sub)]
    invoice = invoices.draft(books, sub, drawn, "subscription_cycle")
    invoice["_days_until_due"] = sub["days_until_due"]
    sub["latest_invoice"] = invoice["id"]
    return invoice


def has_card(books: Books, sub: Obj) -> bool:
    """Tell whether any card could pay for a subscription."""
    customer = books.table("customer")[sub["customer"]]
    return cards.card_of(books, customer, sub) is not None


def resume(books: Books, sub: Obj, *, anchor_now: bool) -> None:
    """Bring a paused subscription back, once its new period is paid."""
    at = books.now_of(sub)
    with books.changing(sub, "customer.subscription.updated"):
        if anchor_now:
            sub["billing_cycle_anchor"] = at
        _roll(books, sub, at)
        invoice = _draw(books, sub)
    collect.settle(books, invoice)
    if sub["status"] == "active":
        books.tell("customer.subscription.resumed", sub)
