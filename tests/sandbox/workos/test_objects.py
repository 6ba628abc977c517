import pytest
from workos import ConflictError, NotFoundError, UnprocessableEntityError

from tests.sandbox.workos.inside import Room, a_room


async def test_the_official_sdk_makes_reads_changes_and_deletes_a_user(room: Room) -> None:
    """B5"""
    users = room.sdk.user_management
    made = await users.create_user(
        email=" Ada@Example.com ", first_name="Ada", external_id="a1", metadata={"k": "v"}
    )
    room.pass_(1)

    assert made.email == "ada@example.com"
    assert made.id.startswith("user_01")
    assert (await users.get_user(made.id)).created_at == made.created_at
    assert (await users.get_user_by_external_id("a1")).id == made.id
    changed = await users.update_user(made.id, last_name="Lovelace", metadata={"k": None, "n": "1"})
    assert (changed.first_name, changed.last_name) == ("Ada", "Lovelace")
    assert changed.metadata == {"n": "1"}
    assert changed.updated_at > made.updated_at
    await users.delete_user(made.id)
    with pytest.raises(NotFoundError):
        await users.get_user(made.id)
    assert await room.kinds() == ["user.created", "user.updated", "user.deleted"]


async def test_times_are_iso_with_milliseconds_and_a_z(room: Room) -> None:
    room.pass_(0.0015)
    user = await room.get(f"/user_management/users/{await room.a_user()}")
    assert user["created_at"] == user["updated_at"] == "2026-03-01T12:00:00.001Z"


async def test_an_update_that_changes_nothing_says_nothing(room: Room) -> None:
    user, org = await room.a_user(), await room.an_org()
    before = await room.last_event()
    await room.ask("PUT", f"/user_management/users/{user}", email="ada@example.com")
    await room.ask("PUT", f"/organizations/{org}", name="Acme")
    assert await room.kinds(before) == []


async def test_an_address_and_an_external_id_belong_to_one(room: Room) -> None:
    await room.a_user(external_id="x")
    twice = await room.http.post("/user_management/users", json={"email": "ADA@example.com"})
    assert twice.status_code == 422
    assert twice.json()["code"] == "user_creation_error"
    assert twice.json()["errors"][0]["code"] == "email_not_available"
    other = {"email": "b@example.com", "external_id": "x"}
    taken = await room.refused("POST", "/user_management/users", **other)
    assert taken == (400, "external_id_already_used")


async def test_users_are_found_by_address_and_by_organization(room: Room) -> None:
    users, org = room.sdk.user_management, await room.an_org()
    ids = [await room.a_user(f"{n}@example.com") for n in range(3)]
    for user in ids[:2]:
        await room.a_member(org, user)

    assert [u.id for u in (await users.list_users(email="1@EXAMPLE.com")).data] == [ids[1]]
    members = await users.list_users(organization_id=org, order="asc")
    assert [u.id for u in members.data] == ids[:2]
    strangers = await users.list_users(email="2@example.com", organization_id=org)
    assert strangers.data == []


async def test_the_official_sdk_pages_through_everything_in_either_order(room: Room) -> None:
    """B5: also when all of it was made in the same millisecond."""
    ids = [await room.an_org(f"Org {n}") for n in range(7)]
    orgs = room.sdk.organizations
    for order, wanted in (("asc", ids), ("desc", ids[::-1])):
        page = await orgs.list_organizations(limit=3, order=order)
        assert (page.before, page.after) == (None, wanted[2])
        assert [org.id async for org in page.auto_paging_iter()] == wanted
    second = await orgs.list_organizations(limit=3, order="asc", after=ids[2])
    assert second.before == ids[3]
    back = await orgs.list_organizations(limit=2, order="asc", before=ids[3])
    assert [org.id for org in back.data] == ids[1:3]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "order=up"])
async def test_a_page_that_cannot_be_is_refused(room: Room, query: str) -> None:
    assert (await room.refused("GET", f"/organizations?{query}"))[0] == 422


async def test_the_official_sdk_makes_reads_changes_and_deletes_an_organization(
    room: Room,
) -> None:
    """B5: with domains, metadata and a Stripe customer, which the npm emulator forgets."""
    orgs = room.sdk.organizations
    made = await orgs.create_organization(name="Acme", domains=["acme.test"], external_id="e")
    assert made.domains[0].domain == "acme.test"
    changed = await orgs.update_organization(
        made.id, stripe_customer_id="cus_1", metadata={"tier": "gold"}
    )
    assert (changed.stripe_customer_id, changed.metadata) == ("cus_1", {"tier": "gold"})
    assert (await orgs.get_organization_by_external_id("e")).id == made.id
    for query in ({"domains": ["acme.test"]}, {"search": "cm"}):
        assert [org.id for org in (await orgs.list_organizations(**query)).data] == [made.id]
    assert (await orgs.list_organizations(search="other")).data == []
    other = await orgs.create_organization(name="Other")
    with pytest.raises(ConflictError):
        await orgs.update_organization(other.id, stripe_customer_id="cus_1")
    await orgs.delete_organization(made.id)
    with pytest.raises(NotFoundError):
        await orgs.get_organization(made.id)


@pytest.mark.parametrize("what", ["organization", "user"])
async def test_deleting_takes_memberships_along_and_tells_of_them_only_if_asked(what: str) -> None:
    """M7: at WorkOS nothing documents an event for each (ConvoForm#96)."""
    for told in (False, True):
        async with a_room() as room:
            await room.ask("PATCH", "/_sandbox/policy", cascade_events=told)
            org, user = await room.a_pair()
            member = await room.a_member(org, user)
            await room.signed_in(user, org)
            before = await room.last_event()
            path = f"/organizations/{org}" if what == "organization" else None
            await room.ask("DELETE", path or f"/user_management/users/{user}")

            with pytest.raises(NotFoundError):
                await room.sdk.organization_membership.get_organization_membership(member.id)
            kinds = await room.kinds(before)
            assert kinds[-1] == f"{what}.deleted"
            assert ("organization_membership.deleted" in kinds) is told
            assert ("session.revoked" in kinds) is told


async def test_an_address_that_a_directory_manages_cannot_be_changed(room: Room) -> None:
    org = await room.an_org()
    given = {"organization_id": org, "email": "ada@example.com"}
    member = await room.post("/_sandbox/directory/provision", **given)
    assert member["directory_managed"] is True
    with pytest.raises(UnprocessableEntityError) as caught:
        await room.sdk.user_management.update_user(member["user_id"], email="new@example.com")
    assert caught.value.code == "email_change_not_allowed"


async def test_mistakes_are_answered_as_workos_does(room: Room) -> None:
    assert await room.refused("POST", "/user_management/users") == (
        422,
        "invalid_request_parameters",
    )
    assert await room.refused("GET", "/organizations/org_0") == (404, "entity_not_found")
    broken = await room.http.post("/organizations", content=b"{not json")
    assert broken.status_code == 400
    for headers in ({}, {"authorization": "Basic x"}, {"authorization": "Bearer sk_test_wrong"}):
        answer = await room.http.get("/organizations", headers={"authorization": ""} | headers)
        assert (answer.status_code, answer.json()) == (401, {"message": "Unauthorized"})
