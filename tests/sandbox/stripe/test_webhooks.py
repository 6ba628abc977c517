import json

import pytest
import stripe

from tenure.sandbox.stripe.running import Box

from .conftest import SECRET, client_of
from .sink import Sink


def made_customer(box: Box) -> str:
    return client_of(box).v1.customers.create({"email": "ada@example.com"}).id


def test_a_delivery_is_signed_so_that_the_official_sdk_accepts_it(told: Box, sink: Sink) -> None:
    customer = made_customer(told)
    told.flush()

    ((body, signature),) = sink.received
    event = stripe.Webhook.construct_event(body, signature, SECRET)  # type: ignore[no-untyped-call]
    assert event.type == "customer.created"
    assert event.data.object["id"] == customer
    assert event.api_version == stripe.api_version
    assert event.livemode is False
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, signature, "whsec_other")  # type: ignore[no-untyped-call]


def test_a_failed_delivery_is_tried_again_and_signed_anew(told: Box, sink: Sink) -> None:
    sink.answers.extend([500, 404])
    made_customer(told)
    told.flush()

    told.flush(retries=True)
    told.flush(retries=True)

    assert len(sink.received) == 3
    assert len({body for body, _ in sink.received}) == 1
    for body, signature in sink.received:
        stripe.Webhook.construct_event(body, signature, SECRET)  # type: ignore[no-untyped-call]
    (delivery,) = told.control("GET", "/deliveries?status=delivered")["data"][-1:]
    assert (delivery["attempts"], delivery["answers"]) == (3, [500, 404, 200])
    event = client_of(told).v1.events.retrieve(delivery["event"])
    assert event.pending_webhooks == 0


def test_a_rolling_secret_signs_twice_until_the_roll_ends(told: Box, sink: Sink) -> None:
    (endpoint,) = client_of(told).v1.webhook_endpoints.list().data

    rolled = told.control("POST", f"/webhook_endpoints/{endpoint.id}/roll")
    made_customer(told)
    told.flush()
    body, signature = sink.received[-1]
    assert signature.count("v1=") == 2
    for secret in (SECRET, rolled["secret"]):
        stripe.Webhook.construct_event(body, signature, secret)  # type: ignore[no-untyped-call]

    ended = told.control("POST", f"/webhook_endpoints/{endpoint.id}/roll", keep=False)
    made_customer(told)
    told.flush()
    body, signature = sink.received[-1]
    assert signature.count("v1=") == 1
    stripe.Webhook.construct_event(body, signature, ended["secret"])  # type: ignore[no-untyped-call]


def test_an_endpoint_gets_only_what_it_asked_for_and_shows_its_secret_once(
    box: Box, sink: Sink
) -> None:
    client = client_of(box)
    made = client.v1.webhook_endpoints.create(
        {"url": sink.url, "enabled_events": ["product.created"], "api_version": "2025-03-31.basil"}
    )
    assert made.secret
    assert "secret" not in client.v1.webhook_endpoints.retrieve(made.id)

    client.v1.customers.create({})
    client.v1.products.create({"name": "New"})
    box.flush()
    client.v1.webhook_endpoints.update(made.id, {"disabled": True})
    client.v1.products.create({"name": "Unheard"})
    box.flush()

    assert sink.types == ["product.created"]
    assert sink.events[0]["api_version"] == "2025-03-31.basil"
    client.v1.webhook_endpoints.delete(made.id)
    assert client.v1.webhook_endpoints.list().data == []


def test_an_endpoint_needs_an_address(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="explicit scheme"):
        client.v1.webhook_endpoints.create({"url": "shop.test/hook", "enabled_events": ["*"]})


def test_an_event_can_be_delivered_again_on_request(told: Box, sink: Sink) -> None:
    made_customer(told)
    told.flush()
    event = sink.events[0]["id"]

    told.control("POST", f"/events/{event}/redeliver")
    told.flush()

    assert [e["id"] for e in sink.events] == [event, event]


def test_an_endpoint_that_is_away_is_tried_until_it_is_back(box: Box, sink: Sink) -> None:
    client = client_of(box)
    endpoint = client.v1.webhook_endpoints.create(
        {"url": "http://127.0.0.1:9/closed", "enabled_events": ["*"]}
    )
    client.v1.customers.create({})
    box.flush()
    (delivery,) = box.control("GET", "/deliveries?status=pending")["data"]
    assert delivery["answers"] == ["ConnectError"]

    client.v1.webhook_endpoints.update(endpoint.id, {"url": sink.url})
    box.flush(retries=True)

    assert sink.types == ["customer.created"]


def test_an_event_names_the_request_that_caused_it(told: Box, sink: Sink) -> None:
    made = client_of(told).v1.customers.create({}, {"idempotency_key": "key-1"})
    told.flush()

    request = sink.events[0]["request"]

    assert request == {"id": made.last_response.request_id, "idempotency_key": "key-1"}
    assert json.loads(sink.received[0][0])["object"] == "event"
