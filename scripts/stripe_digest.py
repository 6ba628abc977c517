"""Digest Stripe's published fixtures to field names and types, so that no value is kept here.

Usage: python scripts/stripe_digest.py path/to/fixtures3.json
"""

import json
import sys
from pathlib import Path
from typing import Any

SERVED = (
    "billing.meter",
    "billing.meter_event",
    "billing_portal.configuration",
    "billing_portal.session",
    "checkout.session",
    "customer",
    "deleted_customer",
    "deleted_subscription_item",
    "deleted_webhook_endpoint",
    "entitlements.active_entitlement",
    "entitlements.active_entitlement_summary",
    "entitlements.feature",
    "event",
    "invoice",
    "invoice_payment",
    "invoiceitem",
    "item",
    "line_item",
    "payment_method",
    "price",
    "product",
    "product_feature",
    "setup_intent",
    "subscription",
    "subscription_item",
    "test_helpers.test_clock",
    "webhook_endpoint",
)
OPEN_ENDED = {"metadata", "payload"}
TARGET = Path(__file__).parent.parent / "tests" / "sandbox" / "stripe" / "digest.json"


def type_name(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    """Name a JSON value's type."""
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object")


def digest(value: Any, name: str = "") -> dict[str, Any]:  # noqa: ANN401 (any JSON value)
    """Describe a value: its types, the fields of an object, the elements of a list."""
    found: dict[str, Any] = {"types": [type_name(value)]}
    open_ended = name in OPEN_ENDED or name == "data"
    if isinstance(value, dict) and not open_ended:
        found["fields"] = {key: digest(inner, key) for key, inner in sorted(value.items())}
    if isinstance(value, list) and value:
        found["each"] = merged([digest(inner) for inner in value])
    return found


def merged(seen: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the descriptions of several values of one place together."""
    types = sorted({name for each in seen for name in each["types"]})
    found: dict[str, Any] = {"types": types}
    fields: dict[str, list[dict[str, Any]]] = {}
    for each in seen:
        for key, inner in each.get("fields", {}).items():
            fields.setdefault(key, []).append(inner)
    if fields:
        found["fields"] = {key: merged(inner) for key, inner in sorted(fields.items())}
    return found


def short(found: dict[str, Any]) -> Any:  # noqa: ANN401 (a string, or an object with more inside)
    """Write a description without inner parts as one string, such as `null|string`."""
    types = "|".join(found["types"])
    if "fields" in found:
        return {"types": types, "fields": {k: short(v) for k, v in found["fields"].items()}}
    if "each" in found:
        return {"types": types, "each": short(found["each"])}
    return types


def main(source: Path) -> None:
    """Write the digest of everything that the sandbox serves."""
    resources = json.loads(source.read_text())["resources"]
    kept = {name: short(digest(resources[name]))["fields"] for name in SERVED}
    TARGET.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    print(f"{len(kept)} objects written to {TARGET}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
