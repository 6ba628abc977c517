from datetime import timedelta

import pytest
from workos import BadRequestError, WorkOSError
from workos.events.models import EventSchema
from workos.organization_membership.models import OrganizationMembership

from tenure.sandbox.workos.names import EVENT_NAMES
from tests.sandbox.workos.inside import ALL, START, Room, a_room

HELD = 3.001  # seconds: by then an event is shown


async def test_the_official_sdk_reads_a_page_with_membership_events(room: Room) -> None:
    """B5: one such event costs the whole page when a field is missing."""
    org, user = await room.a_pair()
    member = await room.a_member(org, user)
    await room.signed_in(user, org)
    await room.sdk.organization_membership.deactivate_organization_membership(member.id)
    await room.sdk.user_management.send_invitation(email="b@x.test", organization_id=org)
    await room.ask("DELETE", f"/organizations/{org}")
    await room.ask("DELETE", f"/user_management/users/{user}")
    room.pass_(HELD)

    page = await room.sdk.events.list_events(events=list(ALL), order="asc", limit=3)
    read = [event async for event in page.auto_paging_iter()]

    assert [event.event for event in read] == await room.kinds()
    assert all(event.id.startswith("event_01") for event in read)
    ids = [event.id for event in read]
    assert ids == sorted(ids)
    assert not isinstance(read[2].data, OrganizationMembership), "an event has its own shape"
    assert read[2].data.roles[0].slug == "member"


async def test_the_names_are_those_that_the_official_sdk_knows() -> None:
    assert frozenset(EventSchema._DISPATCH) == EVENT_NAMES  # noqa: SLF001 (the SDK's only list)


async def test_a_cursor_leads_on_and_the_last_page_says_there_is_no_more(room: Room) -> None:
    """M8"""
    for n in range(5):
        await room.a_user(f"{n}@example.com")
    room.pass_(HELD)
    first = await room.events(limit=3)
    after = first["list_metadata"]["after"]
    assert after == first["data"][-1]["id"]
    second = await room.events(limit=3, after=after)
    assert second["list_metadata"] == {"after": None}
    assert len(second["data"]) == 2
    end = await room.events(after=second["data"][-1]["id"])
    assert (end["data"], end["list_metadata"]) == ([], {"after": None})


async def test_ascending_reads_hold_young_events_back_and_descending_ones_do_not(
    room: Room,
) -> None:
    """B5, M8: get-convex/workos-authkit#73"""
    await room.a_user("old@example.com")
    room.pass_(2)
    await room.a_user("young@example.com")
    room.pass_(1)
    everything = [e["id"] for e in (await room.get("/_sandbox/events"))["data"]]

    assert await room.event_ids() == everything[:1]
    assert await room.event_ids(order="desc") == everything[::-1]
    room.pass_(1.999)
    assert await room.event_ids() == everything[:1]
    room.pass_(0.001)
    assert await room.event_ids() == everything


async def test_an_event_that_becomes_visible_late_is_not_overtaken(room: Room) -> None:
    """M8: that is what the hold-back is for; without it a reader loses the event."""
    await room.a_user("first@example.com")
    room.pass_(2)
    seen = await room.event_ids()
    late = await room.post("/_sandbox/events", poison="unknown_type", age=2.5, name="user.updated")
    room.pass_(HELD)
    assert seen == []
    assert (await room.event_ids())[0] == late["id"]


async def test_the_default_order_is_descending_unless_the_service_ignores_it(room: Room) -> None:
    """B5: documented so, and observed otherwise (workos-node#1610)."""
    for n in range(2):
        await room.a_user(f"{n}@example.com")
    room.pass_(HELD)
    ids = await room.event_ids()
    plain = {"events": "user.created"}
    assert [e["id"] for e in (await room.get("/events", **plain))["data"]] == ids[::-1]
    await room.ask("PATCH", "/_sandbox/policy", ignore_order=True)
    for query in (plain, plain | {"order": "desc"}):
        assert [e["id"] for e in (await room.get("/events", **query))["data"]] == ids


async def test_events_are_filtered_by_a_list_with_commas_and_only_known_names_are_taken(
    room: Room,
) -> None:
    """B5: workos-node#1391"""
    org, user = await room.a_pair()
    await room.a_member(org, user)
    room.pass_(HELD)
    wanted = "user.created,organization_membership.created"
    shown = (await room.events(events=wanted))["data"]
    assert [event["event"] for event in shown] == wanted.split(",")
    for names in ("user.created,user.exploded", ""):
        answer = await room.http.get("/events", params={"events": names})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_events_request")


async def test_filtering_by_organization_drops_users(room: Room) -> None:
    """M8: `user.*` events belong to no organization."""
    org, user = await room.a_pair()
    await room.a_member(org, user)
    await room.an_org("Other")
    room.pass_(HELD)
    shown = (await room.events(organization_id=org))["data"]
    assert [e["event"] for e in shown] == [
        "organization.created",
        "organization_membership.created",
    ]


async def test_a_range_needs_a_z_and_excludes_a_cursor(room: Room) -> None:
    """B5"""
    await room.a_user("a@example.com")
    room.pass_(10)
    await room.a_user("b@example.com")
    room.pass_(10)
    sdk, names = room.sdk.events, ["user.created"]
    middle = START + timedelta(seconds=5)
    begun = await sdk.list_events(events=names, order="asc", range_start=middle)
    ended = await sdk.list_events(events=names, order="asc", range_end=middle)
    assert [e.data.email for e in begun.data] == ["b@example.com"]
    assert [e.data.email for e in ended.data] == ["a@example.com"]
    for wrong in (middle.isoformat(), "yesterday", "2026-02-30T00:00:00Z"):
        with pytest.raises(BadRequestError):
            await sdk.list_events(events=names, range_start=wrong)
    with pytest.raises(BadRequestError, match="Only one"):
        await sdk.list_events(events=names, range_start=middle, after=ended.data[0].id)


async def test_events_are_forgotten_and_so_is_a_cursor_on_them(room: Room) -> None:
    """B5, M8"""
    await room.a_user("a@example.com")
    (cursor,) = await room.event_ids(order="desc")
    room.pass_(30 * 86_400)
    await room.a_user("b@example.com")
    room.pass_(HELD)
    assert len(await room.event_ids()) == 1
    assert len((await room.get("/_sandbox/events"))["data"]) == 2
    for lost in (cursor, "event_01HNEVER0000000000000000000"):
        answer = await room.http.get("/events", params={"events": "user.created", "after": lost})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_events_request")


@pytest.mark.parametrize("poison", ["missing_fields", "not_an_object"])
async def test_a_poisoned_event_costs_the_official_sdk_its_page(room: Room, poison: str) -> None:
    """M8: speakeasy-api/gram#2525"""
    org, user = await room.a_pair()
    await room.a_member(org, user)
    await room.post("/_sandbox/events", poison=poison, of=await room.last_event())
    room.pass_(HELD)
    raw = (await room.events())["data"]
    assert len(raw) == 4
    with pytest.raises((WorkOSError, TypeError, AttributeError)):
        await room.sdk.events.list_events(events=list(ALL), order="asc")


async def test_any_event_can_be_put_into_the_log(room: Room) -> None:
    given = {"event": "user.created", "data": {"id": "user_1"}}
    made = await room.post("/_sandbox/events", event=given, name="user.created", webhook=False)
    odd = await room.post("/_sandbox/events", event={"id": None}, name="user.created")
    room.pass_(HELD)
    assert made["event"] == given | {"id": made["id"], "created_at": "2026-03-01T12:00:00.000Z"}
    assert (await room.events())["data"] == [made["event"], odd["event"]]
    assert odd["event"]["id"] is None
    deliveries = (await room.get("/_sandbox/deliveries"))["data"]
    assert [one["event"] for one in deliveries] == [odd["id"]]
    unknown = await room.refused("POST", "/_sandbox/events", poison="missing_fields", of="event_0")
    assert unknown == (404, "entity_not_found")


async def test_events_of_one_millisecond_can_come_in_any_order() -> None:
    """M8: ids order by time, not by commit."""
    async with a_room() as room:
        await room.ask("PATCH", "/_sandbox/policy", shuffle_ties=True)
        made = [f"{n}@example.com" for n in range(8)]
        for email in made:
            await room.a_user(email)
        room.pass_(HELD)
        shown = (await room.events())["data"]
    assert [event["id"] for event in shown] == sorted(event["id"] for event in shown)
    emails = [event["data"]["email"] for event in shown]
    assert emails != made
    assert sorted(emails) == made
