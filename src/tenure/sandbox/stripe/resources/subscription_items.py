"""The items of subscriptions, by themselves."""

from tenure.sandbox.stripe.errors import invalid
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.paging import page
from tenure.sandbox.stripe.params import PAGE, flag, metadata, one_of, text, whole
from tenure.sandbox.stripe.resources.customers import tombstone
from tenure.sandbox.stripe.resources.subscription_updates import apply_update
from tenure.sandbox.stripe.route import Call, delete, get, post

KIND = "subscription_item"
FIELDS = {
    "price": text,
    "quantity": whole,
    "metadata": metadata,
    "proration_behavior": one_of("always_invoice", "create_prorations", "none"),
    "proration_date": whole,
    "payment_behavior": text,
    "off_session": flag,
}


def create(call: Call) -> Obj:
    """Add an item to a subscription."""
    sub = call.books.get("subscription", call.params["subscription"], "subscription")
    _change(call, sub, {"price": call.params["price"], "quantity": call.params.get("quantity")})
    return call.books.get(KIND, sub["_items"][-1])


def update(call: Call) -> Obj:
    """Change an item."""
    item = call.books.get(KIND, call.id)
    sub = call.books.get("subscription", item["subscription"])
    wanted = {name: call.params.get(name) for name in ("price", "quantity", "metadata")}
    _change(call, sub, {"id": item["id"], **wanted})
    return item


def remove(call: Call) -> Obj:
    """Take an item away."""
    item = call.books.get(KIND, call.id)
    sub = call.books.get("subscription", item["subscription"])
    if len(sub["_items"]) == 1:
        raise invalid("A subscription must have at least one active item. To cancel, please use "
                      "the cancel endpoint on the subscription.")  # fmt: skip
    _change(call, sub, {"id": item["id"], "deleted": True})
    return tombstone(item)


def _change(call: Call, sub: Obj, item: Obj) -> None:
    names = ("proration_behavior", "proration_date")
    given = {name: call.params.get(name) for name in names}
    apply_update(call.books, sub, {**given, "items": [item]})


def listed(call: Call) -> Obj:
    """List the items of a subscription, oldest first."""
    sub = call.books.get("subscription", call.params["subscription"], "subscription")
    table = call.books.table(KIND)
    rows = [table[name] for name in sub["_items"]]
    url = f"/v1/subscription_items?subscription={sub['id']}"
    return page(rows, call.params, url, keep=lambda _row: True, kind=KIND)


ROUTES = [
    post(
        "/v1/subscription_items",
        create,
        {**FIELDS, "subscription": text},
        need=["subscription", "price"],
    ),
    get("/v1/subscription_items", listed, {**PAGE, "subscription": text}, need=["subscription"]),
    get("/v1/subscription_items/{id}", lambda call: call.books.get(KIND, call.id)),
    post("/v1/subscription_items/{id}", update, FIELDS),
    delete("/v1/subscription_items/{id}", remove, {**FIELDS, "clear_usage": flag}),
]
