import pytest
from workos import BadRequestError

from tests.sandbox.workos.inside import MEMBERSHIPS, Room


async def test_an_invited_user_is_a_pending_member_until_she_accepts(room: Room) -> None:
    """B5"""
    org, user = await room.a_pair()
    users = room.sdk.user_management
    sent = await users.send_invitation(
        email="Ada@example.com", organization_id=org, role_slug="admin"
    )
    pending = (await room.get(MEMBERSHIPS, user_id=user, statuses="pending"))["data"]
    assert [(one["status"], one["role"]["slug"]) for one in pending] == [("pending", "admin")]
    assert (await users.find_invitation_by_token(sent.token)).id == sent.id

    accepted = await users.accept_invitation(sent.id)

    assert (accepted.state, accepted.accepted_user_id) == ("accepted", user)
    active = (await room.get(MEMBERSHIPS, user_id=user))["data"]
    assert [one["id"] for one in active] == [pending[0]["id"]]
    assert (await room.kinds())[2:] == [
        "invitation.created",
        "organization_membership.created",
        "organization_membership.updated",
        "invitation.accepted",
    ]
    told = (await room.get("/_sandbox/events", type="invitation.*"))["data"][0]["body"]
    assert "token" not in told["data"]
    again = await room.refused("POST", f"/user_management/invitations/{sent.id}/accept")
    assert again == (400, "invite_accepted")


async def test_a_stranger_signs_up_by_accepting(room: Room) -> None:
    org = await room.an_org()
    sent = await room.sdk.user_management.send_invitation(
        email="new@example.com", organization_id=org
    )
    assert await room.kinds() == ["organization.created", "invitation.created"]
    path = f"/user_management/invitations/{sent.id}/accept"
    assert await room.refused("POST", path) == (400, "invalid_invite")
    await room.post(f"/_sandbox/invitations/{sent.id}/accept")
    assert (await room.kinds())[2:] == [
        "user.created",
        "organization_membership.created",
        "invitation.accepted",
    ]


async def test_nobody_is_invited_twice_or_into_where_she_is(room: Room) -> None:
    org, user = await room.a_pair()
    path, given = "/user_management/invitations", {"email": "b@x.test", "organization_id": org}
    await room.post(path, **given)
    code = "email_already_invited_to_organization"
    assert await room.refused("POST", path, **given) == (400, code)
    await room.a_member(org, user)
    given["email"] = "ada@example.com"
    assert await room.refused("POST", path, **given) == (400, "user_already_organization_member")
    given |= {"email": "c@x.test", "expires_in_days": 31}
    assert (await room.refused("POST", path, **given))[0] == 422


async def test_revoking_takes_the_pending_membership_back(room: Room) -> None:
    org, user = await room.a_pair()
    users = room.sdk.user_management
    sent = await users.send_invitation(email="ada@example.com", organization_id=org)
    assert (await users.revoke_invitation(sent.id)).state == "revoked"
    statuses = "active,inactive,pending"
    assert (await room.get(MEMBERSHIPS, user_id=user, statuses=statuses))["data"] == []
    assert (await room.kinds())[-2:] == ["invitation.revoked", "organization_membership.deleted"]


async def test_an_invitation_expires_and_can_be_sent_again(room: Room) -> None:
    users = room.sdk.user_management
    sent = await users.send_invitation(email="ada@example.com", expires_in_days=1)
    room.pass_(86_400)
    assert (await users.get_invitation(sent.id)).state == "expired"
    with pytest.raises(BadRequestError, match="expired"):
        await users.revoke_invitation(sent.id)
    again = await users.resend_invitation(sent.id)
    assert (again.state, again.token != sent.token) == ("pending", True)
    listed = await users.list_invitations(email="ada@example.com")
    assert [one.id for one in listed.data] == [sent.id]
