"""The doors of Clerk and WorkOS: what is signed is kept once, everything else changes nothing."""

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from svix.webhooks import Webhook

from tenure.base.db import Db
from tenure.sandbox.clerk.app import clerk_inside
from tenure.sandbox.stripe.running import Box
from tenure.schema import apply, changes
from tests.conftest import Frail, recreate
from tests.entry.http.house import House, a_house, error_of, settings_for
from tests.identity.clerk_scene import Scene

SVIX, OLD_SVIX, OTHER_SVIX = (
    "whsec_" + base64.b64encode(name * 6).decode() for name in (b"new!", b"old!", b"none")
)
WORKOS, OLD_WORKOS, OTHER_WORKOS = "new secret", "old secret", "no secret"
CONFIGURED: dict[str, Any] = {
    "clerk_webhook_secrets": (SVIX, OLD_SVIX),
    "workos_webhook_secrets": (WORKOS, OLD_WORKOS),
}


@pytest.fixture
async def house(url: str, db: Db, scene: Scene, box: Box) -> AsyncIterator[House]:
    found = settings_for(url, stripe=box.url, clerk=scene.clerk.url, **CONFIGURED)
    async with a_house(found, db, scene=scene, box=box) as made:
        yield made


def from_svix(house: House, raw: bytes, **signed: Any) -> dict[str, str]:
    at = house.scene.clock.now() - timedelta(seconds=signed.get("ago", 0))
    event_id = signed.get("event_id", "msg_1")
    mac = Webhook(signed.get("secret", SVIX)).sign(event_id, at, raw.decode())
    return {
        "svix-id": event_id,
        "svix-timestamp": str(int(at.timestamp())),
        "svix-signature": mac,
    }


def from_workos(house: House, raw: bytes, **signed: Any) -> dict[str, str]:
    at = house.scene.clock.now() - timedelta(seconds=signed.get("ago", 0))
    stamp = int(at.timestamp() * 1000)
    secret = signed.get("secret", WORKOS).encode()
    mac = hmac.digest(secret, b"%d." % stamp + raw, "sha256").hex()
    return {"workos-signature": f"t={stamp}, v1={mac}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One provider's door, and how the provider writes and signs."""

    name: str
    sign: Callable[..., dict[str, str]]
    good: bytes
    event_id: str
    subject: tuple[str, str]
    poison: bytes  # signed, of a kind that matters, and unreadable
    secrets: tuple[str, str, str]  # the new one, the old one, somebody else's

    @property
    def path(self) -> str:
        return f"/webhooks/{self.name}"

    async def knock(self, house: House, raw: bytes, **headers: str) -> httpx.Response:
        given = headers or self.sign(house, raw)
        return await house.http.post(self.path, content=raw, headers=given)


CLERK = Door(
    name="clerk",
    sign=from_svix,
    good=b'{"type":"user.created","timestamp":1772366400000,"data":{"id":"user_1"}}',
    event_id="msg_1",
    subject=("clerk.user", "user_1"),
    poison=b'{"type":"user.created","timestamp":1772366400000,"data":{"id":["user_1"]}}',
    secrets=(SVIX, OLD_SVIX, OTHER_SVIX),
)
WORK = Door(
    name="workos",
    sign=from_workos,
    good=b'{"id":"event_1","event":"user.created","created_at":"2026-03-01T12:00:00.000Z",'
    b'"data":{"id":"user_1"}}',
    event_id="event_1",
    subject=("workos.user", "user_1"),
    poison=b'{"id":"event_1","event":"user.created","created_at":"2026-03-01T12:00:00.000Z",'
    b'"data":{"id":7}}',
    secrets=(WORKOS, OLD_WORKOS, OTHER_WORKOS),
)
both = pytest.mark.parametrize("door", [CLERK, WORK], ids=lambda door: door.name)


@both
async def test_a_signed_event_is_kept_and_marks_whom_it_is_about(house: House, door: Door) -> None:
    """T6: verify, dedupe, answer 200 once it is durable."""
    answer = await door.knock(house, door.good)

    assert (answer.status_code, answer.json()) == (200, {"received": True})
    (kept,) = await house.kept()
    assert (kept["source"], kept["event_id"]) == (door.name, door.event_id)
    assert (kept["subject_kind"], kept["subject_id"]) == door.subject
    assert (kept["note"], bytes(kept["body"])) == (None, door.good)


@both
@pytest.mark.parametrize(
    ("signed", "changed"),
    [({"secret": 2}, b""), ({"ago": 301}, b""), ({"ago": -301}, b""), ({}, b" ")],
    ids=["wrong secret", "old", "from the future", "another body"],
)
async def test_a_signature_of_another_secret_time_or_body_is_refused(
    house: House, door: Door, signed: dict[str, Any], changed: bytes
) -> None:
    """T6: 401, and nothing is stored."""
    how = {k: door.secrets[v] if k == "secret" else v for k, v in signed.items()}

    answer = await door.knock(house, door.good + changed, **door.sign(house, door.good, **how))

    assert answer.status_code == 401
    assert error_of(answer)["code"] == "identity.bad_signature"
    assert await house.kept() == []


JUNK = [b"", b"nonsense", b"v1", b"v1,", b"v1,====", b"t=,v1=", b"\xff\xfe=\x80", b"v1,a,b " * 999]


@both
@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: repr(junk[:20]))
async def test_a_malformed_header_is_401_and_never_500(
    house: House, door: Door, junk: bytes
) -> None:
    """The official library raises ValueError and binascii.Error here, which answer 500."""
    good = {k.encode(): v.encode() for k, v in door.sign(house, door.good).items()}

    for name in good:
        answer = await house.http.post(door.path, content=door.good, headers=good | {name: junk})
        assert answer.status_code == 401, name
        assert error_of(answer)["code"] == "identity.bad_signature"
    bare = await house.http.post(door.path, content=door.good)

    assert bare.status_code == 401
    assert await house.kept() == []


@both
async def test_both_secrets_hold_while_one_is_rolled(house: House, door: Door) -> None:
    for secret in door.secrets[:2]:
        headers = door.sign(house, door.good, secret=secret)
        assert (await door.knock(house, door.good, **headers)).status_code == 200

    assert len(await house.kept()) == 1


@both
async def test_a_retry_is_signed_anew_and_kept_once(house: House, door: Door) -> None:
    """T6: the same id at every try, another time and another signature."""
    for ago in (0, 60, 120):
        headers = door.sign(house, door.good, ago=ago)
        assert (await door.knock(house, door.good, **headers)).status_code == 200

    assert len(await house.kept()) == 1


@both
async def test_the_same_event_fifty_times_at_once_is_one_row(house: House, door: Door) -> None:
    answers = await asyncio.gather(*(door.knock(house, door.good) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {200}
    assert len(await house.kept()) == 1


@both
async def test_a_poison_event_is_kept_with_a_note_and_the_next_one_is_taken(
    house: House, door: Door
) -> None:
    """T6; speakeasy-api/gram#2525: whoever answers it with an error gets it for hours."""
    answer = await door.knock(house, door.poison)

    assert answer.status_code == 200
    (kept,) = await house.kept()
    assert (kept["subject_id"], bytes(kept["body"])) == (None, door.poison)
    assert kept["note"].startswith("quarantined: ")
    fresh = door.good.replace(b"event_1", b"event_2")
    headers = from_svix(house, fresh, event_id="msg_2") if door is CLERK else {}
    assert (await door.knock(house, fresh, **headers)).status_code == 200
    assert len(await house.kept()) == 2


@both
@pytest.mark.parametrize(
    "raw", [b"", b"not json", b"[]", b"null", b"{}", b'{"type":5,"event":5}', b"[" * 5000]
)
async def test_what_is_signed_but_no_event_is_refused(house: House, door: Door, raw: bytes) -> None:
    answer = await door.knock(house, raw)

    assert answer.status_code == 400
    assert error_of(answer)["code"] == "identity.bad_event"
    assert await house.kept() == []


@both
async def test_a_door_of_a_provider_that_is_not_configured_says_so(
    url: str, db: Db, scene: Scene, box: Box, door: Door
) -> None:
    found = settings_for(url, stripe=box.url, clerk=scene.clerk.url)
    async with a_house(found, db, scene=scene, box=box) as house:
        answer = await door.knock(house, door.good)

        assert answer.status_code == 404
        assert error_of(answer)["code"] == "http.not_configured"
        assert f"{door.name.upper()}_WEBHOOK_SECRET" in error_of(answer)["message"]
        assert await house.kept() == []


@both
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_only_post_is_answered(house: House, door: Door, method: str) -> None:
    answer = await house.http.request(method, door.path)

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert error_of(answer)["code"] == "http.method_not_allowed"


@both
async def test_a_body_that_is_too_large_is_refused(house: House, door: Door) -> None:
    raw = b" " * (64 * 1024 + 1)

    answer = await door.knock(house, raw)

    assert (answer.status_code, error_of(answer)["code"]) == (413, "http.body_too_large")


@both
async def test_while_the_database_is_away_the_provider_is_told_to_come_again(
    frail: Frail, scene: Scene, box: Box, door: Door
) -> None:
    """T6: 503, and what is sent again is kept: nothing is lost."""
    address = recreate(frail.on(), "tenure_away", "template0")
    apply.apply(address, changes.load())
    found = settings_for(address, stripe=box.url, clerk=scene.clerk.url, **CONFIGURED)
    async with a_house(found, None, scene=scene, box=box) as made:  # type: ignore[arg-type]
        house = replace(made, db=made.service.world.db)
        frail.off()
        refused = await door.knock(house, door.good)
        frail.on()

        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        await _until(lambda: _is_taken(door, house))
        (kept,) = await house.kept()
        assert kept["event_id"] == door.event_id


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(20):
        if await holds():
            return
    pytest.fail("the database is back, and the event is not taken")


async def _is_taken(door: Door, house: House) -> bool:
    return (await door.knock(house, door.good)).status_code == 200


async def test_what_a_pretended_clerk_sends_is_taken(house: House) -> None:
    """Signed by the sandbox's courier, with two secrets while one rolls."""
    hook = f"{house.http.base_url}{CLERK.path}"
    async with clerk_inside(
        clock=house.scene.clock, http=house.http, webhook_url=hook, webhook_secret=OLD_SVIX
    ) as clerk:
        courier = clerk.world.courier
        created = (await clerk.http.post("/v1/users", json={"first_name": "Ada"})).json()
        await courier.deliver_due()
        (endpoint,) = courier.endpoints()
        courier.roll(endpoint.id, SVIX, keep=True)
        await clerk.http.delete(f"/v1/users/{created['id']}")
        await courier.deliver_due()

        told = {event["id"]: event["status"] for event in courier.deliveries()}
    kept = await house.kept()

    assert set(told.values()) == {"delivered"}
    assert [row["kind"] for row in kept] == ["user.created", "user.deleted"]
    assert {row["subject_id"] for row in kept} == {created["id"]}
    assert json.loads(bytes(kept[0]["body"]))["data"]["id"] == created["id"]
