"""Products, prices and features."""

from tenure.sandbox.stripe.billing import entitled
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.errors import invalid
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.paging import matching, newest, page
from tenure.sandbox.stripe.params import (
    PAGE,
    anything,
    flag,
    inside,
    merged,
    metadata,
    one_of,
    text,
    time_range,
    whole,
    words,
)
from tenure.sandbox.stripe.resources.customers import tombstone
from tenure.sandbox.stripe.route import Call, delete, get, post

RECURRING = {
    "interval": one_of("day", "month", "week", "year"),
    "interval_count": whole,
    "meter": text,
    "trial_period_days": whole,
    "usage_type": one_of("licensed", "metered"),
}
PRICE_DATA = {
    "currency": text,
    "lookup_key": text,
    "metadata": metadata,
    "recurring": RECURRING,
    "tax_behavior": text,
    "unit_amount": whole,
    "unit_amount_decimal": text,
}
PRODUCT_FIELDS = {
    "active": flag,
    "description": text,
    "images": [text],
    "marketing_features": [{"name": text}],
    "metadata": metadata,
    "name": text,
    "package_dimensions": anything,
    "shippable": flag,
    "statement_descriptor": text,
    "tax_code": text,
    "unit_label": text,
    "url": text,
}
PRICE_FIELDS = {
    "active": flag,
    "lookup_key": text,
    "metadata": metadata,
    "nickname": text,
    "tax_behavior": text,
    "transfer_lookup_key": flag,
}
NOT_STORED = {"id", "expand", "default_price_data", "transfer_lookup_key", "product_data"}


def create_product(call: Call) -> Obj:
    """Make a product, with a default price if one is described."""
    books, given = call.books, call.params
    if given.get("id") and books.find("product", given["id"]):
        raise invalid("Product already exists.", "id", "resource_already_exists")
    at = books.now()
    product = books.add("product", {"updated": at}, at=at, object_id=given.get("id"))
    _apply(product, given)
    books.tell("product.created", product)
    if given.get("default_price_data"):
        price = new_price(books, {**given["default_price_data"], "product": product["id"]})
        product["default_price"] = price["id"]
    return product


def _apply(obj: Obj, given: Obj) -> None:
    for name, value in given.items():
        if name == "metadata":
            obj["metadata"] = merged(obj["metadata"], value)
        elif name not in NOT_STORED:
            obj[name] = value


def update_product(call: Call) -> Obj:
    """Change a product."""
    books = call.books
    product = books.get("product", call.id)
    if call.params.get("default_price"):
        books.get("price", call.params["default_price"], "default_price")
    with books.changing(product, "product.updated"):
        _apply(product, call.params)
        product["updated"] = books.now()
    return product


def remove_product(call: Call) -> Obj:
    """Delete a product that has no prices."""
    product = call.books.get("product", call.id)
    if any(p["product"] == product["id"] for p in call.books.table("price").values()):
        raise invalid("This product cannot be deleted because it has one or more user-created "
                      "prices.")  # fmt: skip
    del call.books.table("product")[product["id"]]
    call.books.tell("product.deleted", product)
    return tombstone(product)


def list_products(call: Call) -> Obj:
    """List products."""
    ids = set(words(call.params, "ids"))
    equal = matching(call.params, "active", "shippable", "url")
    return page(
        newest(call.books, "product"),
        call.params,
        "/v1/products",
        keep=lambda row: equal(row) and (not ids or row["id"] in ids),
        kind="product",
    )


def create_price(call: Call) -> Obj:
    """Make a price, with its product if one is described."""
    books, given = call.books, dict(call.params)
    if given.get("product_data"):
        product = books.add("product", {"updated": books.now()}, at=books.now())
        _apply(product, given["product_data"])
        books.tell("product.created", product)
        given["product"] = product["id"]
    if not given.get("product"):
        raise invalid("You must specify either `product` or `product_data` when creating a price.")
    books.get("product", given["product"], "product")
    return new_price(books, given)


def new_price(books: Books, given: Obj) -> Obj:
    """Make a price from checked parameters."""
    amount, decimal = given.get("unit_amount"), given.get("unit_amount_decimal")
    if amount is None and decimal is None:
        raise invalid("You must specify `unit_amount` or `unit_amount_decimal`.", "unit_amount")
    if amount is None and decimal is not None:
        amount = int(decimal) if str(decimal).isdigit() else None
    _free_lookup_key(books, given)
    price = books.add("price", {}, at=books.now())
    _apply(price, {k: v for k, v in given.items() if k != "recurring"})
    price["unit_amount"] = amount
    price["unit_amount_decimal"] = str(decimal if decimal is not None else amount)
    if given.get("recurring"):
        price["type"] = "recurring"
        price["recurring"] = {
            "interval": given["recurring"].get("interval") or "month",
            "interval_count": given["recurring"].get("interval_count") or 1,
            "meter": given["recurring"].get("meter"),
            "trial_period_days": given["recurring"].get("trial_period_days"),
            "usage_type": given["recurring"].get("usage_type") or "licensed",
        }
    books.tell("price.created", price)
    return price


def _free_lookup_key(books: Books, given: Obj, price_id: str = "") -> None:
    """See that the lookup key is free, or take it from the price that has it."""
    key = given.get("lookup_key")
    holders = [
        price
        for price in books.table("price").values()
        if key and price["lookup_key"] == key and price["active"] and price["id"] != price_id
    ]
    for holder in holders:
        if not given.get("transfer_lookup_key"):
            raise invalid(f"A price (`{holder['id']}`) already uses that lookup key.", "lookup_key")
        with books.changing(holder, "price.updated"):
            holder["lookup_key"] = None


def update_price(call: Call) -> Obj:
    """Change a price; its amount and rhythm never change."""
    price = call.books.get("price", call.id)
    _free_lookup_key(call.books, call.params, price["id"])
    with call.books.changing(price, "price.updated"):
        _apply(price, call.params)
    return price


def list_prices(call: Call) -> Obj:
    """List prices."""
    given = call.params
    keys = set(words(given, "lookup_keys"))
    recurring = inside(given, "recurring")
    equal = matching(given, "active", "product", "type", "currency")

    def keep(row: Obj) -> bool:
        rhythm = inside(row, "recurring")
        return (
            equal(row)
            and (not keys or row["lookup_key"] in keys)
            and all(rhythm.get(k) == v for k, v in recurring.items())
        )

    return page(newest(call.books, "price"), given, "/v1/prices", keep=keep, kind="price")


def create_feature(call: Call) -> Obj:
    """Make a feature; its lookup key is its own for ever."""
    books, key = call.books, call.params["lookup_key"]
    features = books.table("entitlements.feature")
    if any(feature["lookup_key"] == key for feature in features.values()):
        raise invalid(f"A feature with lookup_key `{key}` already exists.", "lookup_key")
    feature = books.add("entitlements.feature", {}, at=books.now())
    feature["_created"] = feature.pop("created")
    _apply(feature, call.params)
    return feature


def update_feature(call: Call) -> Obj:
    """Change a feature."""
    feature = call.books.get("entitlements.feature", call.id)
    _apply(feature, call.params)
    return feature


def list_features(call: Call) -> Obj:
    """List features."""
    kind = "entitlements.feature"
    archived = call.params.get("archived")
    key = call.params.get("lookup_key")

    def keep(row: Obj) -> bool:
        fits = archived is None or row["active"] is not archived
        return fits and (key is None or row["lookup_key"] == key)

    url = "/v1/entitlements/features"
    return page(newest(call.books, kind), call.params, url, keep=keep, kind=kind)


def attach_feature(call: Call) -> Obj:
    """Give a product a feature; its customers have it at once."""
    books = call.books
    product = books.get("product", call.id)
    feature = books.get(
        "entitlements.feature", call.params["entitlement_feature"], "entitlement_feature"
    )
    attached = books.table("product_feature").values()
    if any((a["_product"], a["entitlement_feature"]) == (call.id, feature["id"]) for a in attached):
        raise invalid("This feature is already attached to the product.", "entitlement_feature")
    made = books.add(
        "product_feature",
        {"entitlement_feature": feature["id"], "_product": product["id"]},
        at=books.now(),
    )
    made["_created"] = made.pop("created")
    entitled.refresh_product(books, product["id"])
    return made


def detach_feature(call: Call) -> Obj:
    """Take a feature from a product."""
    made = _attached(call)
    del call.books.table("product_feature")[made["id"]]
    entitled.refresh_product(call.books, call.id)
    return tombstone(made)


def read_attached(call: Call) -> Obj:
    """Read one feature of a product."""
    return _attached(call)


def _attached(call: Call) -> Obj:
    call.books.get("product", call.id)
    return call.books.get("product_feature", call.path["feature"])


def list_attached(call: Call) -> Obj:
    """List the features of a product."""
    call.books.get("product", call.id)
    kind, url = "product_feature", f"/v1/products/{call.id}/features"
    rows = newest(call.books, kind)
    return page(rows, call.params, url, keep=lambda r: r["_product"] == call.id, kind=kind)


ROUTES = [
    post(
        "/v1/products",
        create_product,
        {**PRODUCT_FIELDS, "id": text, "default_price_data": PRICE_DATA, "type": text},
        need=["name"],
    ),
    get(
        "/v1/products",
        list_products,
        {
            **PAGE,
            "active": flag,
            "created": time_range,
            "ids": [text],
            "shippable": flag,
            "url": text,
        },
    ),
    get("/v1/products/{id}", lambda call: call.books.get("product", call.id)),
    post("/v1/products/{id}", update_product, {**PRODUCT_FIELDS, "default_price": text}),
    delete("/v1/products/{id}", remove_product),
    post(
        "/v1/prices",
        create_price,
        {
            **PRICE_DATA,
            **PRICE_FIELDS,
            "product": text,
            "product_data": PRODUCT_FIELDS,
            "billing_scheme": one_of("per_unit"),
        },
        need=["currency"],
    ),
    get(
        "/v1/prices",
        list_prices,
        {
            **PAGE,
            "active": flag,
            "created": time_range,
            "currency": text,
            "lookup_keys": [text],
            "product": text,
            "recurring": RECURRING,
            "type": one_of("one_time", "recurring"),
        },
    ),
    get("/v1/prices/{id}", lambda call: call.books.get("price", call.id)),
    post("/v1/prices/{id}", update_price, PRICE_FIELDS),
    post(
        "/v1/entitlements/features",
        create_feature,
        {"lookup_key": text, "metadata": metadata, "name": text},
        need=["lookup_key", "name"],
    ),
    get(
        "/v1/entitlements/features",
        list_features,
        {**PAGE, "archived": flag, "lookup_key": text},
    ),
    get(
        "/v1/entitlements/features/{id}",
        lambda call: call.books.get("entitlements.feature", call.id),
    ),
    post(
        "/v1/entitlements/features/{id}",
        update_feature,
        {"active": flag, "metadata": metadata, "name": text},
    ),
    post(
        "/v1/products/{id}/features",
        attach_feature,
        {"entitlement_feature": text},
        need=["entitlement_feature"],
    ),
    get("/v1/products/{id}/features", list_attached, PAGE),
    get("/v1/products/{id}/features/{feature}", read_attached),
    delete("/v1/products/{id}/features/{feature}", detach_feature),
]
