"""The page people come back to, while webhooks are late, lost, or all at once."""

import asyncio
import time
from datetime import timedelta

import pytest

from tenure.billing.errors import StripeBusy, UnknownSession
from tenure.billing.model import Owner, Status
from tenure.billing.returned import Purchase, State, settle_purchase

from .shop import LONG, WISH, Shop
from .test_sync import deliver_at_once, knocks
from .truth import assert_equal

WAIT = timedelta(seconds=5)


async def come_back(
    shop: Shop, session: str, *, wait: timedelta = WAIT, lease: timedelta = LONG
) -> Purchase:
    return await settle_purchase(shop.db, shop.customers, session, wait=wait, lease=lease)


async def bought(shop: Shop, owner: Owner, card: str = "works") -> str:
    session = await shop.till.open(owner, shop.order(), WISH, actor="test")
    shop.box.pay(session.url, card)
    return session.id


async def test_who_has_paid_is_ready_though_every_webhook_is_lost(shop: Shop, org: Owner) -> None:
    """T8: the redirect is quicker than the webhook, or there is none."""
    session = await bought(shop, org)

    purchase = await come_back(shop, session)

    assert purchase.state is State.READY
    assert purchase.subscription
    assert purchase.subscription.status is Status.ACTIVE
    found = await shop.living(org)
    assert found
    await assert_equal(shop, found.stripe_customer_id)


async def test_coming_back_again_costs_no_look(shop: Shop, org: Owner) -> None:
    session = await bought(shop, org)
    await come_back(shop, session)
    shop.box.control("DELETE", "/requests")

    assert (await come_back(shop, session)).state is State.READY

    assert shop.box.requests() == {"GET /v1/checkout/sessions/{id}": 1}


async def test_ten_pages_and_the_worker_at_once_agree_and_write_once(
    shop: Shop, org: Owner
) -> None:
    """M6: the same writer, under the same lease."""
    session = await bought(shop, org)
    await deliver_at_once(shop, await knocks(shop, "customer.subscription.*"))

    *purchases, _ = await asyncio.gather(
        *(come_back(shop, session) for _ in range(10)), shop.work()
    )

    assert {p.state for p in purchases} == {State.READY}
    assert (await shop.told()).count("subscription.started") == 1


async def test_a_page_that_is_not_paid_is_open_and_one_that_is_closed_has_expired(
    shop: Shop, org: Owner
) -> None:
    declined = await bought(shop, org, "declined")
    assert (await come_back(shop, declined)).state is State.OPEN

    shop.merchant.v1.checkout.sessions.expire(declined)

    assert (await come_back(shop, declined)).state is State.EXPIRED


async def test_a_session_that_is_not_ours_is_unknown(shop: Shop, org: Owner) -> None:
    stranger = shop.merchant.v1.customers.create({}).id
    other = shop.merchant.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": stranger,
            "line_items": [{"price": shop.price(), "quantity": 1}],
            "success_url": "https://app.test/",
        }
    )
    await shop.kept_customer(org)

    for session in (other.id, "cs_test_none", "cs_\u20ac", "", "..", f"../../customers/{stranger}"):
        with pytest.raises(UnknownSession):
            await come_back(shop, session)


async def test_while_the_worker_is_stuck_the_wait_is_bounded(shop: Shop, org: Owner) -> None:
    session = await bought(shop, org)
    claim = await shop.claim()
    started = time.monotonic()

    purchase = await come_back(shop, session, wait=timedelta(seconds=0.4))

    assert purchase.state is State.PROCESSING
    assert time.monotonic() - started < 20
    await shop.finish(claim)
    assert (await come_back(shop, session)).state is State.READY


async def test_a_look_that_fails_is_put_off_and_not_left_leased(shop: Shop, org: Owner) -> None:
    """T5: Stripe has trouble while somebody waits; the worker must not wait for her lease."""
    session = await bought(shop, org)
    shop.box.fault("429", match="GET /v1/subscriptions", count=-1)

    purchase = await come_back(shop, session, wait=timedelta(seconds=0.2))

    assert purchase.state is State.PROCESSING
    (subject,) = await shop.rows(
        "SELECT lease_until, last_error, dirty_seq > settled_seq AS due FROM tenure.subjects"
    )
    assert (subject["lease_until"], subject["due"]) == (None, True)
    assert subject["last_error"].startswith("billing.stripe_busy")
    shop.box.control("DELETE", "/faults")
    assert (await come_back(shop, session)).state is State.READY


async def test_where_stripe_cannot_even_tell_of_the_session_it_is_stripes_trouble(
    shop: Shop, org: Owner
) -> None:
    session = await bought(shop, org)
    shop.box.fault("429", match="GET /v1/checkout/sessions")

    with pytest.raises(StripeBusy):
        await come_back(shop, session)


async def test_who_comes_back_long_after_is_not_kept_waiting(shop: Shop, org: Owner) -> None:
    """What was bought has ended, and something else runs: nothing is left to wait for."""
    session = await bought(shop, org)
    first = (await come_back(shop, session)).subscription
    assert first
    shop.merchant.v1.subscriptions.cancel(first.id)
    found = await shop.living(org)
    assert found
    shop.give_card(found.stripe_customer_id)
    shop.subscribe(found.stripe_customer_id)
    await shop.work(found.stripe_customer_id)
    shop.box.control("DELETE", "/requests")

    purchase = await come_back(shop, session)

    assert purchase.state is State.READY
    assert purchase.subscription
    assert purchase.subscription.status is Status.CANCELED
    assert shop.box.requests() == {"GET /v1/checkout/sessions/{id}": 1}


async def test_who_has_another_subscription_waits_as_calmly_as_others(
    shop: Shop, org: Owner
) -> None:
    session = await shop.till.open(org, shop.order(), WISH, actor="test")
    customer = session.customer.stripe_customer_id
    shop.give_card(customer)
    shop.subscribe(customer)
    await shop.work(customer)
    shop.box.pay(session.url, "works")
    shop.box.fault("429", match="GET /v1/subscriptions", count=-1)
    shop.box.control("DELETE", "/requests")

    purchase = await come_back(shop, session.id, wait=timedelta(seconds=1))

    assert purchase.state is State.PROCESSING
    assert shop.asked("GET /v1/customers/{id}") <= 5
