"""The single writer against another look, a broken database and a slow Stripe."""

import asyncio
from datetime import timedelta

import pytest

from tenure.billing import sweep
from tenure.billing.model import Owner
from tenure.journal import reconcile
from tenure.journal import store as journal
from tenure.journal.errors import StaleFence
from tenure.journal.reconcile import Pace

from .shop import Shop
from .test_customers import open_transactions
from .test_sync import knocks
from .truth import assert_equal

NO_LEASE = timedelta(0)


async def slow_look(shop: Shop, customer: str, *, lease: timedelta) -> "asyncio.Task[None]":
    """Begin a look that has read the subscriptions already, and that will write late."""
    shop.box.fault("latency", match="GET /v1/payment_methods", count=1, seconds=0.6)
    shop.box.control("DELETE", "/requests")
    await shop.mark(customer)
    claim = await shop.claim(lease=lease)
    look = asyncio.create_task(shop.finish(claim))
    await shop.until_asked("GET /v1/subscriptions")
    await shop.until_asked("GET /v1/payment_methods")
    return look


async def test_of_two_looks_the_one_that_read_the_older_state_loses(shop: Shop, org: Owner) -> None:
    """P8: the slow look began first, read `active`, and comes to write last."""
    customer = await shop.kept_customer(org)
    sub = shop.subscribe(customer)
    await shop.work(customer)
    told = len(await shop.told())

    slow = await slow_look(shop, customer, lease=NO_LEASE)
    shop.merchant.v1.subscriptions.cancel(sub.id)
    assert await shop.work(customer) == 1
    assert not slow.done()
    with pytest.raises(StaleFence):
        await slow

    (bought,) = (await assert_equal(shop, customer))["bought"].values()
    assert bought["status"] == "canceled"
    changes = (await shop.told())[told:]
    assert changes.count("subscription.status_changed") == 1


async def test_a_cancel_while_a_page_that_shows_it_active_is_in_flight_is_seen(
    shop: Shop, org: Owner
) -> None:
    """P7: what knocks during a look is due again after it."""
    customer = await shop.kept_customer(org)
    sub = shop.subscribe(customer)
    assert await sweep.look_again(shop.db, shop.stripe, after=timedelta(days=1)) == 1

    slow = await slow_look(shop, customer, lease=timedelta(minutes=1))
    shop.merchant.v1.subscriptions.cancel(sub.id)
    (gone,) = await knocks(shop, "customer.subscription.deleted")
    async with shop.db.statement() as tx:
        await journal.put_knocks(tx, [gone])
        assert await journal.take_due(tx, customer, limit=1, lease=NO_LEASE) == []
    await slow
    (stale,) = await shop.rows("SELECT status FROM tenure.subscriptions")
    assert stale["status"] == "active"

    assert await shop.work() == 1

    (bought,) = (await assert_equal(shop, customer))["bought"].values()
    assert bought["status"] == "canceled"


async def test_while_a_look_is_leased_nobody_else_looks(shop: Shop, org: Owner) -> None:
    """Pain 11: two workers on one subject."""
    customer = await shop.kept_customer(org)
    slow = await slow_look(shop, customer, lease=timedelta(minutes=1))

    assert await shop.work(customer) == 0
    await slow

    assert await shop.work() == 1


async def test_no_session_waits_inside_a_transaction_during_a_look(shop: Shop, org: Owner) -> None:
    """No network while a transaction is open."""
    customer = await shop.kept_customer(org)
    slow = await slow_look(shop, customer, lease=timedelta(minutes=1))

    seen = []
    polls = 0
    while not slow.done():
        seen += await open_transactions(shop.db)
        polls += 1
        await asyncio.sleep(0.02)

    await slow
    assert seen == []
    assert polls > 3


@pytest.mark.parametrize("table", ["news", "audit_log", "entitlements"])
async def test_state_audit_and_news_are_one_transaction(shop: Shop, org: Owner, table: str) -> None:
    """P12: where one of them cannot be written nothing is, and the subject stays due."""
    customer = await shop.kept_customer(org)
    shop.subscribe(customer)
    before = [await shop.count(t) for t in TABLES]
    await break_inserts(shop, table)
    await shop.mark(customer)
    claim = await shop.claim()

    done = await reconcile.reconcile(shop.db, shop.customers, claim, Pace(), shop.ids)

    assert not done
    assert [await shop.count(t) for t in TABLES] == before
    (subject,) = await shop.rows(
        "SELECT dirty_seq > settled_seq AS due, lease_until, last_error FROM tenure.subjects"
    )
    assert (subject["due"], subject["lease_until"]) == (True, None)
    assert "no room" in subject["last_error"]
    await mend(shop, table)
    await shop.hurry()
    await shop.work(customer)
    await assert_equal(shop, customer)


TABLES = ("subscriptions", "subscription_items", "entitlements", "payment_methods", "audit_log",
          "news")  # fmt: skip


async def break_inserts(shop: Shop, table: str) -> None:
    async with shop.db.statement() as tx:
        await tx.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE 'no room'; END $$"
        )
        await tx.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON tenure.{table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
        )


async def mend(shop: Shop, table: str) -> None:
    async with shop.db.statement() as tx:
        await tx.execute(f"DROP TRIGGER refuse ON tenure.{table}")


@pytest.mark.parametrize("name", ["429", "500", "latency"])
@pytest.mark.parametrize(
    "call", ["GET /v1/customers/", "GET /v1/subscriptions", "GET /v1/entitlements"]
)
async def test_a_look_that_fails_writes_nothing_and_is_tried_again(
    shop: Shop, org: Owner, name: str, call: str
) -> None:
    """T5, pain 3 (sync-engine-fork#189): a failed sync never counts as a successful one."""
    customer = await shop.kept_customer(org)
    shop.subscribe(customer)
    before = [await shop.count(t) for t in TABLES]
    shop.box.fault(name, match=call, count=-1, seconds=30)
    await shop.mark(customer)
    claim = await shop.claim()

    async with shop.other() as hasty:
        done = await reconcile.reconcile(shop.db, hasty.customers, claim, Pace(), shop.ids)

    assert not done
    assert [await shop.count(t) for t in TABLES] == before
    (subject,) = await shop.rows("SELECT last_error FROM tenure.subjects")
    assert subject["last_error"].startswith("billing.stripe_")
    shop.box.control("DELETE", "/faults")
    await shop.hurry()
    await shop.work(customer)
    await assert_equal(shop, customer)
