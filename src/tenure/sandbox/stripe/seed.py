"""A small catalogue for demonstrations: two products, four prices, three features."""

from typing import Any

from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.resources import catalog
from tenure.sandbox.stripe.route import Call

FEATURES = {"reports": "Reports", "audit_export": "Audit export", "priority_support": "Support"}
PRODUCTS: dict[str, dict[str, Any]] = {
    "team": {
        "name": "Team",
        "description": "For a team that has outgrown the free plan.",
        "metadata": {"limit:seats": "10", "limit:api_calls": "10000"},
        "features": ["reports"],
        "month": 1_200,
        "year": 12_000,
    },
    "business": {
        "name": "Business",
        "description": "For a company that must show what it did.",
        "metadata": {"limit:seats": "100", "limit:api_calls": "1000000"},
        "features": ["reports", "audit_export", "priority_support"],
        "month": 3_000,
        "year": 30_000,
    },
}


def seed(books: Books) -> Obj:
    """Make the catalogue, or find the one made before; give all ids by their lookup keys."""
    features = {key: _feature(books, key, name) for key, name in FEATURES.items()}
    products: dict[str, str] = {}
    prices: dict[str, str] = {}
    for key, plan in PRODUCTS.items():
        products[key] = _product(books, key, plan, features)
        for interval in ("month", "year"):
            name = f"{key}_{interval}ly"
            prices[name] = _price(books, name, products[key], interval, plan[interval])
    return {"products": products, "prices": prices, "features": features}


def _call(books: Books, params: Obj, object_id: str = "") -> Call:
    return Call(books=books, params=params, path={"id": object_id})


def _feature(books: Books, key: str, name: str) -> str:
    for feature in books.table("entitlements.feature").values():
        if feature["lookup_key"] == key:
            return str(feature["id"])
    return str(catalog.create_feature(_call(books, {"lookup_key": key, "name": name}))["id"])


def _product(books: Books, key: str, plan: Obj, features: dict[str, str]) -> str:
    for product in books.table("product").values():
        if product["metadata"].get("plan") == key:
            return str(product["id"])
    fields = {name: plan[name] for name in ("name", "description")}
    fields["metadata"] = {"plan": key, **plan["metadata"]}
    product = catalog.create_product(_call(books, fields))
    for feature in plan["features"]:
        given = {"entitlement_feature": features[feature]}
        catalog.attach_feature(_call(books, given, product["id"]))
    return str(product["id"])


def _price(books: Books, key: str, product: str, interval: str, amount: int) -> str:
    for price in books.table("price").values():
        if price["lookup_key"] == key:
            return str(price["id"])
    fields: Obj = {
        "product": product,
        "currency": "usd",
        "unit_amount": amount,
        "lookup_key": key,
        "recurring": {"interval": interval},
    }
    return str(catalog.create_price(_call(books, fields))["id"])
