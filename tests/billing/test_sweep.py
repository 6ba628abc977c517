"""What no webhook told us is found all the same."""

from datetime import timedelta

import pytest

from tenure.base.clock import StoppedClock
from tenure.billing import sweep
from tenure.billing.errors import StripeTrouble
from tenure.billing.model import Owner

from .shop import MONTH, Shop, new_org, new_user
from .test_sync import deliver_at_once, knocks
from .truth import assert_equal

EVERY = timedelta(minutes=5)


async def swept(shop: Shop) -> int:
    return await sweep.sweep(shop.db, shop.stripe, shop.clock, every=EVERY)


async def test_events_that_were_lost_are_found_and_worked_off(shop: Shop, org: Owner) -> None:
    """P9, T8: webhooks were lost for a while; more than a page of events."""
    other = await new_org(shop.db, 2)
    one, two = await shop.kept_customer(org), await shop.kept_customer(other)
    for customer in (one, two):
        sub = shop.subscribe(customer)
        for n in range(35):
            shop.merchant.v1.subscriptions.update(sub.id, {"metadata": {"n": str(n)}})
    shop.box.advance(MONTH)
    told = await knocks(shop)
    assert len(told) > 100

    assert await swept(shop) == len(told)

    assert await shop.work() == 2
    await assert_equal(shop, one)
    await assert_equal(shop, two)


async def test_what_is_known_is_not_found_again_and_wakes_nobody(shop: Shop, org: Owner) -> None:
    customer = await shop.kept_customer(org)
    shop.subscribe(customer)
    await deliver_at_once(shop, await knocks(shop))
    await shop.work()

    assert await swept(shop) == 0
    assert await shop.work() == 0

    shop.merchant.v1.customers.update(customer, {"name": "New"})
    assert await swept(shop) == 1
    assert await shop.work() == 1


async def test_events_of_nobody_are_kept_with_a_note(shop: Shop) -> None:
    lost = await swept(shop)

    rows = await shop.rows("SELECT note FROM tenure.inbox")
    assert len(rows) == lost > 0
    assert {row["note"] for row in rows} == {"names no customer"}
    assert await shop.count("subjects") == 0


async def test_each_sweep_reads_twice_its_span_so_that_one_may_fail(
    shop: Shop, clock: StoppedClock
) -> None:
    events = await shop.stripe.all("/v1/events")
    newest = max(event["created"] for event in events)
    oldest = min(event["created"] for event in events)
    span = 2 * EVERY + sweep.OVERLAP

    clock.at += timedelta(seconds=newest - clock.at.timestamp()) + span + timedelta(seconds=1)
    assert await swept(shop) == 0
    clock.at += timedelta(seconds=oldest - newest - 1)
    assert await swept(shop) == len(events)


async def test_a_sweep_that_breaks_off_loses_nothing(shop: Shop, org: Owner) -> None:
    """Pain 3 (sync-engine-fork#189): a sweep that failed does not count as done."""
    customer = await shop.kept_customer(org)
    shop.subscribe(customer)
    shop.box.fault("429", match="GET /v1/events")
    with pytest.raises(StripeTrouble):
        await swept(shop)

    assert await swept(shop) > 0

    await shop.work()
    await assert_equal(shop, customer)


async def test_copies_nobody_looked_at_for_long_are_looked_at_again(shop: Shop, org: Owner) -> None:
    """P9: events older than Stripe's list are of no use; our own copies are."""
    person = await new_user(shop.db)
    customer, other = await shop.kept_customer(org), await shop.kept_customer(person)
    gone = await shop.kept_customer(await new_org(shop.db, 2))
    shop.merchant.v1.customers.delete(gone)
    await shop.work(gone)
    shop.subscribe(customer)

    assert await sweep.look_again(shop.db, shop.stripe, after=timedelta(days=1)) == 2

    assert await shop.work() == 2
    await assert_equal(shop, customer)
    await assert_equal(shop, other)
    long = timedelta(days=365 * 50)
    assert await sweep.look_again(shop.db, shop.stripe, after=long) == 0


async def test_copies_of_the_other_mode_are_left_to_its_own_process(shop: Shop, org: Owner) -> None:
    await shop.kept_customer(org)

    async with shop.other(secret_key="sk_live_sandbox") as live:
        assert await sweep.look_again(live.db, live.stripe, after=timedelta(0)) == 0


async def test_after_a_long_pause_the_sweep_goes_back_to_where_the_last_one_began(
    shop: Shop, org: Owner, clock: StoppedClock
) -> None:
    """T8: the worker was down for days, and what came meanwhile is lost."""
    customer = await shop.kept_customer(org)
    told = await shop.stripe.all("/v1/events")
    clock.at += timedelta(seconds=max(e["created"] for e in told) - clock.at.timestamp())
    await swept(shop)
    shop.subscribe(customer)
    clock.at += timedelta(days=2)

    assert await swept(shop) > 0

    await shop.work()
    await assert_equal(shop, customer)


async def test_copies_that_stripe_does_not_know_take_nobodys_turn(
    shop: Shop, org: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "STALE_AT_ONCE", 1)
    lost = await shop.kept_customer(await new_org(shop.db, 2))
    known = await shop.kept_customer(org)
    async with shop.db.statement() as tx:
        for customer, year in ((lost, "2020-01-01"), (known, "2021-01-01")):
            await tx.execute(
                """
                UPDATE tenure.stripe_customers SET synced_at = %(at)s, updated_at = %(at)s
                 WHERE stripe_customer_id = %(id)s
                """,
                {"at": year, "id": customer},
            )
        await tx.execute(
            """
            UPDATE tenure.stripe_customers SET stripe_customer_id = 'cus_gone'
             WHERE stripe_customer_id = %s
            """,
            (lost,),
        )

    for _ in range(2):
        assert await sweep.look_again(shop.db, shop.stripe, after=timedelta(days=365 * 3)) == 1
        await shop.work()

    (row,) = await shop.rows(
        "SELECT synced_at > '2021-01-01' AS looked_at FROM tenure.stripe_customers"
        " WHERE stripe_customer_id = %s",
        known,
    )
    assert row["looked_at"]
