import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
from workos.webhooks._verification import verify_event

from tenure.base.clock import StoppedClock, SystemClock
from tests.sandbox.workos.inside import HOOK, Room, a_room


@pytest.fixture
async def now_room() -> AsyncIterator[Room]:
    """A room whose clock stands at the present: the SDK asks the machine for the time."""
    async with a_room(clock=StoppedClock(SystemClock().now())) as room:
        yield room


async def test_the_official_sdk_verifies_a_webhook(now_room: Room) -> None:
    """B5: `t=<milliseconds>, v1=<hex>`; the npm emulator's is refused."""
    room = now_room
    org, user = await room.a_pair()
    await room.a_member(org, user)
    await room.workos.world.courier.deliver_due()

    for request in room.received:
        event = verify_event(
            event_body=request.content,
            event_signature=request.headers["WorkOS-Signature"],
            secret=room.workos.webhook_secret,
        )
        assert event.id == json.loads(request.content)["id"]
    assert len(room.received) == 3
    assert str(room.received[0].url) == HOOK
    with pytest.raises(ValueError, match="does not match"):
        verify_event(
            event_body=room.received[0].content,
            event_signature=room.received[0].headers["WorkOS-Signature"],
            secret="another",
        )


async def test_a_webhook_is_the_event_that_the_events_api_shows(room: Room) -> None:
    """B5, M8: one inbox serves both."""
    await room.a_user()
    await room.workos.world.courier.deliver_due()
    room.pass_(4)
    (event,) = (await room.events())["data"]
    assert json.loads(room.received[0].content) == event


async def test_a_webhook_that_fails_is_tried_six_times_more_and_signed_anew() -> None:
    """B5: the npm emulator tries once."""
    seen: list[str] = []

    async def refuse(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["workos-signature"])
        return httpx.Response(500)

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http,
        a_room(http=http) as room,
    ):
        await room.a_user()
        courier = room.workos.world.courier
        while (due := courier.next_due()) is not None:
            room.clock.at = max(due, room.clock.at)
            await courier.deliver_due()
        (delivery,) = (await room.get("/_sandbox/deliveries"))["data"]
    assert (delivery["status"], delivery["attempts"], delivery["answers"]) == (
        "failed",
        7,
        [500] * 7,
    )
    assert len(set(seen)) == 7


async def test_trouble_is_planned_through_the_same_door_as_faults(room: Room) -> None:
    """B5"""
    await room.post("/_sandbox/faults", name="double", match="user.*")
    await room.post("/_sandbox/faults", name="lose", match="organization.*")
    await room.post("/_sandbox/faults", name="permute", match="user.*", count=3, seed=1)
    await room.a_user("a@example.com")
    await room.an_org()
    await room.workos.world.courier.deliver_due()
    assert room.received == []
    planned = await room.get("/_sandbox/faults")
    assert [one["name"] for one in planned] == ["permute"]
    assert await room.ask("DELETE", "/_sandbox/faults") == []
    await room.workos.world.courier.deliver_due()
    names = [json.loads(request.content)["event"] for request in room.received]
    assert names == ["user.created", "user.created"]
    event_id = json.loads(room.received[0].content)["id"]
    await room.post(f"/_sandbox/events/{event_id}/replay")
    assert (await room.post("/_sandbox/deliveries/flush"))["done"] is True
    assert json.loads(room.received[-1].content)["id"] == event_id


async def test_the_official_sdk_keeps_webhook_endpoints(room: Room) -> None:
    """B5: the npm emulator's lack their status."""
    hooks = room.sdk.webhooks
    (first,) = (await hooks.list_webhook_endpoints()).data
    assert (first.endpoint_url, first.secret) == (HOOK, room.workos.webhook_secret)
    made = await hooks.create_webhook_endpoint(
        endpoint_url="http://app.test/other", events=["organization.created"]
    )
    assert (made.status, made.events) == ("enabled", ["organization.created"])
    await room.a_user()
    await room.an_org()
    urls = [one["url"] for one in (await room.get("/_sandbox/deliveries"))["data"]]
    assert urls == [HOOK, HOOK, "http://app.test/other"]
    off = await hooks.update_webhook_endpoint(made.id, status="disabled")
    assert off.status == "disabled"
    await hooks.delete_webhook_endpoint(first.id)
    assert [one.id for one in (await hooks.list_webhook_endpoints()).data] == [made.id]
    path = "/webhook_endpoints"
    wrong = {"endpoint_url": "http://app.test", "events": ["user.exploded"]}
    assert (await room.refused("POST", path, **wrong))[0] == 422
    assert (await room.refused("DELETE", f"{path}/{first.id}")) == (404, "entity_not_found")


async def test_an_endpoint_of_the_control_door_is_signed_with_the_known_secret() -> None:
    async with a_room(webhook_url="") as room:
        url = "http://app.test/late"
        made = await room.post("/_sandbox/webhook_endpoints", url=url)
        assert made["secret"] == room.workos.webhook_secret
        await room.a_user()
        await room.workos.world.courier.deliver_due()
        stamp = room.received[0].headers["workos-signature"].partition(",")[0]
        assert stamp == f"t={round(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)}"
