from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenure.base.db import Tx
from tenure.billing import copies, rules, store
from tenure.billing.model import Customer, Owner, Status, Subscription
from tenure.gate import store as gate
from tenure.identity.model import OrgId, UserId

from .builders import NOON, a_subscription, an_account, names
from .shop import a_person, put_org, put_user
from .test_copies import BLANK

ORG_ID, USER_ID = OrgId(UUID(int=0xA001)), UserId(UUID(int=0xB001))
IN_ORG, ALONE = a_person("1", org="1"), a_person("1")
OWNERS = (Owner(org_id=ORG_ID, user_id=None), Owner(org_id=None, user_id=USER_ID))

tied = st.builds(
    a_subscription,
    id=names.map(lambda n: f"sub_{n}"),
    status=st.sampled_from(Status),
    created_at=st.sampled_from([NOON, NOON + timedelta(seconds=1), NOON + timedelta(days=40)]),
    cancel_at=st.none() | st.just(NOON + timedelta(days=3)),
    cancel_at_period_end=st.booleans(),
    past_due_since=st.none() | st.just(NOON),
)
sets = st.lists(tied, max_size=6, unique_by=lambda s: s.id)


async def given_people(tx: Tx) -> None:
    await put_user(tx, USER_ID, ALONE)
    await put_org(tx, ORG_ID, IN_ORG)
    await tx.execute(
        """
        INSERT INTO tenure.memberships (id, org_id, user_id, role, status, created_at, updated_at)
        VALUES (gen_random_uuid(), %s, %s, 'admin', 'active', now(), now())
        """,
        (ORG_ID, USER_ID),
    )


async def put(tx: Tx, owner: Owner, number: int, bought: list[Subscription]) -> None:
    """Put a customer; one with an odd number is deleted already."""
    name = f"cus_{number}"
    new = Customer.new(
        UUID(int=number),
        owner,
        BLANK,
        stripe_customer_id=name,
        livemode=False,
        generation=number,
        at=NOON,
    )
    assert await store.put_customer(tx, new)
    profile = None if number % 2 else BLANK
    account = an_account(stripe_customer_id=name, subscriptions=tuple(bought), profile=profile)
    await store.put_profile(tx, account)
    await copies.put_account(tx, account, owner, fence=1)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sets, sets, sets)
async def test_the_gate_chooses_the_subscription_that_the_rules_choose(
    tx: Tx, of_org: list[Subscription], older: list[Subscription], of_user: list[Subscription]
) -> None:
    """M6, pain 18: one choice, in SQL and in Python, over every customer the owner ever had."""
    older = [replace(s, id=f"{s.id}old") for s in older]
    of_user = [replace(s, id=f"{s.id}user") for s in of_user]
    async with tx.transaction(force_rollback=True):
        await given_people(tx)
        await put(tx, OWNERS[0], 1, older)
        await put(tx, OWNERS[0], 2, of_org)
        await put(tx, OWNERS[1], 4, of_user)
        for who, bought in ((IN_ORG, [*of_org, *older]), (ALONE, of_user)):
            facts = await gate.get_facts(tx, who, livemode=False, at=NOON)

            wanted = rules.chosen(bought)
            assert (facts.bought and facts.bought.id) == (wanted and wanted.id)
            if facts.bought and wanted:
                assert facts.bought.ends_at == wanted.ends_at
                assert facts.bought.past_due_since == wanted.past_due_since


async def test_the_other_mode_is_another_world_to_the_gate(tx: Tx) -> None:
    await given_people(tx)
    await put(tx, OWNERS[0], 2, [a_subscription()])

    facts = await gate.get_facts(tx, IN_ORG, livemode=True, at=NOON)

    assert facts.bought is None
