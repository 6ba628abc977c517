"""What the tests of this folder buy, in few words."""

from typing import Any

import stripe

from tenure.sandbox.stripe.running import Box

DAY = 86_400


def price_id(client: stripe.StripeClient, lookup_key: str = "team_monthly") -> str:
    return client.v1.prices.list({"lookup_keys": [lookup_key]}).data[0].id


def customer_with_card(
    client: stripe.StripeClient, test_card: str = "pm_card_visa", **fields: Any
) -> stripe.Customer:
    customer = client.v1.customers.create({"email": "ada@example.com", **fields})
    card = client.v1.payment_methods.attach(test_card, {"customer": customer.id})
    return client.v1.customers.update(
        customer.id, {"invoice_settings": {"default_payment_method": card.id}}
    )


def subscribed(
    client: stripe.StripeClient, customer: str = "", quantity: int = 1, **fields: Any
) -> stripe.Subscription:
    return client.v1.subscriptions.create(
        {
            "customer": customer or customer_with_card(client).id,
            "items": [{"price": price_id(client), "quantity": quantity}],
            **fields,
        }
    )


def bought(
    box: Box, client: stripe.StripeClient, card: str = "works", **fields: Any
) -> stripe.checkout.Session:
    """Open a checkout for a new customer and pay it."""
    customer = client.v1.customers.create({"email": "ada@example.com"})
    session = client.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer.id,
            "line_items": [{"price": price_id(client), "quantity": 2}],
            "success_url": "http://shop.test/done?session={CHECKOUT_SESSION_ID}",
            **fields,
        }
    )
    assert session.url
    assert box.pay(session.url, card).status_code == 303
    return client.v1.checkout.sessions.retrieve(session.id)


def status_of(client: stripe.StripeClient, sub: str) -> str:
    return client.v1.subscriptions.retrieve(sub).status


def types(client: stripe.StripeClient, pattern: str = "*") -> list[str]:
    """All event types so far, oldest first."""
    found = client.v1.events.list({"type": pattern, "limit": 100})
    return [event.type for event in found.auto_paging_iter()][::-1]
