"""What an update of a subscription can say, one part after the other."""

from tenure.sandbox.stripe.billing import change, status
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.errors import StripeRefusal, invalid, missing_parameter
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.params import merged, rows

SIMPLE = ("collection_method", "days_until_due", "default_payment_method", "description")
QUANTITY_UPDATES_AN_HOUR = 200


def apply_update(books: Books, sub: Obj, given: Obj) -> None:
    """Apply an update and tell of it once.

    Errors: a refusal, and then nothing was changed.
    """
    _check(books, sub, given)
    if given.get("trial_end") == "now" and sub["status"] == "trialing":
        change.end_trial(books, sub, books.now_of(sub))
    with books.changing(sub, "customer.subscription.updated"):
        _put_fields(books, sub, given)
        _put_cancel(books, sub, given)
        if given.get("items"):
            behaviour = given.get("proration_behavior") or "create_prorations"
            date = given.get("proration_date")
            change.change_items(books, sub, given["items"], behaviour, date)
        if given.get("billing_cycle_anchor") == "now" and sub["status"] in change.BILLED:
            change.restart(books, sub, books.now_of(sub))


def _check(books: Books, sub: Obj, given: Obj) -> None:
    """Refuse what cannot be done before anything is changed."""
    if sub["status"] in status.OVER and set(given) - {"metadata", "expand", "cancellation_details"}:
        raise invalid("A canceled subscription can only update its cancellation_details and "
                      "metadata.")  # fmt: skip
    if given.get("cancel_at_period_end") and given.get("cancel_at"):
        raise invalid("You cannot pass both `cancel_at` and `cancel_at_period_end`.", "cancel_at")
    card = given.get("default_payment_method")
    if card:
        books.get("payment_method", card, "default_payment_method")
    for place, item in enumerate(rows(given, "items")):
        _check_item(books, sub, item, place)
    removed = {i["id"] for i in rows(given, "items") if i.get("deleted")}
    added = any(i.get("id") is None for i in rows(given, "items"))
    if removed >= set(sub["_items"]) and not added:
        raise invalid("A subscription must have at least one active item.", "items")
    _check_quantity_limit(books, sub, given)
    if given.get("proration_behavior") == "always_invoice":
        change.check_invoice_limit(books, sub)


def _check_item(books: Books, sub: Obj, item: Obj, place: int) -> None:
    if item.get("id") is not None and item["id"] not in sub["_items"]:
        param = f"items[{place}][id]"
        raise invalid(f"No such subscription_item: '{item['id']}'", param, "resource_missing")
    if item.get("price"):
        change.usable_price(books, item["price"])
    elif item.get("id") is None:
        param = f"items[{place}][price]"
        raise missing_parameter(param)
    held = {i["price"] for i in status.items_of(books, sub) if i["id"] != item.get("id")}
    if item.get("price") in held:
        raise invalid(
            f"Cannot add multiple subscription items with the same plan: {item['price']}",
            f"items[{place}][price]",
        )
    if (item.get("quantity") or 0) < 0:
        raise invalid("This value must be greater than or equal to 0.", f"items[{place}][quantity]")


def _check_quantity_limit(books: Books, sub: Obj, given: Obj) -> None:
    """Hold Stripe's own limit of 200 quantity updates an hour, when the account asks for it."""
    if not books.policy.subscription_limits:
        return
    if not any(item.get("quantity") is not None for item in rows(given, "items")):
        return
    now = books.now_of(sub)
    recent = [at for at in sub.get("_quantity_updates", []) if now - at < 3_600]  # noqa: PLR2004 (one hour)
    if len(recent) >= QUANTITY_UPDATES_AN_HOUR:
        raise StripeRefusal(
            "You have exceeded the limit of 200 quantity updates per hour for this subscription.",
            status=429,
            code="rate_limit",
        )
    sub["_quantity_updates"] = [*recent, now]


def _put_fields(books: Books, sub: Obj, given: Obj) -> None:
    for name in SIMPLE:
        if name in given:
            sub[name] = given[name]
    if "metadata" in given:
        sub["metadata"] = merged(sub["metadata"], given["metadata"])
    if given.get("trial_settings"):
        sub["trial_settings"] = given["trial_settings"]
    if given.get("cancellation_details"):
        sub["cancellation_details"].update(given["cancellation_details"])
    if "pause_collection" in given:
        pause = given["pause_collection"]
        sub["pause_collection"] = None if pause is None else {"resumes_at": None, **pause}
    if isinstance(given.get("trial_end"), int):
        _put_trial(books, sub, given["trial_end"])


def _put_trial(books: Books, sub: Obj, trial_end: int) -> None:
    """Begin or lengthen a trial: its end becomes the end of every item's period."""
    at = books.now_of(sub)
    if trial_end <= at:
        raise invalid("The subscription's `trial_end` must be in the future.", "trial_end")
    sub["trial_start"] = sub["trial_start"] if sub["status"] == "trialing" else at
    sub["trial_end"] = trial_end
    sub["billing_cycle_anchor"] = trial_end
    sub["status"] = "trialing"
    for item in status.items_of(books, sub):
        item["current_period_start"] = sub["trial_start"]
        item["current_period_end"] = trial_end


def _put_cancel(books: Books, sub: Obj, given: Obj) -> None:
    if given.get("cancel_at_period_end") is not None:
        status.plan_cancel(books, sub, at_period_end=given["cancel_at_period_end"])
    elif "cancel_at" in given:
        asked = given["cancel_at"]
        if isinstance(asked, str):
            pick = max if asked == "max_period_end" else min
            asked = pick(item["current_period_end"] for item in status.items_of(books, sub))
        sub["cancel_at_period_end"] = False
        status.put_cancel_at(books, sub, asked)
