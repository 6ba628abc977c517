"""Get or create, while everything goes well and while Stripe does not."""

import asyncio
import uuid
from datetime import timedelta

import pytest

from tenure.base.clock import StoppedClock
from tenure.base.db import Db
from tenure.base.errors import TenureError
from tenure.billing import store
from tenure.billing.customers import Wish
from tenure.billing.errors import (
    ModeMixUp,
    Refused,
    StripeAway,
    StripeBusy,
    StripeFailed,
    StripeKeyRefused,
)
from tenure.billing.model import Customer, Owner
from tenure.billing.projection import profile
from tenure.journal import audit

from .shop import WISH, Shop, new_org, new_user, until

A_DAY_LATER = timedelta(hours=25)


def made_at_stripe(shop: Shop) -> list[str]:
    return [c.id for c in shop.merchant.v1.customers.list({"limit": 100}).auto_paging_iter()]


async def generations(shop: Shop) -> list[int]:
    rows = await shop.rows("SELECT generation FROM tenure.customer_intents ORDER BY generation")
    return [row["generation"] for row in rows]


async def nothing_half_written(shop: Shop) -> None:
    for table in ("stripe_customers", "audit_log", "news", "subjects", "leases"):
        assert await shop.count(table) == 0, table


@pytest.mark.parametrize("owned_by", [new_org, new_user])
async def test_twenty_calls_at_once_make_one_customer(shop: Shop, owned_by: type) -> None:
    """T4, A6, pain 15: double clicks make one customer, in Stripe and in the table."""
    owner = await owned_by(shop.db)

    calls = [shop.desk.ensure(owner, WISH, actor="user:1") for _ in range(20)]
    found = await asyncio.gather(*calls)

    assert len({customer.stripe_customer_id for customer, _ in found}) == 1
    assert [made for _, made in found].count(True) == 1
    assert made_at_stripe(shop) == [found[0][0].stripe_customer_id]
    assert await shop.count("stripe_customers") == 1
    assert await shop.told() == ["customer.created"]
    assert await shop.count("news") == 1
    assert shop.asked("POST /v1/customers") == 1


async def test_a_new_customer_is_named_at_stripe_and_told_with_its_actor(
    shop: Shop, org: Owner, clock: StoppedClock
) -> None:
    """A4: creation is in the audit log with time and actor."""
    wish = Wish(email="ada@example.com", name="Ada", metadata={"clerk_org": "org_1"})

    made, fresh = await shop.desk.ensure(org, wish, actor="user:7")

    assert fresh
    seen = shop.merchant.v1.customers.retrieve(made.stripe_customer_id)
    assert (seen.email, seen.name) == ("ada@example.com", "Ada")
    assert seen.metadata
    assert seen.metadata.to_dict() == {
        "clerk_org": "org_1",
        "tenure_owner": str(org),
        "tenure_generation": "1",
    }
    assert org.org_id
    async with shop.db.statement() as tx:
        (line,) = await audit.list_lines(tx, org.org_id)
        assert await audit.broken_links(tx) == []
    assert (line.actor, line.at, line.subject) == ("user:7", clock.now(), made.stripe_customer_id)
    assert made.sync_status == "pending"
    await shop.work()
    found = await shop.living(org)
    assert found
    assert (found.sync_status, found.synced_at) == ("synced", clock.now())


async def test_a_customer_that_is_there_costs_no_call(shop: Shop, org: Owner) -> None:
    first = await shop.customer(org)
    before = shop.box.requests()

    again, made = await shop.desk.ensure(org, Wish(name="Other"), actor="test")

    assert (again.stripe_customer_id, made) == (first.stripe_customer_id, False)
    assert shop.box.requests() == before


async def test_no_customer_is_made_before_it_is_needed(shop: Shop, org: Owner) -> None:
    """A2: looking for one makes none."""
    assert await shop.desk.find(org) is None
    assert made_at_stripe(shop) == []


async def test_two_owners_have_two_customers(shop: Shop, org: Owner) -> None:
    other, person = await new_org(shop.db, 2), await new_user(shop.db)

    found = {(await shop.customer(o)).stripe_customer_id for o in (org, other, person)}

    assert len(found) == 3


async def test_an_answer_that_never_came_is_asked_for_again_under_the_same_key(
    shop: Shop, org: Owner
) -> None:
    """T4: Stripe acted, but its answer was lost."""
    shop.box.fault("timeout", match="POST /v1/customers", count=1, seconds=20)

    async with shop.other(timeout=0.4) as hasty:
        made = await hasty.customer(org)

    assert made_at_stripe(shop) == [made.stripe_customer_id]
    assert await generations(shop) == [1]


async def test_a_saved_failure_is_final_for_its_key_and_what_it_made_is_adopted(
    shop: Shop, org: Owner
) -> None:
    """T4: Stripe made the customer, saved a 500, and replays it for ever."""
    shop.box.fault("cached_500", match="POST /v1/customers")

    made, fresh = await shop.desk.ensure(org, WISH, actor="test")

    assert fresh
    assert made_at_stripe(shop) == [made.stripe_customer_id]
    assert await generations(shop) == [1]


async def test_a_saved_failure_that_made_nothing_takes_a_new_generation(
    shop: Shop, org: Owner
) -> None:
    shop.box.fault("cached_500", match="POST /v1/customers")
    await shop.desk.ensure(org, WISH, actor="test")
    (gone,) = made_at_stripe(shop)
    shop.merchant.v1.customers.delete(gone)
    async with shop.db.statement() as tx:  # as if our commit had been lost as well
        await tx.execute("DELETE FROM tenure.stripe_customers")

    made, _ = await shop.desk.ensure(org, WISH, actor="test")

    assert made_at_stripe(shop) == [made.stripe_customer_id]
    assert made.stripe_customer_id != gone
    assert await generations(shop) == [1, 2]


async def given_up_halfway(shop: Shop, owner: Owner) -> str:
    """Let Stripe make the customer, and lose our side's memory of everything but the intent."""
    made = await shop.customer(owner)
    async with shop.db.statement() as tx:
        await tx.execute("DELETE FROM tenure.stripe_customers")
    return made.stripe_customer_id


async def test_when_the_key_is_too_old_the_customer_is_found_by_list_and_adopted(
    shop: Shop, org: Owner, clock: StoppedClock
) -> None:
    """T4, A8: after 24 h the key protects nothing; an orphan is adopted, not doubled."""
    orphan = await given_up_halfway(shop, org)
    for n in range(120):  # more than a page in front of it
        shop.merchant.v1.customers.create({"name": f"Later {n}"})
    clock.tick(A_DAY_LATER)
    shop.box.advance(int(A_DAY_LATER.total_seconds()))

    made, _ = await shop.desk.ensure(org, WISH, actor="test")

    assert made.stripe_customer_id == orphan
    assert shop.asked("POST /v1/customers") == 121
    assert await generations(shop) == [1]


async def test_when_the_key_is_too_old_and_nothing_is_found_a_new_generation_is_made(
    shop: Shop, org: Owner, clock: StoppedClock
) -> None:
    orphan = await given_up_halfway(shop, org)
    shop.merchant.v1.customers.delete(orphan)
    clock.tick(A_DAY_LATER)

    made, _ = await shop.desk.ensure(org, WISH, actor="test")

    assert made_at_stripe(shop) == [made.stripe_customer_id]
    assert (made.generation, await generations(shop)) == (2, [1, 2])


async def test_a_customer_of_another_owner_or_generation_is_never_adopted(
    shop: Shop, org: Owner, clock: StoppedClock
) -> None:
    """Pain 18: no mix-ups between organizations."""
    orphan = await given_up_halfway(shop, org)
    metadata = {"tenure_owner": str(org), "tenure_generation": "9"}
    shop.merchant.v1.customers.update(orphan, {"metadata": metadata})
    clock.tick(A_DAY_LATER)

    made, _ = await shop.desk.ensure(org, WISH, actor="test")

    assert made.stripe_customer_id != orphan


async def test_a_deleted_customer_becomes_a_tombstone_and_the_next_is_of_a_new_generation(
    shop: Shop, org: Owner
) -> None:
    """T4, pain 17 (airwaylab#29, dj-stripe#916): a deleted customer must not break checkout."""
    first = await shop.kept_customer(org)
    shop.merchant.v1.customers.delete(first)
    await shop.work(first)
    assert await shop.living(org) is None

    second, fresh = await shop.desk.ensure(org, WISH, actor="test")

    assert fresh
    assert (second.generation, second.stripe_customer_id != first) == (2, True)
    assert made_at_stripe(shop) == [second.stripe_customer_id]
    rows = await shop.rows(
        "SELECT generation, deleted_at IS NULL AS lives FROM tenure.stripe_customers ORDER BY 1"
    )
    assert [tuple(row.values()) for row in rows] == [(1, False), (2, True)]
    assert await shop.told() == ["customer.created", "customer.deleted", "customer.created"]


async def test_deleted_before_we_ever_looked_the_customer_heals_within_one_look(
    shop: Shop, org: Owner
) -> None:
    orphan = await given_up_halfway(shop, org)
    shop.merchant.v1.customers.delete(orphan)
    replayed = await shop.customer(org)  # the key still gives the answer of that time
    assert replayed.stripe_customer_id == orphan
    await shop.work()

    made = await shop.customer(org)

    assert made_at_stripe(shop) == [made.stripe_customer_id]


async def as_if_of_test_mode(shop: Shop, owner: Owner) -> str:
    """Make a customer in live mode, and write it down as one of test mode."""
    async with shop.other(secret_key="sk_live_sandbox", timeout=5) as live:
        raw = await live.stripe.call("post", "/v1/customers", name="Ada")
    row = Customer.new(
        uuid.UUID(int=1), owner, profile(raw), stripe_customer_id=raw["id"], livemode=False,
        generation=1, at=shop.clock.now(),
    )  # fmt: skip
    async with shop.db.statement() as tx:
        assert await store.put_customer(tx, row)
    return row.stripe_customer_id


async def test_a_customer_of_the_other_mode_is_named_and_never_replaced_in_silence(
    shop: Shop, org: Owner
) -> None:
    """T4, A8: test and live mixed up."""
    mixed = await as_if_of_test_mode(shop, org)
    await shop.work(mixed)
    await shop.work(mixed)

    with pytest.raises(ModeMixUp, match=mixed):
        await shop.desk.ensure(org, WISH, actor="test")

    (row,) = await shop.rows("SELECT sync_status, sync_error FROM tenure.stripe_customers")
    assert row == {"sync_status": "missing", "sync_error": "it is in Stripe's other mode"}
    assert await shop.told() == ["customer.missing"]
    assert made_at_stripe(shop) == []


async def test_a_customer_that_stripe_never_had_is_missing_until_it_is_seen(
    shop: Shop, org: Owner
) -> None:
    first = await shop.kept_customer(org)
    async with shop.db.statement() as tx:
        await tx.execute("UPDATE tenure.stripe_customers SET stripe_customer_id = 'cus_none'")
    await shop.work("cus_none")
    with pytest.raises(ModeMixUp, match="cus_none"):
        await shop.desk.find(org)
    async with shop.db.statement() as tx:
        await tx.execute("UPDATE tenure.stripe_customers SET stripe_customer_id = %s", (first,))

    await shop.work(first)

    found = await shop.desk.find(org)
    assert found
    assert found.sync_status == "synced"


FAULTS = [
    ("429", StripeBusy),
    ("lock_timeout", StripeBusy),
    ("500", StripeFailed),
]


@pytest.mark.parametrize(("name", "error"), FAULTS)
async def test_trouble_at_stripe_is_an_error_of_ours_and_leaves_nothing_half_written(
    shop: Shop, org: Owner, name: str, error: type[TenureError]
) -> None:
    """T5: Stripe slow, 429 or 500; then the next call makes one customer."""
    shop.box.fault(name, match="POST /v1/customers", count=-1, seconds=1)

    async with shop.other(timeout=5) as hasty:
        with pytest.raises(error):
            await hasty.customer(org)

    await nothing_half_written(shop)
    shop.box.control("DELETE", "/faults")
    made = await shop.customer(org)
    assert made_at_stripe(shop) == [made.stripe_customer_id]


async def test_a_key_that_is_still_in_use_is_not_spent(shop: Shop, org: Owner) -> None:
    """T4: Stripe is slower than we wait, and answers the retry with 409."""
    shop.box.fault("latency", match="POST /v1/customers", seconds=3)

    async with shop.other() as hasty:
        with pytest.raises(StripeBusy):
            await hasty.customer(org)

    assert await generations(shop) == [1]
    await until(lambda: bool(made_at_stripe(shop)))
    made = await shop.customer(org)
    assert made_at_stripe(shop) == [made.stripe_customer_id]


async def test_stripe_away_is_an_error_of_ours_and_leaves_nothing_half_written(
    shop: Shop, org: Owner
) -> None:
    async with shop.other(api_base="http://127.0.0.1:9") as lost:
        with pytest.raises(StripeAway) as away:
            await lost.customer(org)

    assert "127.0.0.1" not in str(away.value)
    await nothing_half_written(shop)


async def test_a_key_that_stripe_refuses_is_our_trouble(shop: Shop, org: Owner) -> None:
    """T5: not the caller's fault."""
    async with shop.other(secret_key="nonsense", timeout=5) as strange:
        with pytest.raises(StripeKeyRefused):
            await strange.customer(org)

    await nothing_half_written(shop)


async def test_a_refused_wish_names_its_field_and_does_not_bind_a_better_one(
    shop: Shop, org: Owner
) -> None:
    """T5: what Stripe refuses is the caller's to mend, and at once."""
    with pytest.raises(Refused) as refused:
        await shop.desk.ensure(org, Wish(email="nobody"), actor="test")
    assert refused.value.facts["param"] == "email"
    await nothing_half_written(shop)

    made, _ = await shop.desk.ensure(org, WISH, actor="test")

    assert made.email == "ada@example.com"


async def test_no_session_waits_inside_a_transaction_while_stripe_is_slow(
    shop: Shop, org: Owner, db: Db
) -> None:
    """No network while a transaction is open."""
    shop.box.fault("latency", match="POST /v1/customers", seconds=0.5)
    call = asyncio.create_task(shop.desk.ensure(org, WISH, actor="test"))
    await shop.until_asked("POST /v1/customers")

    seen = []
    while not call.done():
        seen += await open_transactions(db)
        await asyncio.sleep(0.02)

    await call
    assert seen == []


async def open_transactions(db: Db) -> list[object]:
    """List sessions that sit inside a transaction, longer than between two of its statements."""
    async with db.statement() as tx:
        cur = await tx.execute(
            "SELECT state, query FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
            " AND state_change < clock_timestamp() - interval '150 ms'"
        )
        return list(await cur.fetchall())


async def made_at_the_second_try(shop: Shop, owner: Owner) -> str:
    """Let Stripe save a failure for the first key, and make a customer for the second."""
    shop.box.fault("cached_500", match="POST /v1/customers")
    shop.merchant.v1.customers.delete((await shop.customer(owner)).stripe_customer_id)
    async with shop.db.statement() as tx:
        await tx.execute("DELETE FROM tenure.stripe_customers")
    return await given_up_halfway(shop, owner)


async def test_a_refused_wish_binds_nobody_though_an_earlier_try_of_it_failed(
    shop: Shop, org: Owner
) -> None:
    """T5: Stripe saved a failure for the first key, and refused the second."""
    await made_at_the_second_try(shop, org)
    async with shop.db.statement() as tx:
        await tx.execute(
            """
            UPDATE tenure.customer_intents SET params = params || '{"email": "nobody"}',
                   idempotency_key = CASE generation WHEN 1 THEN idempotency_key ELSE 'fresh' END
            """
        )
    with pytest.raises(Refused):
        await shop.desk.ensure(org, Wish(email="nobody"), actor="test")

    made, _ = await shop.desk.ensure(org, WISH, actor="test")

    assert made.email == "ada@example.com"


async def test_what_the_writer_adopted_at_a_later_try_is_not_replayed_once_it_is_deleted(
    shop: Shop, org: Owner
) -> None:
    """T4, pain 17: the first key failed, and the second's maker died before it was kept."""
    orphan = await made_at_the_second_try(shop, org)
    await shop.work(orphan)
    shop.merchant.v1.customers.delete(orphan)
    await shop.work(orphan)

    made = await shop.customer(org)

    assert made_at_stripe(shop) == [made.stripe_customer_id]
