import re

import pytest
import stripe

from tenure.sandbox.stripe.running import Box
from tests.sandbox.stripe.shop import DAY, bought, status_of


@pytest.fixture
def sub(box: Box, client: stripe.StripeClient) -> str:
    return str(bought(box, client, card="fails_later").subscription)


@pytest.fixture
def portal(sub: str, client: stripe.StripeClient) -> str:
    customer = str(client.v1.subscriptions.retrieve(sub).customer)
    session = client.v1.billing_portal.sessions.create(
        {"customer": customer, "return_url": "http://shop.test/account"}
    )
    return session.url


def test_a_customer_plans_a_cancel_and_takes_it_back(
    box: Box, client: stripe.StripeClient, sub: str, portal: str
) -> None:
    assert "Cancel at period end" in box.client.get(portal).text
    assert box.client.post(portal, data={"do": "cancel", "subscription": sub}).status_code == 303

    planned = client.v1.subscriptions.retrieve(sub)
    assert planned.cancel_at == planned["items"].data[0].current_period_end
    assert planned.cancel_at_period_end is False  # the portal sets `cancel_at` only
    assert "Keep it" in box.client.get(portal).text
    box.client.post(portal, data={"do": "resume", "subscription": sub})

    assert client.v1.subscriptions.retrieve(sub).cancel_at is None
    assert client.v1.events.list().data[0].type == "customer.subscription.updated"


def test_a_customer_pays_a_failed_renewal_with_a_new_card(
    box: Box, client: stripe.StripeClient, sub: str
) -> None:
    box.advance(31 * DAY)
    assert status_of(client, sub) == "past_due"
    customer = str(client.v1.subscriptions.retrieve(sub).customer)
    portal = client.v1.billing_portal.sessions.create({"customer": customer}).url
    found = re.search(r'name="invoice" value="(in_\w+)"', box.client.get(portal).text)
    assert found

    refused = box.client.post(portal, data={"do": "pay", "invoice": found[1]})
    assert refused.status_code == 402
    box.client.post(portal, data={"do": "card", "card": "works"})
    box.client.post(portal, data={"do": "pay", "invoice": found[1]})

    assert status_of(client, sub) == "active"


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"do": "dance"},
        {"do": "card", "card": "gold"},
        {"do": "cancel", "subscription": "sub_none"},
        {"do": "pay", "invoice": "in_none"},
    ],
)
def test_a_form_that_makes_no_sense_is_refused_politely(
    form: dict[str, str], box: Box, portal: str
) -> None:
    answer = box.client.post(portal, data=form)

    assert answer.status_code in {400, 404}
    assert 'role="alert"' in answer.text


def test_nobody_acts_on_another_customers_subscription(
    box: Box, client: stripe.StripeClient, portal: str
) -> None:
    other = str(bought(box, client).subscription)

    answer = box.client.post(portal, data={"do": "cancel", "subscription": other})

    assert answer.status_code == 400
    assert client.v1.subscriptions.retrieve(other).cancel_at is None


def test_a_portal_link_ends(box: Box, portal: str) -> None:
    box.advance(2 * DAY)

    assert box.client.get(portal).status_code == 404
