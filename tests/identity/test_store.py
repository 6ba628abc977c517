from uuid import UUID

import psycopg
import pytest

from tenure.base.clock import StoppedClock
from tenure.base.db import Tx
from tenure.identity import store
from tenure.identity.model import Organization, OrgId, User, UserId
from tenure.identity.store import Known

from .test_arrive import a_principal

ADA = User(id=UserId(UUID(int=1)), email="ada@example.test", name="Ada")
ENGINES = Organization(id=OrgId(UUID(int=2)), name="Engines", slug="engines")
NOBODY = Known(user_id=None, org_id=None, role=None, member=False)


async def put_both(tx: Tx, clock: StoppedClock) -> None:
    await store.put_user(tx, ADA, a_principal(), at=clock.now())
    await store.put_organization(tx, ENGINES, a_principal(), at=clock.now())


async def join(tx: Tx, clock: StoppedClock, *, role: str) -> None:
    await store.put_membership(tx, UUID(int=3), ENGINES.id, ADA.id, role=role, at=clock.now())


async def test_what_was_put_is_got(tx: Tx, clock: StoppedClock) -> None:
    await put_both(tx, clock)

    assert await store.get_user(tx, ADA.id) == ADA
    assert await store.get_organization(tx, ENGINES.id) == ENGINES


async def test_what_nobody_put_is_not_there(tx: Tx) -> None:
    assert await store.get_user(tx, ADA.id) is None
    assert await store.get_organization(tx, ENGINES.id) is None
    assert await store.get_known(tx, a_principal()) == NOBODY


async def test_each_part_of_a_token_is_found_by_itself(tx: Tx, clock: StoppedClock) -> None:
    await put_both(tx, clock)

    strangers = Known(user_id=ADA.id, org_id=ENGINES.id, role=None, member=False)
    assert await store.get_known(tx, a_principal()) == strangers
    alone = await store.get_known(tx, a_principal(org_id=None))
    assert (alone.user_id, alone.org_id) == (ADA.id, None)
    assert await store.get_known(tx, a_principal(provider="workos")) == NOBODY


async def test_a_membership_that_stands_is_left_as_it_is(tx: Tx, clock: StoppedClock) -> None:
    await put_both(tx, clock)
    await join(tx, clock, role="admin")
    await join(tx, clock, role="member")

    known = await store.get_known(tx, a_principal())

    assert (known.role, known.member) == ("admin", True)


async def test_an_inactive_membership_has_no_role(tx: Tx, clock: StoppedClock) -> None:
    await put_both(tx, clock)
    await join(tx, clock, role="admin")
    await tx.execute("UPDATE tenure.memberships SET status = 'inactive'")

    known = await store.get_known(tx, a_principal())

    assert (known.role, known.member) == (None, True)


async def test_a_providers_id_names_one_of_us(tx: Tx, clock: StoppedClock) -> None:
    """A8: a second row for the same id is refused by the database."""
    await put_both(tx, clock)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await store.put_user(
            tx, User(id=UserId(UUID(int=9)), email=None, name=None), a_principal(), at=clock.now()
        )


async def test_a_providers_own_form_of_a_role_is_refused(tx: Tx, clock: StoppedClock) -> None:
    await put_both(tx, clock)
    with pytest.raises(psycopg.errors.CheckViolation):
        await join(tx, clock, role="org:admin")
