"""The single writer: whatever came in which order, the tables end as Stripe is."""

import asyncio
from datetime import timedelta
from itertools import permutations
from typing import Any

import msgspec
import pytest

from tenure.base.clock import StoppedClock, moment
from tenure.billing.events import knock_of
from tenure.billing.model import Owner
from tenure.journal import store as journal
from tenure.journal.model import Knock

from .shop import DAY, MONTH, WISH, Shop, new_org, until
from .truth import assert_equal


async def knocks(shop: Shop, pattern: str = "*") -> list[Knock]:
    """Read what Stripe told so far, oldest first."""
    events = await shop.stripe.all("/v1/events", type=pattern)
    return [knock_of(msgspec.json.encode(e), livemode=False) for e in reversed(events)]


async def deliver(shop: Shop, *arrived: Knock) -> None:
    """Let events come one by one, each looked at before the next comes."""
    for knock in arrived:
        async with shop.db.statement() as tx:
            await journal.put_knocks(tx, [knock])
        await shop.work()


def same_second(*arrived: Knock) -> list[Knock]:
    """Check that events tie, as Stripe's resolution of a second lets them."""
    assert len({k.occurred_at for k in arrived}) <= 2
    return list(arrived)


def a_price(shop: Shop, product: str, **fields: Any) -> str:
    made = shop.merchant.v1.prices.create(
        {
            "product": product,
            "currency": "usd",
            "unit_amount": 100,
            "recurring": {"interval": "month"},
            **fields,
        }
    )
    return made.id


@pytest.mark.parametrize("order", list(permutations(range(2))))
async def test_created_and_updated_in_one_second_end_active_whichever_comes_first(
    shop: Shop, org: Owner, order: tuple[int, ...]
) -> None:
    """P1, pain 1 (stripe/sync-engine#268): events in the same second are not lost."""
    customer = await shop.kept_customer(org)
    session = await shop.till.open(org, shop.order(), WISH, actor="test")
    assert shop.box.pay(session.url).status_code == 303
    told = same_second(*await knocks(shop, "customer.subscription.*"))
    bodies = [msgspec.json.decode(k.body)["data"]["object"]["status"] for k in told]
    assert bodies == ["incomplete", "active"]

    await deliver(shop, *(told[n] for n in order))

    (bought,) = (await assert_equal(shop, customer))["bought"].values()
    assert bought["status"] == "active"


async def test_an_older_update_that_comes_late_takes_no_item_away(shop: Shop, org: Owner) -> None:
    """P2: an older `updated` with fewer items after a newer one."""
    customer = await shop.kept_customer(org)
    sub = shop.subscribe(customer)
    shop.merchant.v1.subscriptions.update(sub.id, {"metadata": {"step": "older"}})
    shop.merchant.v1.subscription_items.create(
        {"subscription": sub.id, "price": shop.price("business_monthly")}
    )
    *_, older, newer = await knocks(shop, "customer.subscription.updated")

    await deliver(shop, newer, older)

    (bought,) = (await assert_equal(shop, customer))["bought"].values()
    assert len(bought["items"]) == 2


async def test_fifteen_entitlements_are_all_kept(shop: Shop, org: Owner) -> None:
    """P6: more than one page of entitlements."""
    merchant = shop.merchant
    customer = await shop.kept_customer(org)
    product = merchant.v1.products.create({"name": "Everything"}).id
    for n in range(15):
        feature = merchant.v1.entitlements.features.create(
            {"name": f"Feature {n}", "lookup_key": f"feature-{n}"}
        )
        merchant.v1.products.features.create(product, {"entitlement_feature": feature.id})
    shop.give_card(customer)
    bought = merchant.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": a_price(shop, product)}]}
    )
    await deliver(shop, *await knocks(shop, "entitlements.active_entitlement_summary.updated"))
    assert len((await assert_equal(shop, customer))["may"]) == 15

    merchant.v1.subscriptions.cancel(bought.id)
    await shop.work(customer)

    assert (await assert_equal(shop, customer))["may"] == set()


async def test_a_cancel_missed_in_an_outage_is_found_by_the_next_look(
    shop: Shop, org: Owner
) -> None:
    """P9, pain 2 (stripe/sync-engine#336): canceled subscriptions are listed too."""
    customer = await shop.kept_customer(org)
    sub = shop.subscribe(customer)
    await shop.work(customer)
    shop.merchant.v1.subscriptions.cancel(sub.id)

    await shop.work(customer)

    (bought,) = (await assert_equal(shop, customer))["bought"].values()
    assert bought["status"] == "canceled"


async def test_an_update_after_the_end_revives_nothing(shop: Shop, org: Owner) -> None:
    """P10, pain 6 (cashier#1714): `updated` arrives late, after `deleted`."""
    customer = await shop.kept_customer(org)
    sub = shop.subscribe(customer)
    shop.merchant.v1.subscriptions.update(sub.id, {"metadata": {"late": "yes"}})
    shop.merchant.v1.subscriptions.cancel(sub.id)
    (updated,) = await knocks(shop, "customer.subscription.updated")
    (deleted,) = await knocks(shop, "customer.subscription.deleted")

    await deliver(shop, deleted, updated)

    (bought,) = (await assert_equal(shop, customer))["bought"].values()
    assert bought["status"] == "canceled"


async def test_one_event_three_times_at_once_has_one_effect(shop: Shop, org: Owner) -> None:
    """P11, pain 10 (open-saas#688): one row, one audit line, one piece of news, one look."""
    customer = await shop.kept_customer(org)
    shop.subscribe(customer)
    (created,) = await knocks(shop, "customer.subscription.created")
    before = await shop.count("news")

    async def arrive() -> None:
        async with shop.db.statement() as tx:
            await journal.put_knocks(tx, [created])

    await asyncio.gather(arrive(), arrive(), arrive())

    assert await shop.work() == 1
    await assert_equal(shop, customer)
    assert await shop.count("inbox") == 1
    assert await shop.count("subscriptions") == 1
    assert (await shop.told()).count("subscription.started") == 1
    assert await shop.count("news") == before + 1


async def test_more_items_than_a_payload_holds_are_all_kept(shop: Shop, org: Owner) -> None:
    """Pain 18: lists inside payloads are truncated."""
    customer = await shop.kept_customer(org)
    product = shop.merchant.v1.products.create({"name": "Parts"}).id
    prices = [a_price(shop, product) for _ in range(20)]
    shop.give_card(customer)
    shop.merchant.v1.subscriptions.create(
        {"customer": customer, "items": [{"price": p, "quantity": 3} for p in prices]}
    )

    await shop.work(customer)

    (bought,) = (await assert_equal(shop, customer))["bought"].values()
    assert {price for _, price, _, _ in bought["items"]} == set(prices)


async def test_more_subscriptions_than_a_page_are_all_kept(shop: Shop, org: Owner) -> None:
    customer = await shop.kept_customer(org)
    for n in range(103):
        sub = shop.subscribe(customer)
        if n % 2:
            shop.merchant.v1.subscriptions.cancel(sub.id)

    await shop.work(customer)

    bought = (await assert_equal(shop, customer))["bought"].values()
    assert sorted({b["status"] for b in bought}) == ["active", "canceled"]
    assert len(bought) == 103


async def test_a_deleted_customer_ends_its_subscriptions_and_keeps_its_history(
    shop: Shop, org: Owner
) -> None:
    """Pain 17: deleting a customer cancels implicitly; lists know it no more."""
    customer = await shop.kept_customer(org)
    shop.subscribe(customer)
    await shop.work(customer)
    shop.merchant.v1.customers.delete(customer)

    await shop.work(customer)

    ours = await assert_equal(shop, customer)
    assert [b["status"] for b in ours["bought"].values()] == ["canceled"]
    assert shop.asked("GET /v1/subscriptions/{id}") > 0
    assert {"customer.deleted", "subscription.status_changed"} <= set(await shop.told())
    told = len(await shop.told())
    await shop.work(customer)
    assert len(await shop.told()) == told


async def test_absence_from_a_list_is_no_end_until_it_is_confirmed(shop: Shop, org: Owner) -> None:
    customer = await shop.kept_customer(org)
    sub = shop.subscribe(customer)
    await shop.work(customer)
    async with shop.db.statement() as tx:  # one that Stripe never had
        await tx.execute(
            "INSERT INTO tenure.subscriptions SELECT (jsonb_populate_record(s,"
            ' \'{"id": "sub_none"}\')).* FROM tenure.subscriptions s'
        )

    await shop.work(customer)

    ours = await assert_equal(shop, customer)
    assert list(ours["bought"]) == [sub.id]
    assert shop.asked("GET /v1/subscriptions/{id}") == 1
    assert (await shop.told())[-1] == "subscription.gone"


async def test_a_customer_made_elsewhere_is_adopted_by_the_owner_its_metadata_names(
    shop: Shop, org: Owner
) -> None:
    """A8: orphans are repaired where that is safe."""
    made = shop.merchant.v1.customers.create(
        {"name": "By hand", "metadata": {"tenure_owner": str(org)}}
    )
    shop.subscribe(made.id)

    await shop.work(made.id)

    await assert_equal(shop, made.id)
    found = await shop.desk.find(org)
    assert found
    assert (found.stripe_customer_id, found.generation) == (made.id, 1)
    told = await shop.told()
    assert told[0] == "customer.adopted"
    assert "subscription.started" in told


async def test_a_customer_of_nobody_or_of_an_owner_who_has_one_is_left_alone(
    shop: Shop, org: Owner
) -> None:
    """Pain 18 (better-auth#9089): never a mix-up between organizations."""
    ours = await shop.kept_customer(org)
    nobody = Owner.named("org:00000000-0000-0000-0000-00000000dead")
    for named in (str(org), str(nobody), "somebody", ""):
        stranger = shop.merchant.v1.customers.create({"metadata": {"tenure_owner": named}}).id
        shop.subscribe(stranger)
        await shop.work(stranger)

    assert await shop.count("stripe_customers") == 1
    assert await shop.count("subscriptions") == 0
    found = await shop.living(org)
    assert found
    assert found.stripe_customer_id == ours
    due = await shop.rows("SELECT id FROM tenure.subjects WHERE dirty_seq > settled_seq")
    assert due == []


async def test_a_webhook_that_is_quicker_than_our_own_commit_makes_no_second_row(
    shop: Shop, org: Owner
) -> None:
    """Pain 5 (cashier#1300): created and updated race."""
    shop.box.fault("timeout", match="POST /v1/customers", seconds=0.7)
    call = asyncio.create_task(shop.customer(org))
    await until(lambda: bool(shop.merchant.v1.customers.list().data))
    (created,) = await knocks(shop, "customer.created")
    await deliver(shop, created)
    adopted = await shop.living(org)

    found = await call

    assert adopted
    assert found.stripe_customer_id == adopted.stripe_customer_id
    assert await shop.count("stripe_customers") == 1
    assert await shop.told() == ["customer.adopted"]


async def test_grace_begins_when_the_oldest_unpaid_invoice_was_asked_for(
    shop: Shop, org: Owner
) -> None:
    """Pain 16 (superset#6732): `past_due_since` stands still while Stripe tries again."""
    customer = await shop.kept_customer(org)
    session = await shop.till.open(org, shop.order(), WISH, actor="test")
    shop.box.pay(session.url, "fails_later")
    shop.box.advance(MONTH)
    (invoice,) = shop.merchant.v1.invoices.list({"customer": customer, "status": "open"}).data
    assert invoice.status_transitions.finalized_at
    since = moment(invoice.status_transitions.finalized_at)

    for _ in range(2):
        await shop.work(customer)
        (row,) = await shop.rows("SELECT status, past_due_since FROM tenure.subscriptions")
        assert (row["status"], row["past_due_since"]) == ("past_due", since)
        shop.box.advance(4 * DAY)

    card = shop.merchant.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    shop.merchant.v1.invoices.pay(str(invoice.id), {"payment_method": card})
    await shop.work(customer)
    (row,) = await shop.rows("SELECT status, past_due_since FROM tenure.subscriptions")
    assert (row["status"], row["past_due_since"]) == ("active", None)


async def test_a_look_that_finds_nothing_new_leaves_no_line_and_no_news(
    shop: Shop, org: Owner
) -> None:
    """A4: the log tells of changes, and of nothing else."""
    customer = await shop.kept_customer(org)
    shop.subscribe(customer)
    await shop.work(customer)
    before = (await shop.told(), await shop.count("news"))

    for _ in range(3):
        await shop.work(customer)

    assert (await shop.told(), await shop.count("news")) == before
    await assert_equal(shop, customer)


async def test_a_changed_name_or_address_at_stripe_reaches_our_row(shop: Shop, org: Owner) -> None:
    """A1, A4: the customer's own fields, its billing address and its metadata."""
    customer = await shop.kept_customer(org)
    address = {"city": "London", "country": "GB"}
    shop.merchant.v1.customers.update(
        customer, {"name": "Countess", "address": address, "metadata": {"tier": "gold"}}
    )

    await shop.work(customer)

    found = await shop.living(org)
    assert found
    assert (found.name, found.metadata["tier"]) == ("Countess", "gold")
    assert found.billing_address
    assert found.billing_address["city"] == "London"
    assert (await shop.told())[-1] == "customer.updated"


async def test_two_owners_are_never_mixed(shop: Shop, org: Owner) -> None:
    """Pain 18: several organizations, each with its own."""
    other = await new_org(shop.db, 2)
    one, two = await shop.kept_customer(org), await shop.kept_customer(other)
    shop.subscribe(one, quantity=1)
    shop.subscribe(two, quantity=2)

    await shop.work(one, two)

    await assert_equal(shop, one)
    await assert_equal(shop, two)
    rows = await shop.rows("SELECT org_id, stripe_customer_id FROM tenure.subscriptions")
    assert {(r["org_id"], r["stripe_customer_id"]) for r in rows} == {
        (org.org_id, one),
        (other.org_id, two),
    }


async def test_a_burst_costs_at_most_two_looks(shop: Shop, org: Owner) -> None:
    """M6: three hundred events on one customer, while a look is under way."""
    customer = await shop.kept_customer(org)
    (first, *_) = await knocks(shop, "customer.created")
    burst = [Knock(**{**_fields(first), "event_id": f"evt_burst{n}"}) for n in range(300)]
    await deliver_at_once(shop, burst[:150])
    shop.box.control("DELETE", "/requests")
    claim = await shop.claim()
    look = asyncio.create_task(shop.finish(claim))
    await deliver_at_once(shop, burst[150:])
    await look

    await shop.work()

    assert shop.asked("GET /v1/customers/{id}") <= 2
    await assert_equal(shop, customer)


def _fields(knock: Knock) -> dict[str, Any]:
    return {name: getattr(knock, name) for name in Knock.__dataclass_fields__}


async def deliver_at_once(shop: Shop, burst: list[Knock]) -> None:
    async with shop.db.statement() as tx:
        await journal.put_knocks(tx, burst)


async def test_the_time_of_a_look_is_taken_before_stripe_is_asked(shop: Shop, org: Owner) -> None:
    customer = await shop.kept_customer(org)
    started = shop.clock.now()
    shop.box.fault("latency", match="GET /v1/customers/", seconds=0.3)
    shop.box.control("DELETE", "/requests")
    look = asyncio.create_task(shop.work(customer))
    await shop.until_asked("GET /v1/customers/{id}")
    shop.clock.tick(timedelta(minutes=1))  # type: ignore[attr-defined]

    await look

    found = await shop.living(org)
    assert found
    assert found.synced_at == started


async def test_grace_begins_at_the_due_date_where_nobody_collects(shop: Shop, org: Owner) -> None:
    """Pain 16: an invoice that is sent is never attempted; its grace must end all the same."""
    customer = await shop.kept_customer(org)
    shop.subscribe(customer, collection_method="send_invoice", days_until_due=5)
    (invoice,) = shop.merchant.v1.invoices.list({"customer": customer, "status": "open"}).data
    assert invoice.due_date
    shop.box.advance(10 * DAY)

    await shop.work(customer)

    (row,) = await shop.rows("SELECT status, past_due_since FROM tenure.subscriptions")
    assert (row["status"], row["past_due_since"]) == ("past_due", moment(invoice.due_date))


async def test_grace_has_a_beginning_that_stands_still_though_no_invoice_names_one(
    shop: Shop, org: Owner, clock: StoppedClock
) -> None:
    """Pain 16: without one the grace would begin anew with every look."""
    customer = await shop.kept_customer(org)
    sub = shop.subscribe(customer, collection_method="send_invoice", days_until_due=5)
    shop.box.advance(10 * DAY)
    (invoice,) = shop.merchant.v1.invoices.list({"customer": customer, "status": "open"}).data
    shop.merchant.v1.invoices.mark_uncollectible(str(invoice.id))
    assert shop.merchant.v1.subscriptions.retrieve(sub.id).status == "past_due"
    first = clock.now()

    for _ in range(2):
        await shop.work(customer)
        (row,) = await shop.rows("SELECT past_due_since FROM tenure.subscriptions")
        assert row["past_due_since"] == first
        clock.tick(timedelta(days=1))
