import uuid
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings

from tenure.base.db import Tx
from tenure.billing import copies, store
from tenure.billing.model import Account, Customer, PaymentMethod, Profile

from .builders import NOON, ORG, accounts, an_account

FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
BLANK = Profile(
    email=None, name=None, default_payment_method=None, metadata={}, billing_address=None
)


async def given_customer(tx: Tx) -> Customer:
    assert ORG.org_id
    await tx.execute(
        "INSERT INTO tenure.organizations VALUES (%s, 'Org', NULL, now(), now())", (ORG.org_id,)
    )
    new = Customer.new(
        ORG.org_id, ORG, BLANK, stripe_customer_id="cus_1", livemode=False, generation=1, at=NOON
    )
    assert await store.put_customer(tx, new)
    return new


async def kept(tx: Tx) -> Account:
    found = await store.get_by_stripe_id(tx, "cus_1")
    assert found
    return await copies.get_account(tx, found)


async def put(tx: Tx, account: Account, fence: int = 1) -> None:
    await store.put_profile(tx, account)
    await copies.put_account(tx, account, ORG, fence=fence)


def sorted_parts(account: Account) -> Account:
    return replace(
        account,
        subscriptions=tuple(
            replace(s, items=tuple(sorted(s.items, key=lambda i: i.id)))
            for s in sorted(account.subscriptions, key=lambda s: s.id)
        ),
        entitlements=tuple(sorted(account.entitlements, key=lambda e: e.lookup_key)),
        payment_methods=tuple(sorted(account.payment_methods, key=lambda m: m.id)),
    )


@FEW
@given(accounts, accounts)
async def test_what_a_look_saw_is_what_the_tables_hold_whatever_they_held_before(
    tx: Tx, before: Account, seen: Account
) -> None:
    async with tx.transaction(force_rollback=True):
        await given_customer(tx)
        await put(tx, before)
        await put(tx, seen, fence=2)

        assert sorted_parts(await kept(tx)) == sorted_parts(seen)


async def test_a_deleted_customer_keeps_who_it_was_and_stays_deleted_since_the_first_look(
    tx: Tx,
) -> None:
    await given_customer(tx)
    await put(tx, an_account())
    gone = an_account(profile=None)
    await put(tx, gone)
    await put(tx, replace(gone, looked_at=NOON.replace(hour=13)))

    found = await store.get_by_stripe_id(tx, "cus_1")

    assert found
    assert (found.deleted_at, found.name, found.email) == (NOON, "Ada", "ada@example.com")


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("stripe_customer_id", "acct_1", "valid_stripe_id"),
        ("stripe_customer_id", "cus_1; DROP", "valid_stripe_id"),
        ("default_payment_method", "tok_1", "valid_payment_method"),
        ("user_id", ORG.org_id, "one_owner"),
        ("org_id", None, "one_owner"),
        ("generation", 0, "stripe_customers_generation_check"),
        ("sync_status", "fine", "stripe_customers_sync_status_check"),
    ],
)
async def test_a_malformed_customer_cannot_be_stored(
    tx: Tx, column: str, value: object, rule: str
) -> None:
    """A1, A8: malformed ids and rows without one owner each have a constraint."""
    await given_customer(tx)
    query = psycopg.sql.SQL("UPDATE tenure.stripe_customers SET {} = %s").format(
        psycopg.sql.Identifier(column)
    )
    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        await tx.execute(query, (value,))
    assert refused.value.diag.constraint_name == rule


async def test_an_owner_has_one_living_customer_and_a_stripe_id_one_owner(tx: Tx) -> None:
    """A8: duplicates have a constraint."""
    first = await given_customer(tx)
    second = replace(first, id=uuid.UUID(int=2), stripe_customer_id="cus_2", generation=2)
    taken = replace(first, id=uuid.UUID(int=3), livemode=True)

    assert not await store.put_customer(tx, second)
    assert not await store.put_customer(tx, taken)
    await store.put_profile(tx, an_account(profile=None))
    assert await store.put_customer(tx, second)


async def test_a_payment_method_that_was_made_anew_under_its_id_is_kept_as_it_is_now(
    tx: Tx,
) -> None:
    await given_customer(tx)
    method = PaymentMethod(
        id="pm_1",
        kind="card",
        brand=None,
        last4=None,
        exp_month=None,
        exp_year=None,
        created_at=NOON,
    )
    later = replace(method, created_at=NOON + timedelta(days=1))

    for now in (method, later):
        await put(tx, an_account(payment_methods=(now,)))
        assert (await kept(tx)).payment_methods == (now,)
