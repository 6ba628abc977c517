"""What can be bought: read through from Stripe for each request, and never stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenure.billing.projection import Raw
from tenure.billing.stripe import Stripe

PRODUCT = (
    *("id", "name", "description", "active", "default_price", "images", "marketing_features"),
    *("metadata", "unit_label", "url", "created", "updated", "livemode"),
)
PRICE = (
    *("id", "product", "active", "currency", "unit_amount", "unit_amount_decimal", "type"),
    *("recurring", "billing_scheme", "tiers_mode", "tax_behavior", "lookup_key", "nickname"),
    *("metadata", "created", "livemode"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list, as Stripe pages it."""

    data: Sequence[Mapping[str, Any]]
    has_more: bool
    next: str | None  # give it as `starting_after` for the next page


async def list_products(stripe: Stripe, **asked: str | int | bool | None) -> Page:
    """List products, newest first.

    Errors: StripeTrouble; Refused, for a cursor that Stripe does not know.
    """
    return await _page(stripe, "/v1/products", PRODUCT, asked)


async def list_prices(stripe: Stripe, **asked: str | int | bool | None) -> Page:
    """List prices, newest first.

    Errors: StripeTrouble; Refused, for a cursor or product that Stripe does not know.
    """
    return await _page(stripe, "/v1/prices", PRICE, asked)


async def _page(
    stripe: Stripe, path: str, fields: Sequence[str], asked: Mapping[str, str | int | bool | None]
) -> Page:
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    page = await stripe.call("get", path, **given)
    data = [_only(item, fields) for item in page["data"]]
    has_more = bool(page["has_more"])
    return Page(data=data, has_more=has_more, next=data[-1]["id"] if data and has_more else None)


def _only(item: Raw, fields: Sequence[str]) -> dict[str, Any]:
    """Keep what a shop window needs; whatever Stripe adds later stays inside until named here."""
    return {name: item[name] for name in fields if name in item}
