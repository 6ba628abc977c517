import pytest
import stripe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenure.sandbox.stripe.billing import lines
from tenure.sandbox.stripe.running import Box
from tests.sandbox.stripe.shop import DAY, customer_with_card, price_id, subscribed, types


def item_of(sub: stripe.Subscription) -> stripe.SubscriptionItem:
    return sub["items"].data[0]


def test_more_seats_are_prorated_onto_the_next_invoice(
    box: Box, client: stripe.StripeClient
) -> None:
    sub = subscribed(client, quantity=1)
    box.advance(10 * DAY)

    client.v1.subscriptions.update(sub.id, {"items": [{"id": item_of(sub).id, "quantity": 3}]})

    waiting = client.v1.invoice_items.list({"pending": True}).data
    assert len(waiting) == 2
    assert 0 < sum(i.amount for i in waiting) < 2_400
    box.advance(25 * DAY)
    renewed = client.v1.invoices.list({"subscription": sub.id}).data[0]
    assert renewed.total == 3_600 + sum(i.amount for i in waiting)
    assert client.v1.invoice_items.list({"pending": True}).data == []


def test_always_invoice_bills_the_difference_at_once(client: stripe.StripeClient) -> None:
    sub = subscribed(client, quantity=1)

    client.v1.subscriptions.update(
        sub.id,
        {
            "items": [{"id": item_of(sub).id, "quantity": 2}],
            "proration_behavior": "always_invoice",
        },
    )

    newest = client.v1.invoices.list({"subscription": sub.id}).data[0]
    assert (newest.billing_reason, newest.status) == ("subscription_update", "paid")
    assert 1_190 <= newest.total <= 1_200


def test_without_proration_nothing_is_owed(client: stripe.StripeClient) -> None:
    sub = subscribed(client)

    changed = client.v1.subscription_items.update(
        item_of(sub).id, {"quantity": 9, "proration_behavior": "none"}
    )

    assert changed.quantity == 9
    assert client.v1.invoice_items.list().data == []


def test_fewer_seats_become_credit_for_the_next_invoice(
    box: Box, client: stripe.StripeClient
) -> None:
    sub = subscribed(client, quantity=10)
    change = {"items": [{"id": item_of(sub).id, "quantity": 1}]}
    client.v1.subscriptions.update(sub.id, {**change, "proration_behavior": "always_invoice"})

    customer = client.v1.customers.retrieve(str(sub.customer))
    assert customer.balance
    assert customer.balance < -10_000
    box.advance(32 * DAY)

    renewed = client.v1.invoices.list({"subscription": sub.id}).data[0]
    assert (renewed.total, renewed.amount_due) == (1_200, 0)
    after = client.v1.customers.retrieve(str(sub.customer))
    assert after.balance == customer.balance + 1_200


def test_another_interval_begins_a_new_period_and_credits_the_old_one(
    client: stripe.StripeClient,
) -> None:
    sub = subscribed(client)
    yearly = price_id(client, "team_yearly")

    changed = client.v1.subscriptions.update(
        sub.id, {"items": [{"id": item_of(sub).id, "price": yearly}]}
    )

    assert item_of(changed).current_period_end - item_of(changed).current_period_start > 360 * DAY
    newest = client.v1.invoices.list({"subscription": sub.id}).data[0]
    assert 10_790 <= newest.total <= 10_810


def test_a_proration_date_fixes_what_is_owed(client: stripe.StripeClient) -> None:
    sub = subscribed(client)
    item = item_of(sub)
    middle = (item.current_period_start + item.current_period_end) // 2

    client.v1.subscription_items.update(item.id, {"quantity": 2, "proration_date": middle})

    amounts = [i.amount for i in client.v1.invoice_items.list().data]
    assert sorted(amounts) == [-600, 1_200]


def test_a_cancel_can_give_credit_for_the_rest_and_bill_it(client: stripe.StripeClient) -> None:
    sub = subscribed(client)

    client.v1.subscriptions.cancel(sub.id, {"prorate": True, "invoice_now": True})

    last = client.v1.invoices.list({"subscription": sub.id}).data[0]
    assert last.total == -1_200
    assert client.v1.customers.retrieve(str(sub.customer)).balance == -1_200


def test_items_come_and_go_but_one_always_stays(client: stripe.StripeClient) -> None:
    sub = subscribed(client)
    added = client.v1.subscription_items.create(
        {"subscription": sub.id, "price": price_id(client, "business_monthly"), "quantity": 2}
    )
    assert client.v1.subscriptions.retrieve(sub.id)["items"].total_count == 2

    client.v1.subscription_items.delete(item_of(sub).id)

    with pytest.raises(stripe.InvalidRequestError, match="at least one active item"):
        client.v1.subscription_items.delete(added.id)


def test_a_payload_carries_ten_items_and_says_that_there_are_more(
    client: stripe.StripeClient,
) -> None:
    product = client.v1.products.list().data[0].id
    prices = [
        client.v1.prices.create(
            {
                "product": product,
                "currency": "usd",
                "unit_amount": 100 + n,
                "recurring": {"interval": "month"},
            }
        ).id
        for n in range(12)
    ]
    customer = customer_with_card(client).id
    sub = client.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": price} for price in prices]}
    )

    assert len(sub["items"].data) == 10
    assert sub["items"].has_more is True
    listed = client.v1.subscription_items.list({"subscription": sub.id, "limit": 5})
    assert [i.price.id for i in listed.auto_paging_iter()] == prices


def test_an_update_tells_what_was_before(client: stripe.StripeClient) -> None:
    sub = subscribed(client, metadata={"plan": "old", "kept": "yes"})

    client.v1.subscriptions.update(sub.id, {"metadata": {"plan": "new", "added": "1"}})

    event = client.v1.events.list({"type": "customer.subscription.updated"}).data[0]
    previous = event.data.to_dict()["previous_attributes"]
    assert previous == {"metadata": {"plan": "old", "added": None}}
    assert event.data.object["metadata"].to_dict() == {"plan": "new", "kept": "yes", "added": "1"}


def test_a_canceled_subscription_is_over(client: stripe.StripeClient) -> None:
    sub = subscribed(client)
    client.v1.subscriptions.cancel(sub.id)

    with pytest.raises(stripe.InvalidRequestError):
        client.v1.subscriptions.cancel(sub.id)
    with pytest.raises(stripe.InvalidRequestError, match="canceled subscription"):
        client.v1.subscriptions.update(sub.id, {"cancel_at_period_end": True})
    assert client.v1.subscriptions.retrieve(sub.id).status == "canceled"
    assert types(client)[-2] == "customer.subscription.deleted"


def test_a_planned_cancel_can_be_taken_back(client: stripe.StripeClient) -> None:
    sub = subscribed(client)
    client.v1.subscriptions.update(sub.id, {"cancel_at": "max_period_end"})

    kept = client.v1.subscriptions.update(sub.id, {"cancel_at": ""})

    assert kept.cancel_at is None
    assert kept.canceled_at is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"payment_behavior": "hope"}, "payment_behavior"),
        ({"surprise": 1}, "surprise"),
        ({"trial_period_days": "soon"}, "trial_period_days"),
        ({"cancel_at_period_end": "maybe"}, "cancel_at_period_end"),
        ({"default_payment_method": "pm_none"}, "default_payment_method"),
    ],
)
def test_a_wrong_parameter_is_named_and_nothing_is_made(
    fields: dict[str, object], param: str, client: stripe.StripeClient
) -> None:
    customer = customer_with_card(client).id

    with pytest.raises(stripe.InvalidRequestError) as refused:
        subscribed(client, customer, **fields)

    assert refused.value.param == param
    assert client.v1.subscriptions.list({"status": "all"}).data == []


def test_a_subscription_that_must_be_paid_now_needs_a_card(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create({"name": "No card"})

    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        subscribed(client, customer.id)

    assert client.v1.subscriptions.list({"status": "all"}).data == []


def test_lists_are_narrowed_by_customer_price_and_status(client: stripe.StripeClient) -> None:
    one, two = subscribed(client), subscribed(client, trial_period_days=5)

    def ids(**filters: str) -> list[str]:
        return [s.id for s in client.v1.subscriptions.list(filters).data]  # type: ignore[arg-type]

    assert ids(customer=str(one.customer)) == [one.id]
    assert ids(status="trialing") == [two.id]
    assert ids(price=price_id(client)) == [two.id, one.id]
    assert ids(price=price_id(client, "business_monthly")) == []


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None
)
@given(quantities=st.lists(st.integers(0, 20), min_size=1, max_size=4))
def test_prorations_there_and_back_again_come_to_nothing(
    quantities: list[int], client: stripe.StripeClient
) -> None:
    sub = subscribed(client, quantity=2)
    for quantity in [*quantities, 2]:
        change = {"id": item_of(sub).id, "quantity": quantity}
        client.v1.subscriptions.update(sub.id, {"items": [change]})

    owed = client.v1.invoice_items.list({"customer": str(sub.customer), "limit": 100}).data

    assert abs(sum(i.amount for i in owed)) <= len(owed)  # a second may pass between two changes


def test_money_is_written_for_people() -> None:
    assert lines.money(-123_456, "eur") == "-€1234.56"
