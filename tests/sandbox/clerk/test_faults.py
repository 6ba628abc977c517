from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from .inside import MS, Room, a_room


@pytest.fixture
async def limited() -> AsyncIterator[Room]:
    async with a_room(rate=3) as room:
        yield room


async def test_a_stale_answer_shows_the_state_before_the_last_act(room: Room) -> None:
    """speakeasy-api/gram#6053: a late answer of the list shows a member who was removed."""
    user = await room.a_user()
    org = await room.an_org()
    path = f"/v1/organizations/{org}/memberships"
    member = await room.post(path, user_id=user, role="org:member")
    await room.ask("DELETE", f"{path}/{user}")
    await room.post("/_sandbox/faults", name="stale", match="/v1/organizations/*/memberships")
    stale = await room.get(path, user_id=user)
    assert [row["id"] for row in stale["data"]] == [member["id"]]
    assert (await room.get(path, user_id=user))["data"] == []
    await room.post("/_sandbox/faults", name="stale", count=2, back=2)
    assert (await room.get(path))["data"] == []
    assert (await room.get(f"/v1/organizations/{org}"))["members_count"] == 0


async def test_what_is_stale_is_right_again_afterwards(room: Room) -> None:
    names = ["a", "b", "c"]
    user = await room.a_user(first_name="a")
    for name in names[1:]:
        await room.ask("PATCH", f"/v1/users/{user}", first_name=name)
    fresh = (await room.get("/v1/users"))[0]
    for back, name in enumerate(reversed(names)):
        if back:
            await room.post("/_sandbox/faults", name="stale", back=back, match="/v1/users")
        assert (await room.get(f"/v1/users/{user}"))["first_name"] == name
    await room.post("/_sandbox/faults", name="stale", back=9)
    assert (await room.clerk.http.get(f"/v1/users/{user}")).status_code == 404
    assert await room.get("/v1/users") == [fresh]


async def test_a_stale_fault_waits_for_a_get(room: Room) -> None:
    user = await room.a_user()
    await room.post("/_sandbox/faults", name="stale")
    await room.ask("PATCH", f"/v1/users/{user}", first_name="Augusta")
    assert (await room.get(f"/v1/users/{user}"))["first_name"] == "Ada"
    assert (await room.get(f"/v1/users/{user}"))["first_name"] == "Augusta"


async def test_a_done_500_was_done(room: Room) -> None:
    await room.post("/_sandbox/faults", name="done_500", match="/v1/users")
    answer = await room.clerk.http.post("/v1/users", json={"first_name": "Ada"})
    assert answer.status_code == 500
    assert [user["first_name"] for user in await room.get("/v1/users")] == ["Ada"]


async def test_inside_a_process_a_refused_connection_is_an_error_of_the_transport(
    room: Room,
) -> None:
    await room.post("/_sandbox/faults", name="refuse")
    with pytest.raises(httpx.TransportError):
        await room.clerk.http.get("/v1/users")
    assert await room.get("/v1/users") == []


@pytest.mark.parametrize("wish", [{"count": 0}, {"count": -2}, {"back": 0}, {"typo": 1}])
async def test_a_senseless_fault_is_refused(room: Room, wish: dict[str, Any]) -> None:
    for name in ("stale", "lose"):
        answer = await room.clerk.http.post("/_sandbox/faults", json={"name": name} | wish)
        assert answer.status_code == 422


async def test_the_rate_limit_counts_ten_seconds_and_tells_how_long_to_wait(limited: Room) -> None:
    http = limited.clerk.http
    codes = [(await http.get("/v1/users")).status_code for _ in range(3)]
    limited.clock.tick(timedelta(seconds=4))
    refused = await http.get("/v1/users")
    assert (codes, refused.status_code, refused.headers["retry-after"]) == ([200] * 3, 429, "6")
    assert (await http.get("/v1/jwks")).status_code == 200
    limited.clock.tick(timedelta(seconds=6))
    assert (await http.get("/v1/users")).status_code == 200


async def test_two_changes_may_share_a_millisecond(room: Room) -> None:
    user = await room.a_user()
    await room.ask("PATCH", f"/v1/users/{user}", first_name="Augusta")
    times = {event["data"]["updated_at"] for event in await room.events()}
    assert times == {MS}
    assert (await room.post("/_sandbox/clock", ms=MS + 7)) == {"ms": MS + 7, "stands": True}
    room.clock.tick(timedelta(hours=1))
    changed = await room.ask("PATCH", f"/v1/users/{user}", first_name="Ada")
    assert changed["updated_at"] == MS + 7
    assert (await room.post("/_sandbox/clock", ms=None))["ms"] == MS + 3_600_000
    assert (await room.clerk.http.post("/_sandbox/clock", json={"ms": "x"})).status_code == 422


async def test_an_instance_may_have_its_organizations_turned_off() -> None:
    async with a_room(organizations=False) as room:
        answer = await room.clerk.http.get("/v1/organizations")
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["code"]) == (403, "organization_not_enabled_in_instance")
        assert await room.get("/v1/users") == []
