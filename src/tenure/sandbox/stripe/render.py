"""From what is kept to what is shown: private fields out, nested lists in."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.params import inside

Lookup = Callable[[str], dict[str, Obj]]
"""Gives the table of a kind."""

NESTED_LIMIT = 10
"""Lists inside objects are cut off here, as Stripe's are."""

ABSENT = object()


def render(table: Lookup, obj: Obj) -> Obj:
    """Copy an object as a caller sees it; what an event carries was copied when it happened."""
    if obj.get("object") == "event":
        return {k: v for k, v in obj.items() if not k.startswith("_")}
    shown = cast("Obj", _copied(table, obj))
    extra = EXTRAS.get(_kind(obj))
    if extra and not obj.get("deleted"):
        extra(table, obj, shown)
    return shown


def _copied(table: Lookup, value: Any) -> Any:  # noqa: ANN401 (any JSON value)
    """Copy a value, rendering the objects inside it."""
    if isinstance(value, dict):
        held = cast("Obj", value)
        return {k: _inner(table, v) for k, v in held.items() if not k.startswith("_")}
    if isinstance(value, list):
        return [_inner(table, v) for v in cast("list[Any]", value)]
    return value


def _inner(table: Lookup, value: Any) -> Any:  # noqa: ANN401 (any JSON value)
    if isinstance(value, dict) and _kind(cast("Obj", value)) in RENDERED:
        return render(table, cast("Obj", value))
    return _copied(table, value)


def _kind(obj: Obj) -> str:
    kind = obj.get("object")
    return kind if isinstance(kind, str) else ""


def nested_list(table: Lookup, rows: Sequence[Obj], url: str) -> Obj:
    """Show the first few rows as Stripe shows a list inside an object."""
    return {
        "object": "list",
        "data": [render(table, row) for row in rows[:NESTED_LIMIT]],
        "has_more": len(rows) > NESTED_LIMIT,
        "url": url,
    }


def _with_items(table: Lookup, obj: Obj, shown: Obj) -> None:
    items = table("subscription_item")
    rows = [items[name] for name in obj["_items"] if name in items]
    shown["items"] = {
        **nested_list(table, rows, f"/v1/subscription_items?subscription={obj['id']}"),
        "total_count": len(rows),
    }


def _with_price(table: Lookup, obj: Obj, shown: Obj) -> None:
    price = table("price")[obj["price"]]
    shown["price"] = render(table, price)
    shown["plan"] = plan_of(price)


def _with_lines(table: Lookup, obj: Obj, shown: Obj) -> None:
    if "_lines" in obj:  # a preview brings its own
        shown["lines"] = nested_list(table, obj["_lines"], f"/v1/invoices/{obj['id']}/lines")


def _with_feature(table: Lookup, obj: Obj, shown: Obj) -> None:
    shown["entitlement_feature"] = render(
        table, table("entitlements.feature")[obj["entitlement_feature"]]
    )


def plan_of(price: Obj) -> Obj:
    """Show a recurring price as the plan that older clients read."""
    recurring = inside(price, "recurring")
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring.get("interval"),
        "interval_count": recurring.get("interval_count"),
        "livemode": price["livemode"],
        "metadata": price["metadata"],
        "meter": recurring.get("meter"),
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": recurring.get("usage_type", "licensed"),
    }


EXTRAS: dict[str, Callable[[Lookup, Obj, Obj], None]] = {
    "subscription": _with_items,
    "subscription_item": _with_price,
    "invoice": _with_lines,
    "product_feature": _with_feature,
}


RENDERED = {*EXTRAS, "event"}


def differences(before: Obj, after: Obj) -> Obj:
    """Give the old values of what changed, as `previous_attributes` carries them."""
    previous: Obj = {}
    for key in before.keys() | after.keys():
        old, new = before.get(key, ABSENT), after.get(key, ABSENT)
        if old == new:
            continue
        if _plain_hash(old) and _plain_hash(new):
            previous[key] = differences(cast("Obj", old), cast("Obj", new))
        else:
            previous[key] = None if old is ABSENT else old
    return previous


def _plain_hash(value: object) -> bool:
    """Tell whether a value is an object without an identity of its own."""
    return isinstance(value, dict) and "object" not in value
