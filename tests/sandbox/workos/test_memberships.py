import pytest
from workos import NotFoundError, UnprocessableEntityError

from tests.sandbox.workos.inside import MEMBERSHIPS, Room


async def test_the_official_sdk_reads_every_field_of_a_membership(room: Room) -> None:
    """B5: the npm emulator's payloads lack five of them, and every typed call raises."""
    org, user = await room.a_pair()
    made = await room.a_member(org, user, "admin")
    read = await room.sdk.organization_membership.get_organization_membership(made.id)

    assert made == read
    assert made.id.startswith("om_01")
    assert (made.status, made.role.slug, made.roles[0].slug) == ("active", "admin", "admin")
    assert made.organization_name == "Acme"
    assert (made.user.id, made.directory_managed, made.custom_attributes) == (user, False, {})
    event = (await room.get("/_sandbox/events"))["data"][-1]["body"]
    assert event["data"] == {
        name: value
        for name, value in (await room.get(f"{MEMBERSHIPS}/{made.id}")).items()
        if name not in {"user", "organization_name"}
    }


async def test_an_inactive_pair_that_is_made_again_keeps_its_id_and_gets_the_new_role(
    room: Room,
) -> None:
    """B5, M7"""
    org, user = await room.a_pair()
    members, made = room.sdk.organization_membership, await room.a_member(org, user)
    await members.deactivate_organization_membership(made.id)
    before = await room.last_event()
    room.pass_(1)
    again = await room.a_member(org, user, "admin")

    assert (again.id, again.status, again.role.slug) == (made.id, "active", "admin")
    assert (again.created_at, again.updated_at > made.updated_at) == (made.created_at, True)
    assert await room.kinds(before) == ["organization_membership.updated"]
    with pytest.raises(UnprocessableEntityError):
        await room.a_member(org, user)


async def test_a_deleted_pair_that_is_made_again_gets_a_new_id(room: Room) -> None:
    org, user = await room.a_pair()
    made = await room.a_member(org, user)
    await room.sdk.organization_membership.delete_organization_membership(made.id)
    with pytest.raises(NotFoundError):
        await room.sdk.organization_membership.get_organization_membership(made.id)
    assert (await room.a_member(org, user)).id != made.id


async def test_deactivating_signs_out_of_that_organization_alone_and_twice_does_nothing(
    room: Room,
) -> None:
    """B5, M7"""
    org, user = await room.a_pair()
    other, members = await room.an_org("Other"), room.sdk.organization_membership
    made, _ = await room.a_member(org, user), await room.a_member(other, user)
    await room.signed_in(user, org)
    await room.signed_in(user, other)
    before = await room.last_event()
    off = await members.deactivate_organization_membership(made.id)

    assert off.status == "inactive"
    assert await room.kinds(before) == ["organization_membership.updated", "session.revoked"]
    sessions = await room.sdk.user_management.list_sessions(user)
    assert [session.organization_id for session in sessions.data] == [other]
    last = await room.last_event()
    assert (await members.deactivate_organization_membership(made.id)).status == "inactive"
    assert await room.kinds(last) == []


async def test_reactivating_keeps_the_role_and_twice_does_nothing(room: Room) -> None:
    org, user = await room.a_pair()
    members, made = room.sdk.organization_membership, await room.a_member(org, user, "admin")
    await members.deactivate_organization_membership(made.id)
    before = await room.last_event()
    on = await members.reactivate_organization_membership(made.id)
    assert (on.status, on.role.slug) == ("active", "admin")
    await members.reactivate_organization_membership(made.id)
    assert await room.kinds(before) == ["organization_membership.updated"]


async def test_a_pending_membership_is_neither_deactivated_nor_reactivated_nor_made_again(
    room: Room,
) -> None:
    org, user = await room.a_pair()
    invited = {"email": "ada@example.com", "organization_id": org}
    await room.post("/user_management/invitations", **invited)
    listed = await room.get(MEMBERSHIPS, user_id=user, statuses="pending")
    path = f"{MEMBERSHIPS}/{listed['data'][0]['id']}"

    for verb in ("deactivate", "reactivate"):
        code = f"cannot_{verb}_pending_organization_membership"
        assert await room.refused("PUT", f"{path}/{verb}") == (422, code)
    pair = {"organization_id": org, "user_id": user}
    code = "cannot_reactivate_pending_organization_membership"
    assert await room.refused("POST", MEMBERSHIPS, **pair) == (400, code)


async def test_a_list_shows_active_members_unless_asked_otherwise(room: Room) -> None:
    """B5"""
    org, users = await room.an_org(), [await room.a_user(f"{n}@example.com") for n in range(3)]
    made = [await room.a_member(org, user) for user in users]
    members = room.sdk.organization_membership
    await members.deactivate_organization_membership(made[1].id)

    async def listed(**query: str | list[str]) -> list[str]:
        page = await members.list_organization_memberships(order="asc", **query)
        return [one.id for one in page.data]

    assert await listed(organization_id=org) == [made[0].id, made[2].id]
    assert await listed(organization_id=org, statuses=["inactive"]) == [made[1].id]
    both = ["active", "inactive", "pending"]
    assert await listed(organization_id=org, statuses=both) == [one.id for one in made]
    assert await listed(user_id=users[1]) == []
    assert await listed(user_id=users[0], organization_id=org) == [made[0].id]
    code = "missing_user_id_or_organization_id"
    assert await room.refused("GET", MEMBERSHIPS) == (400, code)
    assert (await room.refused("GET", f"{MEMBERSHIPS}?user_id=u&statuses=gone"))[0] == 422


async def test_a_role_is_changed_in_place_and_must_exist(room: Room) -> None:
    org, user = await room.a_pair()
    made = await room.a_member(org, user)
    path = f"{MEMBERSHIPS}/{made.id}"
    before = await room.last_event()
    changed = await room.ask("PUT", path, role_slugs=["admin", "member"])
    assert [role["slug"] for role in changed["roles"]] == ["admin", "member"]
    assert changed["role"]["slug"] == "admin"
    await room.ask("PUT", path, role_slugs=["admin", "member"])
    assert await room.kinds(before) == ["organization_membership.updated"]
    assert await room.refused("PUT", path, role_slug="king") == (422, "invalid_role")


async def test_a_directory_takes_an_active_member_out_and_deletes_a_pending_one(
    room: Room,
) -> None:
    """B5, M7: inactive in the default role, signed out, one event; as the docs say."""
    org, user = await room.a_pair()
    made = await room.a_member(org, user, "admin")
    await room.signed_in(user, org)
    before = await room.last_event()
    gone = await room.post("/_sandbox/directory/deprovision", membership_id=made.id)
    assert (gone["status"], gone["role"]["slug"]) == ("inactive", "member")
    assert gone["directory_managed"] is True
    assert await room.kinds(before) == ["organization_membership.updated", "session.revoked"]

    bob = await room.a_user("bob@example.com")
    invited = {"email": "bob@example.com", "organization_id": org}
    await room.post("/user_management/invitations", **invited)
    before = await room.last_event()
    pair = {"organization_id": org, "user_id": bob}
    assert "deleted" in await room.post("/_sandbox/directory/deprovision", **pair)
    assert await room.kinds(before) == ["organization_membership.deleted"]

    back = await room.post("/_sandbox/directory/provision", organization_id=org, user_id=user)
    assert (back["id"], back["status"]) == (made.id, "active")
    await room.post("/_sandbox/directory/delete")
    assert (await room.get(f"{MEMBERSHIPS}/{made.id}"))["status"] == "active"
