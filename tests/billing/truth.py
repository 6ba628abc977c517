"""What Stripe says through its own SDK, and what our tables hold, in one form to compare.

Neither side goes through the code under test.
"""

from datetime import UTC, datetime
from typing import Any

import stripe as sdk

from .shop import Shop

State = dict[str, Any]


def at_stripe(merchant: sdk.StripeClient, customer: str, known: list[str]) -> State:
    """Say what Stripe holds; `known` subscriptions of a deleted customer are asked for singly."""
    who = merchant.v1.customers.retrieve(customer)
    of = {"customer": customer, "limit": 100}
    if getattr(who, "deleted", False):
        bought = [merchant.v1.subscriptions.retrieve(name) for name in known]
        return {"lives": False, "bought": _bought(merchant, bought), "may": set(), "cards": set()}
    listed = merchant.v1.subscriptions.list({**of, "status": "all"}).auto_paging_iter()
    may = merchant.v1.entitlements.active_entitlements.list(of).auto_paging_iter()
    cards = merchant.v1.payment_methods.list(of).auto_paging_iter()
    return {
        "lives": True,
        "name": who.name,
        "email": who.email,
        "bought": _bought(merchant, list(listed)),
        "may": {e.lookup_key for e in may},
        "cards": {c.id for c in cards},
    }


def _bought(merchant: sdk.StripeClient, subscriptions: list[sdk.Subscription]) -> State:
    return {
        s.id: {
            "status": s.status,
            "cancel_at": _time(s.cancel_at),
            "at_end": s.cancel_at_period_end,
            "ended": _time(s.ended_at),
            "paused": s.pause_collection is not None,
            "items": {
                (i.id, i.price.id, i.quantity, _time(i.current_period_end))
                for i in merchant.v1.subscription_items.list(
                    {"subscription": s.id, "limit": 100}
                ).auto_paging_iter()
            },
        }
        for s in subscriptions
    }


def _time(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


async def in_tables(shop: Shop, customer: str) -> State:
    """Say what our tables hold."""
    (who,) = await shop.rows(
        "SELECT * FROM tenure.stripe_customers WHERE stripe_customer_id = %s", customer
    )
    bought = await shop.rows(
        "SELECT * FROM tenure.subscriptions WHERE stripe_customer_id = %s", customer
    )
    items = await shop.rows(
        "SELECT i.* FROM tenure.subscription_items i JOIN tenure.subscriptions s"
        " ON s.id = i.subscription_id WHERE s.stripe_customer_id = %s",
        customer,
    )
    may = await shop.rows(
        "SELECT lookup_key FROM tenure.entitlements WHERE stripe_customer_id = %s", customer
    )
    cards = await shop.rows(
        "SELECT id FROM tenure.payment_methods WHERE stripe_customer_id = %s", customer
    )
    lives = who["deleted_at"] is None
    named = {"name": who["customer_name"], "email": who["customer_email"]} if lives else {}
    return {
        "lives": lives,
        **named,
        "bought": {
            row["id"]: {
                "status": row["status"],
                "cancel_at": row["cancel_at"],
                "at_end": row["cancel_at_period_end"],
                "ended": row["ended_at"],
                "paused": row["collection_paused"],
                "items": {
                    (i["id"], i["price_id"], i["quantity"], i["current_period_end"])
                    for i in items
                    if i["subscription_id"] == row["id"]
                },
            }
            for row in bought
        },
        "may": {row["lookup_key"] for row in may},
        "cards": {row["id"] for row in cards},
    }


async def assert_equal(shop: Shop, customer: str) -> State:
    """Hold the tables against Stripe, and give what both say."""
    ours = await in_tables(shop, customer)
    assert ours == at_stripe(shop.merchant, customer, sorted(ours["bought"]))
    return ours
