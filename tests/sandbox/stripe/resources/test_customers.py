import pytest
import stripe

from tenure.sandbox.stripe.running import Box
from tests.sandbox.stripe.conftest import client_of
from tests.sandbox.stripe.shop import subscribed, types


def test_a_deleted_customer_answers_with_its_tombstone(client: stripe.StripeClient) -> None:
    sub = subscribed(client)
    customer = str(sub.customer)

    client.v1.customers.delete(customer)

    found = client.v1.customers.retrieve(customer)
    assert found.to_dict() == {"id": customer, "object": "customer", "deleted": True}
    assert client.v1.subscriptions.retrieve(sub.id).status == "canceled"
    ending = [t for t in types(client) if t.startswith("customer.") and t.endswith("deleted")]
    assert ending == ["customer.subscription.deleted", "customer.deleted"]
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        client.v1.customers.update(customer, {"name": "Back"})
    assert client.v1.customers.list().data == []


def test_a_mix_up_of_test_and_live_mode_is_named(box: Box, client: stripe.StripeClient) -> None:
    live = client_of(box, "sk_live_other")
    mine = live.v1.customers.create({"name": "Live"})
    assert mine.livemode is True

    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.customers.retrieve(mine.id)

    assert refused.value.code == "resource_missing"
    assert refused.value.http_status == 404
    assert str(refused.value.user_message) == (
        f"No such customer: '{mine.id}'; a similar object exists in live mode, "
        "but a test mode key was used to make this request."
    )
    with pytest.raises(stripe.InvalidRequestError, match=r"No such customer: 'cus_none'$"):
        live.v1.customers.retrieve("cus_none")


def test_metadata_is_merged_key_by_key(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create({"metadata": {"a": "1", "b": "2"}})

    def updated(metadata: object) -> dict[str, str]:
        found = client.v1.customers.update(customer.id, {"metadata": metadata})  # type: ignore[typeddict-item]
        return (found.metadata or {}).to_dict()  # type: ignore[union-attr]

    assert updated({"c": "3"}) == {"a": "1", "b": "2", "c": "3"}
    assert updated({"a": ""}) == {"b": "2", "c": "3"}
    assert updated("") == {}


def test_customers_are_found_by_email_and_by_time(client: stripe.StripeClient) -> None:
    ada = client.v1.customers.create({"email": "ada@example.com"})
    client.v1.customers.create({"email": "bob@example.com"})

    found = client.v1.customers.list({"email": "ada@example.com"})
    later = client.v1.customers.list({"created": {"gt": ada.created + 60}})

    assert [c.id for c in found.data] == [ada.id]
    assert later.data == []


def test_a_default_card_must_belong_to_the_customer(client: stripe.StripeClient) -> None:
    other = client.v1.customers.create({})
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": other.id})
    customer = client.v1.customers.create({})

    with pytest.raises(stripe.InvalidRequestError, match="does not have a payment method"):
        client.v1.customers.update(
            customer.id, {"invoice_settings": {"default_payment_method": card.id}}
        )


def test_cards_are_attached_listed_and_detached(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create({}).id
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    with pytest.raises(stripe.CardError) as refused:
        client.v1.payment_methods.attach("pm_card_chargeDeclined", {"customer": customer})
    assert refused.value.code == "card_declined"
    assert [c.id for c in client.v1.payment_methods.list({"customer": customer}).data] == [card.id]

    client.v1.payment_methods.detach(card.id)

    assert client.v1.payment_methods.list({"customer": customer}).data == []
    assert types(client, "payment_method.*") == [
        "payment_method.attached",
        "payment_method.detached",
    ]


def test_a_customer_shows_its_subscriptions_only_when_asked(client: stripe.StripeClient) -> None:
    sub = subscribed(client)

    plain = client.v1.customers.retrieve(str(sub.customer))
    opened = client.v1.customers.retrieve(str(sub.customer), {"expand": ["subscriptions"]})

    assert "subscriptions" not in plain
    assert opened.subscriptions
    assert opened.subscriptions.data[0].id == sub.id


async def test_the_sdk_works_without_blocking_too(box: Box) -> None:
    transport = stripe.HTTPXClient()
    client = stripe.StripeClient(
        box.secret_key, base_addresses={"api": box.url}, http_client=transport
    )
    try:
        made = await client.v1.customers.create_async({"email": "async@example.com"})
        found = await client.v1.customers.list_async({"limit": 3})
    finally:
        await transport.close_async()

    assert [c.id for c in found.data] == [made.id]
