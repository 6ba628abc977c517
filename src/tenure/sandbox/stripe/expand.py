"""`expand[]`: ids replaced by the objects they name, and lists shown only on request."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, cast

from tenure.sandbox.stripe.books import PREFIXES, Books
from tenure.sandbox.stripe.errors import StripeRefusal, invalid
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.render import nested_list

DEEPEST = 4
KINDS = {prefix: kind for kind, prefix in PREFIXES.items()}
ON_REQUEST = {
    ("customer", "subscriptions"),
    ("checkout.session", "line_items"),
    ("invoice", "payments"),
}


def expanded(books: Books, shown: Obj, paths: Sequence[str]) -> Obj:
    """Give a shown object with the named paths expanded.

    Errors: a refusal for a path that names nothing expandable.
    """
    if paths:
        shown = deepcopy(shown)  # an event's snapshot is shared with the books
    for path in paths:
        parts = path.split(".")
        if len(parts) > DEEPEST:
            raise invalid(f"You cannot expand more than {DEEPEST} levels of a property.", "expand")
        _walk(books, shown, parts, path)
    return shown


def _walk(books: Books, node: Any, parts: Sequence[str], path: str) -> None:  # noqa: ANN401 (any JSON value)
    if isinstance(node, list):
        for each in cast("list[Any]", node):
            _walk(books, each, parts, path)
        return
    if not parts or node is None:
        return
    if not isinstance(node, dict):
        raise _refused(path)
    held = cast("Obj", node)
    _open(books, held, parts[0], path)
    _walk(books, held[parts[0]], parts[1:], path)


def _open(books: Books, node: Obj, name: str, path: str) -> None:
    """Make sure that `node[name]` is an object, a list or null."""
    if (node.get("object"), name) in ON_REQUEST:
        node.setdefault(name, _list_of(books, node, name))
    if name not in node or name == "id":
        raise _refused(path)
    value = node[name]
    if isinstance(value, str):
        node[name] = _object_named(books, value, path)
    elif isinstance(value, bool | int | float):
        raise _refused(path)


def _object_named(books: Books, value: str, path: str) -> Obj:
    kind = KINDS.get(value.split("_", 1)[0] + "_")
    found = books.table(kind).get(value) if kind else None
    if found is None:
        raise _refused(path)
    if found.get("_deleted"):
        return {"id": found["id"], "object": found["object"], "deleted": True}
    return books.show(found)


def _list_of(books: Books, node: Obj, name: str) -> Obj:
    """Make a list that is shown only when asked for."""
    if name == "subscriptions":
        alive = [s for s in books.owned("subscription", node["id"]) if s["status"] != "canceled"]
        url = f"/v1/customers/{node['id']}/subscriptions"
        return nested_list(books.table, alive[::-1], url)
    if name == "line_items":
        session = books.table("checkout.session")[node["id"]]
        url = f"/v1/checkout/sessions/{node['id']}/line_items"
        return nested_list(books.table, session["_line_items"], url)
    paid = [p for p in books.table("invoice_payment").values() if p["invoice"] == node["id"]]
    return nested_list(books.table, paid, f"/v1/invoice_payments?invoice={node['id']}")


def _refused(path: str) -> StripeRefusal:
    return invalid(
        f"This property cannot be expanded ({path}). You may want to try expanding another one.",
        "expand",
    )
