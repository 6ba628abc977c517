"""Selling: never two subscriptions, never to a page that is not ours."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tenure.base.errors import TenureError
from tenure.billing.checkout import Line, Order, Session
from tenure.billing.errors import (
    AddressNotAllowed,
    AlreadySubscribed,
    NoCustomer,
    NoSuchObject,
    Refused,
    StripeBusy,
)
from tenure.billing.model import Owner
from tenure.billing.portal import open_portal

from .shop import BACK, MONTH, ORIGIN, WISH, Shop
from .test_customers import as_if_of_test_mode, made_at_stripe, open_transactions


async def opened(shop: Shop, owner: Owner, order: Order) -> Session:
    return await shop.till.open(owner, order, WISH, actor="user:1")


def live(shop: Shop, customer: str) -> list[str]:
    listed = shop.merchant.v1.subscriptions.list({"customer": customer})
    return [s.id for s in listed.data]


def open_sessions(shop: Shop, customer: str) -> list[str]:
    listed = shop.merchant.v1.checkout.sessions.list({"customer": customer, "status": "open"})
    return [s.id for s in listed.data]


async def test_the_first_checkout_makes_the_customer(shop: Shop, org: Owner) -> None:
    """A2: a customer is created at the first checkout."""
    session = await opened(shop, org, shop.order(quantity=3))

    assert made_at_stripe(shop) == [session.customer.stripe_customer_id]
    seen = shop.merchant.v1.checkout.sessions.retrieve(session.id)
    assert (seen.client_reference_id, seen.success_url) == (str(org), BACK)
    assert await shop.told() == ["customer.created", "checkout.opened"]


async def test_a_double_click_gives_the_same_page(shop: Shop, org: Owner) -> None:
    """Pain 15 (unkey#6252): five clicks at once open one session."""
    order = shop.order()

    found = await asyncio.gather(*(opened(shop, org, order) for _ in range(5)))

    assert len({(session.id, session.url) for session in found}) == 1
    assert [session.reused for session in found].count(False) == 1
    assert shop.asked("POST /v1/checkout/sessions") == 1
    assert (await shop.told()).count("checkout.opened") == 1


async def test_another_order_closes_the_page_before_so_two_tabs_are_never_both_paid(
    shop: Shop, org: Owner
) -> None:
    """Pain 15 (adcp#3171): two open sessions could both complete and bill twice."""
    first = await opened(shop, org, shop.order())
    second = await opened(shop, org, shop.order("business_monthly"))
    customer = second.customer.stripe_customer_id

    assert open_sessions(shop, customer) == [second.id]
    assert shop.box.pay(first.url).status_code == 410
    assert shop.box.pay(second.url).status_code == 303
    assert len(live(shop, customer)) == 1


async def test_a_page_that_is_paid_while_another_order_is_opened_stops_that_order(
    shop: Shop, org: Owner
) -> None:
    """Pain 15: the payment falls between our two questions to Stripe."""
    first = await opened(shop, org, shop.order())
    customer = first.customer.stripe_customer_id
    shop.box.fault("latency", match="GET /v1/checkout/sessions", seconds=0.5)
    shop.box.control("DELETE", "/requests")
    second = asyncio.create_task(opened(shop, org, shop.order("business_monthly")))
    await shop.until_asked("GET /v1/checkout/sessions")

    assert shop.box.pay(first.url).status_code == 303

    with pytest.raises(AlreadySubscribed):
        await second
    assert open_sessions(shop, customer) == []
    assert len(live(shop, customer)) == 1


async def test_a_page_that_is_paid_while_we_close_it_stops_the_other_order(
    shop: Shop, org: Owner
) -> None:
    first = await opened(shop, org, shop.order())
    shop.box.fault("latency", match="POST /v1/checkout/sessions/", seconds=0.5)
    second = asyncio.create_task(opened(shop, org, shop.order("business_monthly")))
    await shop.until_asked("POST /v1/checkout/sessions/{id}/expire")

    assert shop.box.pay(first.url).status_code == 303

    with pytest.raises(AlreadySubscribed):
        await second


@pytest.mark.parametrize("status", ["active", "trialing", "past_due", "paused"])
async def test_beside_a_live_subscription_no_second_one_is_sold(
    shop: Shop, org: Owner, status: str
) -> None:
    """Pain 15: whatever our copy says; past due and paused ones count."""
    customer = await shop.kept_customer(org)
    await bring_to(shop, customer, status)

    with pytest.raises(AlreadySubscribed, match=f"is {status};") as refused:
        await opened(shop, org, shop.order())

    assert refused.value.facts["status"] == status
    assert open_sessions(shop, customer) == []


async def bring_to(shop: Shop, customer: str, status: str) -> None:
    """Make a subscription and lead it to a status, as life would."""
    subscriptions = shop.merchant.v1.subscriptions
    if status == "paused":
        ends: Any = {"end_behavior": {"missing_payment_method": "pause"}}
        items: Any = [{"price": shop.price()}]
        subscriptions.create(
            {"customer": customer, "items": items, "trial_period_days": 1, "trial_settings": ends}
        )
        shop.box.advance(2 * 86_400)
    elif status == "trialing":
        shop.subscribe(customer, trial_period_days=7)
    else:
        sub = shop.subscribe(customer)
        if status != "active":
            card = shop.give_card(customer, "chargeCustomerFail")
            subscriptions.update(sub.id, {"default_payment_method": card})
            shop.box.advance(MONTH)
    (now,) = subscriptions.list({"customer": customer, "status": "all"}).data
    assert now.status == status


async def test_after_the_end_of_the_last_one_the_next_is_sold(shop: Shop, org: Owner) -> None:
    customer = await shop.kept_customer(org)
    sub = shop.subscribe(customer)
    shop.merchant.v1.subscriptions.cancel(sub.id)

    session = await opened(shop, org, shop.order())

    assert shop.box.pay(session.url).status_code == 303


async def test_a_trial_is_sold_as_ordered(shop: Shop, org: Owner) -> None:
    session = await opened(shop, org, shop.order(trial_days=14))
    shop.box.pay(session.url)

    (sub,) = shop.merchant.v1.subscriptions.list(
        {"customer": session.customer.stripe_customer_id}
    ).data
    assert sub.status == "trialing"
    assert sub.metadata["tenure_owner"] == str(org)


BAD = ["https://evil.test/", "//evil.test", "javascript:alert(1)", "https://app.test@evil.test/"]


@pytest.mark.parametrize("address", BAD)
@pytest.mark.parametrize("field", ["success_url", "cancel_url"])
async def test_nobody_is_sent_to_a_page_that_is_not_ours(
    shop: Shop, org: Owner, address: str, field: str
) -> None:
    order = shop.order(**{field: address})

    with pytest.raises(AddressNotAllowed):
        await opened(shop, org, order)
    with pytest.raises(AddressNotAllowed):
        await open_portal(shop.desk, org, return_url=address, origins=(ORIGIN,))

    assert made_at_stripe(shop) == []


LINES: list[tuple[Sequence[Line], str]] = [
    ([Line(price="price_none")], "price"),
    ([], "line_items"),
]


@pytest.mark.parametrize(("lines", "param"), LINES)
async def test_an_order_that_stripe_refuses_is_the_callers_to_mend(
    shop: Shop, org: Owner, lines: Sequence[Line], param: str
) -> None:
    """T5: 422, not 502."""
    with pytest.raises(Refused) as refused:
        await opened(shop, org, Order(lines=lines, success_url=BACK, cancel_url=None))

    assert param in str(refused.value.facts["param"])
    assert "checkout.opened" not in await shop.told()


async def test_a_customer_deleted_behind_our_back_breaks_one_checkout_and_not_the_next(
    shop: Shop, org: Owner
) -> None:
    """Pain 17 (airwaylab#29, InsForge#1199): and the webhook was lost."""
    gone = await shop.kept_customer(org)
    shop.merchant.v1.customers.delete(gone)

    with pytest.raises(NoSuchObject):
        await opened(shop, org, shop.order())
    assert await shop.work() == 1
    session = await opened(shop, org, shop.order())

    assert session.customer.stripe_customer_id != gone
    assert shop.box.pay(session.url).status_code == 303


async def test_trouble_in_the_middle_opens_nothing_and_leaves_no_lease(
    shop: Shop, org: Owner
) -> None:
    shop.box.fault("429", match="POST /v1/checkout/sessions")

    with pytest.raises(StripeBusy):
        await opened(shop, org, shop.order())

    assert await shop.count("leases") == 0
    assert await shop.told() == ["customer.created"]
    assert (await opened(shop, org, shop.order())).url


async def test_no_session_waits_inside_a_transaction_while_checkout_is_slow(
    shop: Shop, org: Owner
) -> None:
    """No network while a transaction is open."""
    shop.box.fault("latency", match="POST /v1/checkout/sessions", seconds=0.5)
    call = asyncio.create_task(opened(shop, org, shop.order()))
    await shop.until_asked("POST /v1/checkout/sessions")

    seen = []
    while not call.done():
        seen += await open_transactions(shop.db)
        await asyncio.sleep(0.02)

    await call
    assert seen == []


async def test_the_portal_opens_for_a_customer_and_comes_back_to_us(shop: Shop, org: Owner) -> None:
    """A1: the portal's configuration is kept with the customer."""
    customer = await shop.kept_customer(org)
    made = shop.merchant.v1.billing_portal.configurations.create(
        {"features": {"invoice_history": {"enabled": True}}}
    )
    async with shop.db.statement() as tx:
        await tx.execute("UPDATE tenure.stripe_customers SET portal_configuration = %s", (made.id,))

    url = await open_portal(shop.desk, org, return_url=f"{ORIGIN}/x", origins=(ORIGIN,))

    assert url.startswith(shop.box.url)
    assert shop.box.client.get(url).status_code == 200
    assert shop.asked("POST /v1/billing_portal/sessions") == 1
    assert customer


async def test_without_a_customer_there_is_nothing_to_manage_and_none_is_made(
    shop: Shop, org: Owner
) -> None:
    """A2: never before it is needed."""
    with pytest.raises(NoCustomer):
        await open_portal(shop.desk, org, return_url=ORIGIN, origins=(ORIGIN,))

    assert made_at_stripe(shop) == []


async def test_a_customer_of_the_other_mode_is_named_at_every_door(shop: Shop, org: Owner) -> None:
    """A8: test and live mixed up, before any look has found it."""
    mixed = await as_if_of_test_mode(shop, org)
    doors = [
        lambda: opened(shop, org, shop.order()),
        lambda: open_portal(shop.desk, org, return_url=ORIGIN, origins=(ORIGIN,)),
    ]
    for door in doors:
        with pytest.raises(NoSuchObject) as told:
            await door()
        assert told.value.facts["mixed_up"] is True
    await shop.work()
    for door in doors:
        with pytest.raises(TenureError, match=mixed) as named:
            await door()
        assert named.value.code == "billing.mode_mix_up"
