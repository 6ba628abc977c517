"""What a customer may use: the features of the products it has a running subscription to."""

from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.render import nested_list

RUNNING = {"trialing", "active", "past_due"}


def refresh(books: Books, customer_id: str) -> None:
    """Make the customer's entitlements follow its subscriptions, and tell when they changed."""
    held = {e["feature"]: e for e in books.owned("entitlements.active_entitlement", customer_id)}
    due = _features_due(books, customer_id)
    if held.keys() == due.keys():
        return
    before = summary(books, customer_id)["entitlements"]
    table = books.table("entitlements.active_entitlement")
    for feature in held.keys() - due.keys():
        del table[held[feature]["id"]]
    for feature in due:
        if feature not in held:
            _grant(books, customer_id, books.table("entitlements.feature")[feature])
    kind = "entitlements.active_entitlement_summary.updated"
    books.tell(kind, summary(books, customer_id), {"entitlements": before})


def summary(books: Books, customer_id: str) -> Obj:
    """Sum up a customer's entitlements: an object without an id, its list cut off."""
    rows = books.owned("entitlements.active_entitlement", customer_id)
    url = f"/v1/customer/{customer_id}/entitlements"
    shown = nested_list(books.table, rows, url)
    for entitlement in shown["data"]:
        entitlement.pop("customer", None)
        feature = books.table("entitlements.feature")[entitlement["feature"]]
        entitlement["feature"] = books.show(feature)
    return {
        "object": "entitlements.active_entitlement_summary",
        "customer": customer_id,
        "entitlements": shown,
        "livemode": books.live,
    }


def refresh_product(books: Books, product_id: str) -> None:
    """Let every customer of a product follow a change of its features."""
    prices = {p["id"] for p in books.table("price").values() if p["product"] == product_id}
    items = books.table("subscription_item")
    subs = books.table("subscription")
    touched = {
        subs[item["subscription"]]["customer"] for item in items.values() if item["price"] in prices
    }
    for customer in sorted(touched):
        refresh(books, customer)


def _features_due(books: Books, customer_id: str) -> dict[str, None]:
    items, prices = books.table("subscription_item"), books.table("price")
    products = {
        prices[items[name]["price"]]["product"]
        for sub in books.owned("subscription", customer_id)
        if sub["status"] in RUNNING
        for name in sub["_items"]
    }
    attached = books.table("product_feature").values()
    return {a["entitlement_feature"]: None for a in attached if a["_product"] in products}


def _grant(books: Books, customer_id: str, feature: Obj) -> None:
    fields: Obj = {"feature": feature["id"], "lookup_key": feature["lookup_key"]}
    made = books.add(
        "entitlements.active_entitlement", {**fields, "customer": customer_id}, at=books.now()
    )
    made["_created"] = made.pop("created")
