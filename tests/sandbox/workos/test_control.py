import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import jwt
import pytest
from workos import NotFoundError

from tenure.sandbox.workos.app import running_workos
from tenure.sandbox.workos.state import Policy, UnreadableState
from tests.sandbox.workos.inside import MEMBERSHIPS, Room, a_room


async def kids(room: Room) -> list[str]:
    keys = (await room.get(f"/sso/jwks/{room.workos.client_id}"))["keys"]
    return [key["kid"] for key in keys]


async def signed_by(room: Room) -> str:
    token = (await room.post("/_sandbox/tokens"))["access_token"]
    return jwt.get_unverified_header(token)["kid"]


async def test_the_door_tells_what_a_client_needs(room: Room) -> None:
    shown = await room.get("/_sandbox")
    assert shown["api_key"] == room.workos.api_key
    assert shown["jwks_url"].endswith(f"/sso/jwks/{shown['client_id']}")
    assert shown["issuer"].startswith(shown["url"])
    assert shown["webhook_secret"] == room.workos.webhook_secret


async def test_keys_are_rotated_with_an_overlap(room: Room) -> None:
    """B5, B1"""
    (old,) = await kids(room)
    await room.post("/_sandbox/rotate", sign=False)
    announced = (await kids(room))[1]
    assert await signed_by(room) == old
    await room.post("/_sandbox/rotate", kid=announced)
    assert await signed_by(room) == announced
    assert await kids(room) == [announced, old]
    await room.post("/_sandbox/rotate", kid=announced, keep_old=False)
    assert await kids(room) == [announced]
    assert await room.refused("POST", "/_sandbox/rotate", kid="x") == (404, "entity_not_found")


async def test_a_key_can_sign_before_the_key_set_tells_of_it(room: Room) -> None:
    """B5: what makes the official SDK drop a fresh pair."""
    await room.post("/_sandbox/rotate", publish=False)
    hidden = await signed_by(room)
    assert hidden not in await kids(room)
    await room.post("/_sandbox/rotate", kid=hidden)
    assert hidden in await kids(room)


async def test_odd_tokens_are_made_to_order(room: Room) -> None:
    user = await room.a_user()
    token = (await room.signed_in(user)).access_token
    sid = jwt.decode(token, options={"verify_signature": False})["sid"]

    async def minted(**given: object) -> str:
        return (await room.post("/_sandbox/tokens", session_id=sid, **given))["access_token"]

    odd = await minted(claims={"sub": "user_x"}, without=["exp"], headers={"jku": "http://x"})
    said = jwt.decode(odd, options={"verify_signature": False})
    assert (said["sub"], said["sid"], "exp" in said) == ("user_x", sid, False)
    assert jwt.get_unverified_header(odd)["jku"] == "http://x"
    raw = (await room.get(f"/sso/jwks/{room.workos.client_id}"))["keys"][0]
    options = {"verify_exp": False}
    assert jwt.decode(await minted(), jwt.PyJWK(raw), options=options)["sid"] == sid
    for wrong in ("stranger", "none", "hs256_with_public_pem"):
        with pytest.raises(jwt.InvalidTokenError):
            jwt.decode(
                await minted(sign=wrong), jwt.PyJWK(raw), algorithms=["RS256"], options=options
            )
    assert (await room.refused("POST", "/_sandbox/tokens", key=9))[0] == 422
    assert (await room.refused("POST", "/_sandbox/tokens", typo=1))[0] == 422


async def test_a_stale_read_shows_what_was_before_the_last_change(room: Room) -> None:
    """B5"""
    org, user = await room.a_pair()
    made = await room.a_member(org, user)
    members = room.sdk.organization_membership
    await members.deactivate_organization_membership(made.id)
    await room.post("/_sandbox/faults", name="stale", count=2, match=MEMBERSHIPS)

    async def status() -> str:
        return (await members.get_organization_membership(made.id)).status

    listed = await members.list_organization_memberships(organization_id=org)
    assert [one.id for one in listed.data] == [made.id]
    assert await status() == "active"
    assert await status() == "inactive"
    await room.post("/_sandbox/faults", name="stale", back=2, match=f"GET {MEMBERSHIPS}/*")
    with pytest.raises(NotFoundError):
        await status()
    assert await status() == "inactive"


async def test_faults_strike_as_often_as_asked_and_only_where_asked(room: Room) -> None:
    """B5"""
    path = "/user_management/users"
    await room.post("/_sandbox/faults", name="500", count=2, match=f"GET {path}")
    await room.a_user()
    assert [(await room.http.get(path)).status_code for _ in range(3)] == [500, 500, 200]
    await room.post("/_sandbox/faults", name="429", seconds=7)
    limited = await room.http.get(path)
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    assert limited.json()["code"] == "rate_limit_exceeded"
    await room.post("/_sandbox/faults", name="refuse", count=-1)
    for _ in range(2):
        with pytest.raises(httpx.ReadError):
            await room.a_user("b@example.com")
    await room.ask("DELETE", "/_sandbox/faults")
    await room.post("/_sandbox/faults", name="latency", seconds=0)
    assert len((await room.get(path))["data"]) == 1
    for wrong in ({"name": "earthquake"}, {"name": "500", "count": 0}, {"name": "500", "typo": 1}):
        assert (await room.refused("POST", "/_sandbox/faults", **wrong))[0] == 422
    assert (await room.refused("POST", "/_sandbox/faults", name="double", count=0))[0] == 422


async def test_requests_are_counted_until_forgotten(room: Room) -> None:
    for _ in range(3):
        await room.get("/organizations")
    seen = await room.get("/_sandbox/requests")
    assert seen == {"total": 3, "by_path": {"GET /organizations": 3}}
    assert (await room.ask("DELETE", "/_sandbox/requests"))["total"] == 0


async def test_a_policy_is_changed_by_name(room: Room) -> None:
    await room.ask("PATCH", "/_sandbox/policy", hold_back=0, issuer="https://api.workos.com/")
    await room.a_user()
    assert len(await room.event_ids()) == 1
    assert (await room.get("/_sandbox"))["issuer"] == "https://api.workos.com/"
    for wrong in ({"typo": 1}, {"hold_back": "long"}):
        assert (await room.refused("PATCH", "/_sandbox/policy", **wrong))[0] == 422
    async with a_room(policy=Policy(replay_grace=1)) as other:
        assert (await other.get("/_sandbox"))["policy"]["replay_grace"] == 1


async def test_time_can_be_made_to_stand(room: Room) -> None:
    """M7: several changes in one millisecond have the same `updated_at`."""
    user = await room.a_user()
    ms = (await room.post("/_sandbox/clock"))["ms"]
    room.pass_(60)
    changed = await room.sdk.user_management.update_user(user, first_name="Ada")
    assert changed.updated_at == changed.created_at
    await room.http.post("/_sandbox/clock", json={"ms": None})
    assert (await room.refused("POST", "/_sandbox/clock", ms=-1))[0] == 422
    changed = await room.sdk.user_management.update_user(user, first_name="Augusta")
    assert changed.updated_at.timestamp() * 1000 == ms + 60_000


async def test_many_are_planted_at_once_and_quietly(room: Room) -> None:
    """B5: figures, or lists; 2,000 memberships are spread over all and paged through."""
    made = await room.post("/_sandbox/seed", users=500, organizations=5, memberships=2000)
    assert [len(ids) for ids in made.values()] == [500, 5, 2000]
    assert await room.kinds() == []
    members = room.sdk.organization_membership
    for org in made["organizations"]:
        page = await members.list_organization_memberships(organization_id=org, limit=100)
        assert len({one.user_id async for one in page.auto_paging_iter()}) == 400

    listed = await room.post(
        "/_sandbox/seed",
        users=[{"email": "a@x.test"}],
        organizations=[{"name": "A"}],
        memberships=[{"user": 0, "organization": 0, "role_slug": "admin", "status": "inactive"}],
        events=True,
    )
    one = await room.get(f"{MEMBERSHIPS}/{listed['memberships'][0]}")
    assert (one["status"], one["role"]["slug"]) == ("inactive", "admin")
    assert len(await room.kinds()) == 3
    for wrong in (
        {"memberships": 1},
        {"users": -1},
        {"memberships": [{"user": 0, "organization": 0}]},
        {"memberships": [{"user": "x", "organization": "y"}]},
        {"memberships": [{"typo": 0}]},
    ):
        assert (await room.refused("POST", "/_sandbox/seed", **wrong))[0] in {404, 422}


def test_a_file_that_is_no_state_is_named(tmp_path: Path) -> None:
    path = tmp_path / "workos.json"
    path.write_text("{}")
    with pytest.raises(UnreadableState, match=r"workos\.json"), running_workos(state=path):
        pass


@contextmanager
def own_process(port: int, state: Path, *more: str) -> Iterator[httpx.Client]:
    """Run the sandbox in a process, and wait until it answers."""
    command = [sys.executable, "-m", "tenure.sandbox.workos", "--port", str(port), *more]
    process = subprocess.Popen([*command, "--state", str(state)])  # noqa: S603 (our own module)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            deadline = time.monotonic() + 30
            while True:
                try:
                    shown = http.get("/_sandbox").json()
                    break
                except httpx.TransportError:
                    assert process.poll() is None, "it ended by itself"
                    assert time.monotonic() < deadline, "it does not answer"
                    time.sleep(0.05)
            http.headers["authorization"] = f"Bearer {shown['api_key']}"
            yield http
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_everything_survives_a_killed_process(tmp_path: Path) -> None:
    """B5: even SIGKILL loses nothing that was answered; a refused connection breaks the line."""
    state = tmp_path / "workos.json"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with own_process(port, state, "--webhook-url", "http://127.0.0.1:9/none") as http:
        user = http.post("/user_management/users", json={"email": "ada@example.com"}).json()
        code = http.post("/_sandbox/codes", json={"user_id": user["id"]}).json()["code"]
        shown = http.get("/_sandbox").json()
        keys = http.get(shown["jwks_url"]).json()
        who = {"client_id": shown["client_id"], "client_secret": shown["api_key"]}
        given = who | {"grant_type": "authorization_code", "code": code}
        pair = http.post("/user_management/authenticate", json=given).json()
    assert state.stat().st_mode & 0o077 == 0, "it holds a private key"
    with own_process(port, state) as http:
        assert http.get(f"/user_management/users/{user['id']}").json()["email"] == user["email"]
        events = http.get("/_sandbox/events").json()["data"]
        assert [event["type"] for event in events] == ["user.created", "session.created"]
        assert len(http.get("/_sandbox/deliveries").json()["data"]) == 2
        assert http.get(shown["jwks_url"]).json() == keys
        http.post("/_sandbox/faults", json={"name": "refuse"})
        with pytest.raises(httpx.TransportError):
            http.get("/organizations")
        given = who | {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
        again = http.post("/user_management/authenticate", json=given).json()
        assert again["user"]["id"] == user["id"]
