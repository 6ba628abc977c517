"""One SELECT for all facts: whose they are, and which subscription speaks."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tenure.base.db import Tx
from tenure.base.ids import CountedIds
from tenure.billing import rules
from tenure.billing.model import Status, Subscription
from tenure.gate import store
from tenure.gate.model import Facts
from tenure.identity.claims import Principal
from tests.gate.builders import NOW, Row, put_customer, put_subscription

ORG, OTHER_ORG, ADA, BOB = (UUID(int=100 + n) for n in range(4))


@pytest.fixture
async def people(tx: Tx) -> Tx:
    """Ada is an admin of the organization; Bob was a member of it."""
    for org in (ORG, OTHER_ORG):
        await tx.execute(
            "INSERT INTO tenure.organizations VALUES (%s, 'A', NULL, now(), now())", (org,)
        )
        await _name(tx, f"org_{org.int}", org=org)
    for user, role, status in ((ADA, "admin", "active"), (BOB, "member", "inactive")):
        await tx.execute("INSERT INTO tenure.users VALUES (%s, NULL, NULL, now(), now())", (user,))
        await _name(tx, f"user_{user.int}", user=user)
        await tx.execute(
            """
            INSERT INTO tenure.memberships VALUES (%s, %s, %s, %s, %s, false, now(), now())
            """,
            (CountedIds(user.int).uuid(), ORG, user, role, status),
        )
    return tx


async def _name(tx: Tx, name: str, *, org: UUID | None = None, user: UUID | None = None) -> None:
    await tx.execute(
        "INSERT INTO tenure.identities VALUES ('clerk', %s, %s, %s, now())", (name, org, user)
    )


def whose(user: UUID, org: UUID | None = ORG, **changes: Any) -> Principal:
    base: dict[str, Any] = {
        "provider": "clerk",
        "issuer": "https://clerk.example.com",
        "user_id": f"user_{user.int}",
        "session_id": "sess_1",
        "org_id": f"org_{org.int}" if org else None,
        "org_slug": None,
        "role": "admin",
        "permissions": frozenset(),
        "actor": None,
        "issued_at": NOW,
        "expires_at": NOW + timedelta(minutes=1),
    }
    return Principal(**base | changes)


async def read(tx: Tx, who: Principal, *, livemode: bool = False) -> Facts:
    return await store.get_facts(tx, who, livemode=livemode, at=NOW)


async def test_the_role_is_our_row_s(people: Tx) -> None:
    facts = await read(people, whose(ADA, role="member"))

    assert (facts.user_id, facts.org_id, facts.role) == (ADA, ORG, "admin")


async def test_a_removed_member_has_no_role_whatever_the_token_says(people: Tx) -> None:
    facts = await read(people, whose(BOB, role="admin"))

    assert (facts.user_id, facts.org_id, facts.role) == (BOB, ORG, None)


async def test_another_organization_gives_no_role(people: Tx) -> None:
    assert (await read(people, whose(ADA, OTHER_ORG))).role is None


async def test_a_stranger_is_nobody(people: Tx) -> None:
    facts = await read(people, whose(UUID(int=999), UUID(int=998)))

    assert (facts.user_id, facts.org_id, facts.role, facts.bought) == (None, None, None, None)


async def test_the_same_id_at_another_provider_is_somebody_else(people: Tx) -> None:
    assert (await read(people, whose(ADA, provider="workos"))).user_id is None


async def test_an_organization_s_subscription_is_not_its_member_s_own(people: Tx) -> None:
    await put_subscription(
        people, await put_customer(people, org_id=ORG), Row(features=["reports"])
    )

    with_org, alone = await read(people, whose(ADA)), await read(people, whose(ADA, None))

    assert with_org.bought is not None
    assert with_org.features == {"reports"}
    assert (alone.bought, alone.features) == (None, frozenset())


async def test_a_person_s_own_subscription_opens_nothing_for_her_organization(people: Tx) -> None:
    await put_subscription(people, await put_customer(people, user_id=ADA), Row(features=["x"]))

    with_org, alone = await read(people, whose(ADA)), await read(people, whose(ADA, None))

    assert (with_org.bought, with_org.features) == (None, frozenset())
    assert alone.bought is not None


async def test_the_other_mode_opens_nothing(people: Tx) -> None:
    customer = await put_customer(people, org_id=ORG, livemode=True)
    await put_subscription(people, customer, Row(features=["reports"]))

    test, live = await read(people, whose(ADA)), await read(people, whose(ADA), livemode=True)

    assert (test.bought, test.features) == (None, frozenset())
    assert live.bought is not None


@pytest.mark.parametrize(
    ("row", "ends_in"),
    [
        (Row(cancel_at=NOW + timedelta(hours=5)), 5),
        (Row(cancel_at_period_end=True, current_period_end=NOW + timedelta(hours=7)), 7),
        (Row(current_period_end=NOW + timedelta(hours=7)), None),
    ],
    ids=["cancel_at", "cancel_at_period_end", "neither"],
)
async def test_both_of_stripe_s_ways_to_end_are_one(
    people: Tx, row: Row, ends_in: int | None
) -> None:
    await put_subscription(people, await put_customer(people, org_id=ORG), row)

    bought = (await read(people, whose(ADA))).bought

    assert bought is not None
    assert bought.ends_at == (NOW + timedelta(hours=ends_in) if ends_in else None)


@pytest.mark.parametrize("seed", range(25))
async def test_the_subscription_that_speaks_is_the_one_of_the_rules(people: Tx, seed: int) -> None:
    """M6: the SELECT and `billing.rules.chosen` agree on every set of subscriptions."""
    statuses = list(Status)
    several = [
        Row(
            id=f"sub_{n}",
            status=statuses[(seed * 7 + n * n * 3 + n) % 8].value,
            created_at=NOW + timedelta(hours=(seed + n) % 3),
        )
        for n in range(seed % 5 + 1)
    ]
    customer = await put_customer(people, org_id=ORG)
    for row in several:
        await put_subscription(people, customer, row)

    bought = (await read(people, whose(ADA))).bought

    wanted = rules.chosen([_subscription(row) for row in several])
    assert bought is not None
    assert wanted is not None
    assert bought.id == wanted.id


def _subscription(row: Row) -> Subscription:
    return Subscription(
        id=row.id,
        status=Status(row.status),
        collection_paused=False,
        current_period_start=None,
        current_period_end=None,
        trial_end=None,
        past_due_since=None,
        cancel_at=None,
        cancel_at_period_end=False,
        canceled_at=None,
        ended_at=None,
        created_at=row.created_at,
    )
