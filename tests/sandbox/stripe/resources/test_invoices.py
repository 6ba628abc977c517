import pytest
import stripe

from tenure.sandbox.stripe.model import Policy
from tenure.sandbox.stripe.running import Box, running_stripe
from tests.sandbox.stripe.conftest import client_of
from tests.sandbox.stripe.shop import DAY, customer_with_card, subscribed, types


def unpaid(client: stripe.StripeClient) -> stripe.Invoice:
    customer = customer_with_card(client).id
    sub = subscribed(client, customer, payment_behavior="default_incomplete")
    return client.v1.invoices.retrieve(str(sub.latest_invoice))


def test_an_open_invoice_is_paid_by_hand_and_never_twice(client: stripe.StripeClient) -> None:
    invoice = unpaid(client)
    assert (invoice.status, invoice.amount_remaining) == ("open", 1_200)

    paid = client.v1.invoices.pay(str(invoice.id), {"expand": ["payments"]})

    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", 1_200, 0)
    assert paid.payments
    assert paid.payments.data[0].amount_paid == 1_200
    assert client.v1.subscriptions.list().data[0].status == "active"
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        client.v1.invoices.pay(str(invoice.id))


def test_money_may_come_another_way(client: stripe.StripeClient) -> None:
    paid = client.v1.invoices.pay(str(unpaid(client).id), {"paid_out_of_band": True})

    assert paid.status == "paid"


def test_an_open_invoice_is_voided_or_given_up_but_a_paid_one_is_not(
    client: stripe.StripeClient,
) -> None:
    assert client.v1.invoices.void_invoice(str(unpaid(client).id)).status == "void"
    written_off = client.v1.invoices.mark_uncollectible(str(unpaid(client).id))
    assert written_off.status == "uncollectible"
    assert written_off.status_transitions.marked_uncollectible_at
    paid = str(subscribed(client).latest_invoice)

    with pytest.raises(stripe.InvalidRequestError, match="open invoices"):
        client.v1.invoices.void_invoice(paid)


def test_a_draft_is_finalized_once() -> None:
    with running_stripe(seed=True, policy=Policy(draft_seconds=5 * DAY)) as box:
        client = client_of(box)
        sub = subscribed(client)
        box.advance(31 * DAY)
        draft = str(client.v1.invoices.list({"subscription": sub.id}).data[0].id)

        finalized = client.v1.invoices.finalize_invoice(draft)

        assert (finalized.status, finalized.number is not None) == ("open", True)
        with pytest.raises(stripe.InvalidRequestError, match="already finalized"):
            client.v1.invoices.finalize_invoice(draft)
        assert types(client, "invoice.finalized") == ["invoice.finalized"] * 2


def test_a_preview_says_what_a_change_would_cost_and_keeps_nothing(
    box: Box, client: stripe.StripeClient
) -> None:
    sub = subscribed(client)
    box.advance(10 * DAY)
    more = {"id": sub["items"].data[0].id, "quantity": 3}

    preview = client.v1.invoices.create_preview(
        {"subscription": sub.id, "subscription_details": {"items": [more]}}  # type: ignore[typeddict-item]
    )

    assert 1_200 + 1_000 < preview.total < 1_200 + 2_400
    assert len(preview.lines.data) == 3
    assert len(client.v1.invoices.list().data) == 1
    assert client.v1.subscriptions.retrieve(sub.id)["items"].data[0].quantity == 1


def test_invoices_are_listed_by_customer_and_status(client: stripe.StripeClient) -> None:
    owed, sub = unpaid(client), subscribed(client)

    def ids(**filters: str) -> list[str | None]:
        return [i.id for i in client.v1.invoices.list(filters).data]  # type: ignore[arg-type]

    assert ids(status="open") == [owed.id]
    assert ids(customer=str(sub.customer)) == [sub.latest_invoice]
    assert ids(subscription=sub.id, status="open") == []
