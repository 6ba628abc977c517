"""Users, organizations and identities, as rows."""

import psycopg
import pytest

from tenure.base.db import Db, Tx
from tenure.identity import store
from tenure.identity.model import OrgId, SeenUser, UserId
from tenure.identity.store import Known, KnownOrganization, KnownUser

from .builders import NOON, Registry, a_membership, a_user, an_org, at, gone
from .test_arrive import a_principal

NOBODY = Known(user_id=None, org_id=None, role=None, member=False)


@pytest.fixture
def ours(db: Db) -> Registry:
    return Registry(db=db)


async def known(ours: Registry, **changes: object) -> Known:
    async with ours.db.statement() as tx:
        return await store.get_known(tx, a_principal(**changes))


async def test_what_was_put_is_got(ours: Registry) -> None:
    await ours.put_user(a_user(email="ada@example.test", name="Ada"))
    await ours.put_org(an_org(name="Engines", slug="engines"))
    user_id, org_id = await ours.user_id(), await ours.org_id()
    assert user_id
    assert org_id

    async with ours.db.transaction() as tx:
        user, org = await store.get_user(tx, user_id), await store.get_organization(tx, org_id)
        users = await store.list_users(tx, "clerk", ["user_1", "user_2"])
        orgs = await store.list_organizations(tx, "clerk", ["org_1"])
        names = await store.external_ids(tx, "clerk", org_id=org_id, user_id=user_id)

    assert user
    assert org
    assert (user.email, user.name, org.name, org.slug) == (
        "ada@example.test",
        "Ada",
        "Engines",
        "engines",
    )
    assert users == {
        "user_1": KnownUser(
            id=user_id,
            email="ada@example.test",
            name="Ada",
            blocked=False,
            version=NOON,
            deleted_at=None,
        )
    }
    assert orgs["org_1"] == KnownOrganization(
        id=org_id, name="Engines", slug="engines", version=NOON, deleted_at=None
    )
    assert names == ("org_1", "user_1")


async def test_what_nobody_put_is_not_there(ours: Registry, tx: Tx, ids: object) -> None:
    some = ids.uuid()  # type: ignore[attr-defined]

    assert await store.get_user(tx, UserId(some)) is None
    assert await store.get_organization(tx, OrgId(some)) is None
    assert await store.list_named(tx, "clerk", ["user_1"]) == set()
    assert await known(ours) == NOBODY


async def test_each_part_of_a_token_is_found_by_itself(ours: Registry) -> None:
    await ours.put_user(a_user())
    await ours.put_org(an_org())

    both = await known(ours)
    assert (both.user_id, both.org_id) == (await ours.user_id(), await ours.org_id())
    assert (both.role, both.member, both.buried) == (None, False, False)
    alone = await known(ours, org_id=None)
    assert (alone.user_id, alone.org_id) == (both.user_id, None)
    assert await known(ours, provider="workos") == NOBODY


async def test_an_inactive_membership_has_no_role(ours: Registry) -> None:
    await ours.put(a_membership(role="admin"))
    assert (await known(ours)).role == "admin"
    await ours.drop(gone())

    found = await known(ours)
    assert (found.role, found.member, found.buried) == (None, True, True)


@pytest.mark.parametrize("over", ["user", "org"])
async def test_whoever_was_deleted_is_known_to_be(ours: Registry, over: str) -> None:
    """M6: even one of whom nothing but the deletion ever came."""
    await (ours.drop_user(at=at(0)) if over == "user" else ours.drop_org(at=at(0)))

    assert (await known(ours)).buried


async def test_a_providers_id_names_one_of_us(ours: Registry, tx: Tx) -> None:
    """A8: a second row for the same id is refused by the database."""
    mine: tuple[UserId, SeenUser] = (UserId(ours.ids.uuid()), a_user())
    other: tuple[UserId, SeenUser] = (UserId(ours.ids.uuid()), a_user())
    await store.put_users(tx, "clerk", [mine], at=NOON)

    with pytest.raises(psycopg.errors.UniqueViolation):
        await store.put_users(tx, "clerk", [other], at=NOON)


async def test_a_providers_own_form_of_a_role_is_refused(ours: Registry) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await ours.put(a_membership(role="org:admin"))
