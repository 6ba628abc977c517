import base64

import httpx
import pytest
import stripe

from tenure.sandbox.stripe.model import Policy
from tenure.sandbox.stripe.running import Box, running_stripe

from .conftest import client_of
from .shop import subscribed


def test_a_key_goes_as_bearer_or_as_basic(box: Box) -> None:
    basic = base64.b64encode(b"sk_test_any:").decode()

    for header in ("Bearer sk_test_any", f"Basic {basic}"):
        found = httpx.get(f"{box.url}/v1/customers", headers={"Authorization": header})
        assert found.status_code == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer nonsense", "Bearer pk_test_public", "Basic %%%", "Digest x", "Bearer"]
)
def test_without_a_key_nothing_opens(header: str, box: Box) -> None:
    found = httpx.get(f"{box.url}/v1/customers", headers={"Authorization": header})

    assert found.status_code == 401
    assert found.json()["error"]["type"] == "invalid_request_error"


def test_the_account_says_who_it_is(client: stripe.StripeClient) -> None:
    assert client.v1.accounts.retrieve_current().id == "acct_sandbox"


def test_a_fixed_key_is_the_only_one() -> None:
    with running_stripe(policy=Policy(secret_key="sk_test_mine")) as box:
        assert client_of(box).v1.customers.list().data == []
        with pytest.raises(stripe.AuthenticationError, match=r"sk_test_\*+hers"):
            client_of(box, "sk_test_others").v1.customers.list()


def test_an_unknown_url_is_refused_in_stripes_words(box: Box) -> None:
    headers = {"Authorization": "Bearer sk_test_x"}

    found = httpx.get(f"{box.url}/v1/unicorns", headers=headers)

    assert found.status_code == 404
    message = found.json()["error"]["message"]
    assert message.startswith("Unrecognized request URL (GET: /v1/unicorns)")
    assert found.headers["Request-Id"].startswith("req_")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/customers", "metadata=flat"),
        ("/v1/customers", "email=not-an-address"),
        ("/v1/customers", "address[city][deep]=x"),
        ("/v1/customers", "name[a]=x&name=b"),
        ("/v1/subscriptions", "customer=cus_x&items=none"),
        ("/v1/subscriptions", "customer=cus_x&items[0][price][a]=b"),
        ("/v1/checkout/sessions", "mode=subscription"),
        ("/v1/prices", "currency=usd&unit_amount=1.5"),
    ],
)
def test_a_malformed_body_is_a_400_that_says_why(path: str, body: str, box: Box) -> None:
    headers = {
        "Authorization": "Bearer sk_test_x",
        "Content-Type": "application/x-www-form-urlencoded",
    }

    found = httpx.post(f"{box.url}{path}", headers=headers, content=body)

    assert found.status_code == 400
    assert found.json()["error"]["message"]


def test_an_unknown_parameter_is_named(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.customers.create({"address": {"planet": "Mars"}})  # type: ignore[typeddict-unknown-key]

    assert (refused.value.code, refused.value.param) == ("parameter_unknown", "address[planet]")


def test_what_is_expanded_is_shown_and_the_unknown_is_refused(
    client: stripe.StripeClient,
) -> None:
    sub = subscribed(client)
    wanted = ["data.latest_invoice.payments", "data.customer", "data.items.data.price"]

    shown = client.v1.subscriptions.list({"expand": wanted}).data[0].to_dict()

    assert shown["latest_invoice"]["payments"]["data"][0]["status"] == "paid"
    assert shown["customer"]["email"] == "ada@example.com"
    one = client.v1.subscriptions.retrieve(sub.id, {"expand": ["items.data.price.product"]})
    assert one.to_dict()["items"]["data"][0]["price"]["product"]["name"] == "Team"
    for wrong in ("unicorn", "status.deeper", "created"):
        with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
            client.v1.subscriptions.retrieve(sub.id, {"expand": [wrong]})
    with pytest.raises(stripe.InvalidRequestError, match="more than 4 levels"):
        client.v1.subscriptions.list({"expand": ["data.items.data.price.product"]})


def test_a_rate_limit_lets_a_burst_through_and_then_refuses() -> None:
    with running_stripe(policy=Policy(rate=5)) as box:
        client = client_of(box)

        def ask_often() -> None:
            for _ in range(50):
                client.v1.customers.list()

        with pytest.raises(stripe.RateLimitError) as refused:
            ask_often()

        assert refused.value.error
        assert refused.value.error.code == "rate_limit"
        assert box.requests()["GET /v1/customers"] >= 6


def test_quantity_updates_are_limited_per_subscription_when_asked() -> None:
    with running_stripe(seed=True, policy=Policy(subscription_limits=True)) as box:
        client = client_of(box)
        item = subscribed(client)["items"].data[0].id

        def change(quantities: range, behaviour: str) -> None:
            for quantity in quantities:
                client.v1.subscription_items.update(
                    item,
                    {"quantity": quantity, "proration_behavior": behaviour},  # type: ignore[typeddict-item]
                )

        with pytest.raises(stripe.RateLimitError, match="invoices"):
            change(range(2, 20), "always_invoice")
        with pytest.raises(stripe.RateLimitError, match="200 quantity updates"):
            change(range(1, 250), "none")


def test_a_meter_event_with_a_known_identifier_is_a_400(client: stripe.StripeClient) -> None:
    client.v1.billing.meters.create(
        {"display_name": "C", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    )
    customer = client.v1.customers.create({}).id
    payload = {"value": "3", "stripe_customer_id": customer}
    event = {"event_name": "calls", "payload": payload, "identifier": "once"}
    client.v1.billing.meter_events.create(event)  # type: ignore[arg-type]

    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier"):
        client.v1.billing.meter_events.create(event)  # type: ignore[arg-type]

    meter = client.v1.billing.meters.list().data[0].id
    summed = client.v1.billing.meters.event_summaries.list(
        meter, {"customer": customer, "start_time": 0, "end_time": 4_000_000_000}
    )
    assert summed.data[0].aggregated_value == 3


def test_lookup_keys_are_unique_until_transferred(client: stripe.StripeClient) -> None:
    product = client.v1.products.list().data[0].id
    fields = {"product": product, "currency": "usd", "unit_amount": 5, "lookup_key": "team_monthly"}

    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        client.v1.prices.create(fields)  # type: ignore[arg-type]
    moved = client.v1.prices.create({**fields, "transfer_lookup_key": True})  # type: ignore[typeddict-item]

    found = client.v1.prices.list({"lookup_keys": ["team_monthly"]}).data
    assert [p.id for p in found] == [moved.id]
    with pytest.raises(stripe.InvalidRequestError, match="cannot be deleted"):
        client.v1.products.delete(product)


def test_products_and_prices_are_filtered(client: stripe.StripeClient) -> None:
    product = client.v1.products.create({"name": "Old", "active": False})

    assert product.id not in [p.id for p in client.v1.products.list({"active": True}).data]
    assert [p.id for p in client.v1.products.list({"active": False}).data] == [product.id]
    yearly = client.v1.prices.list({"recurring": {"interval": "year"}, "type": "recurring"})
    assert {p.lookup_key for p in yearly.data} == {"team_yearly", "business_yearly"}
