"""Subscriptions through time, driven by the official SDK."""

import pytest
import stripe

from tenure.sandbox.stripe.model import Policy
from tenure.sandbox.stripe.running import Box, running_stripe
from tests.sandbox.stripe.conftest import client_of
from tests.sandbox.stripe.shop import (
    DAY,
    bought,
    customer_with_card,
    price_id,
    status_of,
    subscribed,
    types,
)

MONTH = 31 * DAY


def invoices_of(client: stripe.StripeClient, sub: str) -> list[stripe.Invoice]:
    return client.v1.invoices.list({"subscription": sub}).data


def test_a_renewal_bills_the_next_period_and_moves_it(
    box: Box, client: stripe.StripeClient
) -> None:
    sub = subscribed(client)
    first = sub["items"].data[0]

    box.advance(MONTH)

    item = client.v1.subscription_items.retrieve(first.id)
    assert item.current_period_start == first.current_period_end
    newest, oldest = invoices_of(client, sub.id)
    assert (newest.status, newest.billing_reason) == ("paid", "subscription_cycle")
    assert oldest.billing_reason == "subscription_create"
    assert newest.parent
    assert newest.parent.subscription_details
    assert newest.parent.subscription_details.subscription == sub.id


def test_an_unpaid_renewal_is_tried_three_times_more_and_then_canceled(
    box: Box, client: stripe.StripeClient
) -> None:
    session = bought(box, client, card="fails_later")
    sub = str(session.subscription)

    box.advance(MONTH)
    assert status_of(client, sub) == "past_due"
    invoice = invoices_of(client, sub)[0]
    assert (invoice.status, invoice.attempt_count) == ("open", 1)
    assert invoice.next_payment_attempt
    assert client.v1.customers.retrieve(str(session.customer)).delinquent is True
    box.advance(3 * DAY)
    assert client.v1.invoices.retrieve(str(invoice.id)).attempt_count == 2
    box.advance(5 * DAY)
    assert status_of(client, sub) == "past_due"
    box.advance(7 * DAY)

    ended = client.v1.subscriptions.retrieve(sub)
    assert ended.status == "canceled"
    assert ended.cancellation_details
    assert ended.cancellation_details.reason == "payment_failed"
    failed = [t for t in types(client) if t == "invoice.payment_failed"]
    assert len(failed) == 4
    assert types(client)[-3:][0] == "customer.subscription.deleted"


@pytest.mark.parametrize("end", ["unpaid", "past_due"])
def test_dunning_may_also_end_in_unpaid_or_stay_past_due(end: str) -> None:
    policy = Policy(dunning_end=end, dunning_days=(1,))  # type: ignore[arg-type]
    with running_stripe(seed=True, policy=policy) as box:
        client = client_of(box)
        sub = str(bought(box, client, card="fails_later").subscription)

        box.advance(MONTH + 2 * DAY)

        assert status_of(client, sub) == end


def test_paying_late_makes_a_subscription_active_again(
    box: Box, client: stripe.StripeClient
) -> None:
    session = bought(box, client, card="fails_later")
    sub = str(session.subscription)
    box.advance(MONTH)
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": str(session.customer)})
    owed = str(invoices_of(client, sub)[0].id)

    with pytest.raises(stripe.CardError, match="declined"):
        client.v1.invoices.pay(owed)
    client.v1.invoices.pay(owed, {"payment_method": card.id})

    assert status_of(client, sub) == "active"
    assert client.v1.customers.retrieve(str(session.customer)).delinquent is False


def test_a_cancel_at_period_end_takes_effect_exactly_then(
    box: Box, client: stripe.StripeClient
) -> None:
    sub = subscribed(client)
    end = sub["items"].data[0].current_period_end
    planned = client.v1.subscriptions.update(sub.id, {"cancel_at_period_end": True})
    assert (planned.cancel_at, planned.cancel_at_period_end) == (end, True)

    box.control("POST", "/clock/advance", to=end - 60)
    assert status_of(client, sub.id) == "active"
    box.advance(120)

    ended = client.v1.subscriptions.retrieve(sub.id)
    assert (ended.status, ended.ended_at) == ("canceled", end)
    assert len(invoices_of(client, sub.id)) == 1
    assert client.v1.subscriptions.list({"customer": str(sub.customer)}).data == []
    everything = {"customer": str(sub.customer), "status": "all"}
    assert len(client.v1.subscriptions.list(everything).data) == 1


def test_a_trial_becomes_active_and_is_billed_when_it_ends(
    box: Box, client: stripe.StripeClient
) -> None:
    sub = subscribed(client, trial_period_days=14)
    assert sub.status == "trialing"
    assert [i.total for i in invoices_of(client, sub.id)] == [0]

    box.advance(12 * DAY)
    assert "customer.subscription.trial_will_end" in types(client)
    box.advance(2 * DAY + 60)

    assert status_of(client, sub.id) == "active"
    assert [i.total for i in invoices_of(client, sub.id)] == [1_200, 0]


@pytest.mark.parametrize(("behaviour", "status"), [("pause", "paused"), ("cancel", "canceled")])
def test_a_trial_without_a_card_ends_as_its_settings_say(
    behaviour: str, status: str, box: Box, client: stripe.StripeClient
) -> None:
    customer = client.v1.customers.create({"name": "No card"})
    sub = subscribed(
        client,
        customer.id,
        trial_period_days=7,
        trial_settings={"end_behavior": {"missing_payment_method": behaviour}},
    )

    box.advance(8 * DAY)

    assert status_of(client, sub.id) == status


def test_a_paused_subscription_resumes_once_there_is_a_card(
    box: Box, client: stripe.StripeClient
) -> None:
    customer = client.v1.customers.create({"name": "No card"})
    pause = {"end_behavior": {"missing_payment_method": "pause"}}
    sub = subscribed(client, customer.id, trial_period_days=7, trial_settings=pause)
    box.advance(8 * DAY)
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    settings = {"default_payment_method": card.id}
    client.v1.customers.update(customer.id, {"invoice_settings": settings})

    client.v1.subscriptions.resume(sub.id, {"billing_cycle_anchor": "now"})

    assert status_of(client, sub.id) == "active"
    assert "customer.subscription.resumed" in types(client)


def test_a_first_payment_that_never_comes_expires_after_23_hours(
    box: Box, client: stripe.StripeClient
) -> None:
    customer = customer_with_card(client)
    sub = subscribed(client, customer.id, payment_behavior="default_incomplete")
    assert sub.status == "incomplete"

    box.advance(22 * 3_600)
    assert status_of(client, sub.id) == "incomplete"
    box.advance(2 * 3_600)

    assert status_of(client, sub.id) == "incomplete_expired"
    assert [i.status for i in invoices_of(client, sub.id)] == ["void"]


def test_a_declined_first_payment_leaves_it_incomplete_or_makes_nothing_at_all(
    client: stripe.StripeClient,
) -> None:
    customer = customer_with_card(client, "pm_card_chargeCustomerFail").id

    assert subscribed(client, customer).status == "incomplete"
    with pytest.raises(stripe.CardError):
        subscribed(client, customer, payment_behavior="error_if_incomplete")
    assert len(client.v1.subscriptions.list({"customer": customer}).data) == 1


def test_a_pause_of_collection_leaves_the_status_active_and_bills_nothing(
    box: Box, client: stripe.StripeClient
) -> None:
    sub = subscribed(client)
    client.v1.subscriptions.update(sub.id, {"pause_collection": {"behavior": "void"}})

    box.advance(MONTH)

    paused = client.v1.subscriptions.retrieve(sub.id)
    assert paused.status == "active"
    assert paused.pause_collection
    assert invoices_of(client, sub.id)[0].status == "void"
    unpaused = client.v1.subscriptions.update(sub.id, {"pause_collection": ""})
    assert unpaused.pause_collection is None


def test_the_next_invoice_is_announced_without_an_id(box: Box, client: stripe.StripeClient) -> None:
    subscribed(client)

    box.advance(29 * DAY)

    event = client.v1.events.list({"type": "invoice.upcoming"}).data[0]
    assert "id" not in event.data.object
    assert event.data.object["customer"].startswith("cus_")


def test_an_invoice_to_be_sent_falls_overdue(box: Box, client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create({"email": "pays@later.test"})
    sub = subscribed(client, customer.id, collection_method="send_invoice", days_until_due=7)
    assert sub.status == "active"

    box.advance(8 * DAY)

    assert status_of(client, sub.id) == "past_due"
    assert "invoice.overdue" in types(client)


def test_items_of_one_subscription_may_have_different_periods(
    box: Box, client: stripe.StripeClient
) -> None:
    customer = customer_with_card(client).id
    keys = ("team_monthly", "business_yearly")
    sub = client.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": price_id(client, key)} for key in keys]}
    )
    monthly, yearly = sub["items"].data
    assert yearly.current_period_end - monthly.current_period_end > 300 * DAY

    box.advance(MONTH)

    renewed = invoices_of(client, sub.id)[0]
    assert renewed.total == 1_200
    after = client.v1.subscription_items.retrieve(yearly.id)
    assert after.current_period_end == yearly.current_period_end


def test_a_test_clock_moves_its_own_customers_only(box: Box, client: stripe.StripeClient) -> None:
    clock = client.v1.test_helpers.test_clocks.create({"frozen_time": 1_800_000_000})
    mine = customer_with_card(client, test_clock=clock.id)
    sub, other = subscribed(client, mine.id), subscribed(client)
    assert sub.created == 1_800_000_000

    moved = client.v1.test_helpers.test_clocks.advance(
        clock.id, {"frozen_time": 1_800_000_000 + 2 * MONTH}
    )

    assert moved.status == "advancing"
    assert client.v1.test_helpers.test_clocks.retrieve(clock.id).status == "ready"
    assert len(invoices_of(client, sub.id)) == 3
    assert len(invoices_of(client, other.id)) == 1
    box.advance(MONTH)
    assert len(invoices_of(client, sub.id)) == 3
    client.v1.test_helpers.test_clocks.delete(clock.id)
    assert client.v1.customers.retrieve(mine.id).deleted is True


def test_a_draft_waits_its_hour_when_the_account_says_so() -> None:
    with running_stripe(seed=True, policy=Policy(draft_seconds=3_600)) as box:
        client = client_of(box)
        sub = subscribed(client)
        end = sub["items"].data[0].current_period_end

        box.control("POST", "/clock/advance", to=end + 60)
        assert invoices_of(client, sub.id)[0].status == "draft"
        box.advance(3_600)

        assert invoices_of(client, sub.id)[0].status == "paid"


def test_time_passes_for_everybody_in_the_order_of_time(
    box: Box, client: stripe.StripeClient
) -> None:
    first, second = subscribed(client), subscribed(client)

    box.advance(4 * MONTH)

    billed = client.v1.invoices.list({"limit": 100}).data[::-1]
    assert [i.created for i in billed] == sorted(i.created for i in billed)
    assert len(invoices_of(client, first.id)) == len(invoices_of(client, second.id)) == 5
