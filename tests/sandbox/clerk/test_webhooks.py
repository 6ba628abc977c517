import base64
import json
from datetime import timedelta

import pytest
from svix.webhooks import Webhook, WebhookVerificationError

from tenure.base.clock import SystemClock
from tenure.base.ids import CountedIds
from tenure.sandbox.clerk import svix
from tenure.sandbox.mailroom import Unsendable

from .inside import HOOK, MS, Room, a_room

MEMBER = "org:member"


async def test_an_event_has_clerks_envelope_and_no_id(room: Room) -> None:
    user = await room.a_user(email_address=["ada@example.com"])
    (event,) = await room.events()
    assert set(event) == {
        *("data", "event_attributes", "instance_id", "object", "timestamp", "type")
    }
    assert (event["object"], event["type"], event["timestamp"]) == ("event", "user.created", MS)
    assert event["instance_id"] == room.clerk.world.state.instance_id
    assert set(event["event_attributes"]["http_request"]) == {"client_ip", "user_agent"}
    assert event["data"] == await room.get(f"/v1/users/{user}")


async def test_every_act_is_told_once_in_order(room: Room) -> None:
    user = await room.a_user()
    other = await room.a_user()
    org = await room.an_org(created_by=user)
    members = f"/v1/organizations/{org}/memberships"
    await room.post(members, user_id=other, role=MEMBER)
    await room.ask("PATCH", f"{members}/{other}", role="org:admin")
    await room.ask("DELETE", f"{members}/{other}")
    await room.ask("PATCH", f"/v1/users/{user}", first_name="Augusta")
    await room.ask("PATCH", f"/v1/organizations/{org}", name="Acme 2")
    session = (await room.post("/v1/sessions", user_id=user))["id"]
    await room.post(f"/v1/sessions/{session}/revoke")
    await room.post(f"/v1/sessions/{session}/revoke")
    told = [
        *("user.created", "user.created"),
        *("organization.created", "organizationMembership.created"),
        *(f"organizationMembership.{act}" for act in ("created", "updated", "deleted")),
        *("user.updated", "organization.updated"),
        *("session.created", "session.revoked"),
    ]
    assert await room.kinds() == told
    assert await room.deliver() == told


async def test_a_deleted_membership_is_told_in_full_and_a_deleted_user_without_a_time(
    room: Room,
) -> None:
    user, other = await room.a_user(external_id="ext_1"), await room.a_user()
    org = await room.an_org(created_by=other)
    members = f"/v1/organizations/{org}/memberships"
    added = await room.post(members, user_id=user, role=MEMBER)
    await room.ask("DELETE", f"{members}/{user}")
    await room.ask("DELETE", f"/v1/users/{user}")
    removed, gone = (await room.events())[-2:]
    assert removed["data"]["id"] == added["id"]
    assert removed["data"]["organization"]["id"] == org
    assert removed["data"]["public_user_data"]["user_id"] == user
    assert gone["data"] == {"object": "user", "id": user, "external_id": "ext_1", "deleted": True}


async def test_memberships_go_silently_with_their_organization_and_their_user(room: Room) -> None:
    """ConvoForm#96: do not wait for membership events when an organization is deleted."""
    ada, ben = await room.a_user(), await room.a_user()
    first, second = await room.an_org(created_by=ada), await room.an_org(created_by=ada)
    await room.post(f"/v1/organizations/{second}/memberships", user_id=ben, role=MEMBER)
    before = len(await room.kinds())
    slug = (await room.get(f"/v1/organizations/{first}"))["slug"]
    await room.ask("DELETE", f"/v1/organizations/{first}")
    await room.ask("DELETE", f"/v1/users/{ada}")
    org_gone, user_gone = (await room.events())[before:]
    assert org_gone["data"] == {
        "object": "organization",
        "id": first,
        "slug": slug,
        "deleted": True,
    }
    assert user_gone["type"] == "user.deleted"
    left = (await room.get("/v1/organization_memberships"))["data"]
    assert [member["public_user_data"]["user_id"] for member in left] == [ben]


async def test_a_ban_revokes_each_session_and_an_ended_session_carries_its_user(room: Room) -> None:
    user = await room.a_user()
    ids = [(await room.post("/v1/sessions", user_id=user))["id"] for _ in range(3)]
    ended = await room.post(f"/_sandbox/sessions/{ids[0]}/end")
    assert ended["status"] == "ended"
    await room.post(f"/v1/users/{user}/ban")
    last = (await room.events())[-4:]
    assert [event["type"] for event in last] == [
        *("session.ended", "user.updated", "session.revoked", "session.revoked")
    ]
    assert last[0]["data"]["user"]["id"] == user
    assert last[1]["data"]["banned"] is True
    assert (await room.clerk.http.post(f"/_sandbox/sessions/{ids[1]}/dance")).status_code == 404


async def test_an_accepted_invitation_makes_the_user_and_the_membership(room: Room) -> None:
    org = await room.an_org()
    path = f"/v1/organizations/{org}/invitations"
    wish = {"email_address": "ben@example.com", "role": MEMBER, "public_metadata": {"desk": 4}}
    invited = await room.post(path, **wish)
    member = await room.post(f"/_sandbox/invitations/{invited['id']}/accept")
    assert (member["role"], member["public_metadata"]) == (MEMBER, {"desk": 4})
    assert (await room.kinds())[1:] == [
        *("organizationInvitation.created", "user.created"),
        *("organizationMembership.created", "organizationInvitation.accepted"),
    ]
    told = (await room.events())[-1]["data"]
    assert (told["status"], told["user_id"]) == (
        "accepted",
        member["public_user_data"]["user_id"],
    )
    again = await room.clerk.http.post(f"/_sandbox/invitations/{invited['id']}/accept")
    assert again.status_code == 400
    late = await room.post(path, email_address="cy@example.com", role=MEMBER, expires_in_days=1)
    room.clock.tick(timedelta(days=2))
    late = await room.clerk.http.post(f"/_sandbox/invitations/{late['id']}/accept")
    assert late.json()["errors"][0]["code"] == "organization_invitation_expired"


async def test_svix_accepts_the_signature_and_both_during_a_change_of_secret() -> None:
    """T6: the official library is the judge; its `verify` returns nothing."""
    async with a_room(clock=SystemClock()) as room:
        (endpoint,) = (await room.get("/_sandbox/webhook_endpoints"))["data"]
        old = endpoint["secret"]
        roll = f"/_sandbox/webhook_endpoints/{endpoint['id']}/roll"
        new = (await room.post(roll))["secret"]
        await room.a_user(first_name="Zoë")
        await room.deliver()
        request = room.received[-1]
        for secret in (old, new):
            assert Webhook(secret).verify(request.content, dict(request.headers)) is None
        stranger = svix.new_secret(CountedIds(9))
        with pytest.raises(WebhookVerificationError):
            Webhook(stranger).verify(request.content, dict(request.headers))
        await room.post(roll, keep=False)
        await room.a_user()
        await room.deliver()
        request = room.received[-1]
        with pytest.raises(WebhookVerificationError):
            Webhook(new).verify(request.content, dict(request.headers))


async def test_the_schedule_is_that_of_svix(room: Room) -> None:
    hours = sum(svix.SCHEDULE.waits) / 3600
    assert (len(svix.SCHEDULE.waits) + 1, round(hours, 1)) == (8, 27.6)
    async with a_room(webhook_scale=0.001) as hurried:
        assert hurried.clerk.world.schedule.wait(1) == 0.005
    assert room.clerk.world.schedule.wait(8) is None


async def test_events_are_listed_from_any_point_and_replayed(room: Room) -> None:
    for _ in range(3):
        await room.a_user()
    first, second, third = (await room.get("/_sandbox/events"))["data"]
    after = await room.get("/_sandbox/events", after=first["id"])
    assert after["data"] == [second, third]
    assert (await room.get("/_sandbox/events", type="session.*"))["data"] == []
    await room.deliver()
    await room.post(f"/_sandbox/events/{second['id']}/replay")
    await room.post("/_sandbox/deliveries/flush")
    assert [request.headers["svix-id"] for request in room.received] == [
        *(first["id"], second["id"], third["id"], second["id"])
    ]
    assert json.loads(room.received[-1].content) == second["body"]
    rows = (await room.get("/_sandbox/deliveries", event=second["id"]))["data"]
    assert [(row["status"], row["answers"]) for row in rows] == [("delivered", [200])] * 2
    missing = await room.clerk.http.post("/_sandbox/events/msg_0/replay")
    assert missing.json()["error"]["code"] == "sandbox.no_such_letter"


async def test_an_endpoint_gets_only_the_kinds_it_asked_for_until_it_is_deleted(
    room: Room,
) -> None:
    secret = svix.PREFIX + base64.b64encode(b"a short secret").decode()
    endpoint = await room.post(
        "/_sandbox/webhook_endpoints", url=HOOK, secret=secret, kinds=["organization*"]
    )
    assert endpoint["secret"] == secret
    await room.a_user()
    await room.an_org()
    assert await room.deliver() == ["user.created", "organization.created", "organization.created"]
    await room.ask("DELETE", f"/_sandbox/webhook_endpoints/{endpoint['id']}")
    await room.an_org()
    assert len(await room.deliver()) == 4


@pytest.mark.parametrize(
    "wish", [{"url": "ftp://x"}, {"url": HOOK, "secret": "whsec_x"}, {"url": HOOK, "typo": 1}, {}]
)
async def test_a_senseless_endpoint_is_refused(room: Room, wish: dict[str, object]) -> None:
    answer = await room.clerk.http.post("/_sandbox/webhook_endpoints", json=wish)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "sandbox.unsendable"


async def test_webhooks_are_lost_doubled_and_permuted_through_the_door(room: Room) -> None:
    for fault in (
        {"name": "drop", "match": "user.*"},
        {"name": "double", "match": "organization.*"},
        {"name": "permute", "match": "organizationMembership.*", "count": 4, "seed": 3},
    ):
        await room.post("/_sandbox/faults", **fault)
    users = [await room.a_user() for _ in range(4)]
    org = await room.an_org()
    for user in users:
        path = f"/v1/organizations/{org}/memberships"
        await room.post(path, user_id=user, role=MEMBER)
    kinds = await room.deliver()
    assert kinds.count("user.created") == 3
    assert kinds.count("organization.created") == 2
    joined = [
        body["data"]["public_user_data"]["user_id"]
        for body in (json.loads(request.content) for request in room.received)
        if body["type"] == "organizationMembership.created"
    ]
    assert (sorted(joined), joined != users) == (sorted(users), True)
    assert await room.get("/_sandbox/faults") == []
    await room.post("/_sandbox/faults", name="lose", count=-1)
    assert len(await room.ask("DELETE", "/_sandbox/faults")) == 0


async def test_two_secrets_may_be_given_from_the_start() -> None:
    both = [svix.new_secret(CountedIds(n)) for n in (3, 4)]
    async with a_room(clock=SystemClock(), webhook_secret=", ".join(both)) as room:
        await room.a_user()
        await room.deliver()
        (request,) = room.received
        for secret in both:
            assert Webhook(secret).verify(request.content, dict(request.headers)) is None


async def test_a_secret_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(Unsendable):
        async with a_room(webhook_secret="whsec_"):
            pass
