import threading
import time

import pytest
import stripe

from tenure.sandbox.stripe.running import Box

from .conftest import client_of
from .shop import DAY


def test_the_same_key_and_parameters_give_the_saved_answer(
    client: stripe.StripeClient,
) -> None:
    once = client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})
    again = client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})

    assert again.id == once.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in once.last_response.headers
    assert len(client.v1.customers.list().data) == 1


def test_the_same_key_with_other_parameters_is_refused(client: stripe.StripeClient) -> None:
    client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k"})

    with pytest.raises(stripe.IdempotencyError) as refused:
        client.v1.customers.create({"name": "Bob"}, {"idempotency_key": "k"})

    assert refused.value.http_status == 400
    assert len(client.v1.customers.list().data) == 1


def test_a_key_whose_first_request_still_runs_answers_409(
    box: Box, client: stripe.StripeClient
) -> None:
    box.fault("latency", seconds=1.0, match="POST /v1/customers")
    first = threading.Thread(
        target=client_of(box).v1.customers.create, args=({"name": "A"}, {"idempotency_key": "k"})
    )
    first.start()
    while not box.requests().get("POST /v1/customers"):
        time.sleep(0.01)

    with pytest.raises(stripe.StripeError) as refused:
        client.v1.customers.create({"name": "A"}, {"idempotency_key": "k"})

    first.join()
    assert refused.value.error
    assert (refused.value.http_status, refused.value.error.code) == (409, "idempotency_key_in_use")
    client.v1.customers.create({"name": "A"}, {"idempotency_key": "k"})
    assert len(client.v1.customers.list().data) == 1


def test_a_key_is_forgotten_after_a_day_of_sandbox_time(
    box: Box, client: stripe.StripeClient
) -> None:
    client.v1.customers.create({"name": "A"}, {"idempotency_key": "k"})

    box.advance(DAY + 60)
    client.v1.customers.create({"name": "A"}, {"idempotency_key": "k"})

    assert len(client.v1.customers.list().data) == 2


def test_a_deleted_customer_is_replayed_by_its_old_key(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"name": "A"}, {"idempotency_key": "k"})
    client.v1.customers.delete(made.id)

    assert client.v1.customers.create({"name": "A"}, {"idempotency_key": "k"}).id == made.id
    assert client.v1.customers.retrieve(made.id).deleted is True


def test_a_refused_parameter_saves_nothing(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.customers.create({"colour": "red"}, {"idempotency_key": "k"})  # type: ignore[typeddict-unknown-key]

    assert client.v1.customers.create({"name": "A"}, {"idempotency_key": "k"}).name == "A"


def test_keys_of_test_and_live_mode_are_strangers(box: Box, client: stripe.StripeClient) -> None:
    live = client_of(box, "sk_live_x")

    mine = client.v1.customers.create({"name": "A"}, {"idempotency_key": "k"})
    other = live.v1.customers.create({"name": "A"}, {"idempotency_key": "k"})

    assert mine.id != other.id
