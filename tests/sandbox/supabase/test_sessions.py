"""Sessions and tokens of the pretended Supabase Auth."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from supabase_auth.errors import AuthApiError, AuthInvalidJwtError

from tenure.base.clock import StoppedClock, SystemClock
from tenure.sandbox.postgres import free_port
from tenure.sandbox.supabase.app import Running, running_supabase
from tenure.sandbox.supabase.signing import Algorithm
from tenure.sandbox.supabase.world import UnreadableState
from tests.sandbox.supabase.conftest import a_client

ADA = {"email": "ada@example.com", "password": "lovelace"}
JWKS = "/.well-known/jwks.json"


def signed_up(http: httpx.Client) -> dict[str, Any]:
    return http.post("/signup", json=ADA).json()


def refresh(http: httpx.Client, token: str) -> httpx.Response:
    return http.post("/token?grant_type=refresh_token", json={"refresh_token": token})


def reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error_code"]


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "HS256"])
def test_a_token_carries_supabases_claims(database: str, algorithm: Algorithm) -> None:
    """B5: signed by the published key, or by the shared secret, which is never published."""
    at = SystemClock().now()
    with (
        running_supabase(database, clock=StoppedClock(at), algorithm=algorithm) as supabase,
        a_client(supabase, supabase.anon_key) as sdk,
    ):
        said = sdk.sign_up(ADA)
        assert said.session
        assert said.user
        found = sdk.get_claims()
        assert found
        published = httpx.get(f"{supabase.url}/auth/v1{JWKS}")
        with pytest.raises((AuthInvalidJwtError, AuthApiError)):
            sdk.get_claims(said.session.access_token[:-8] + "AAAAAAAA")
    assert found["headers"]["alg"] == algorithm
    claims: dict[str, Any] = dict(found["claims"])
    assert set(claims) == {
        *("iss", "sub", "aud", "exp", "iat", "email", "phone", "app_metadata", "user_metadata"),
        *("role", "aal", "amr", "session_id", "is_anonymous"),
    }
    assert (claims["iss"], claims["sub"]) == (f"{supabase.url}/auth/v1", said.user.id)
    assert claims["exp"] - claims["iat"] == 3600
    assert ("kid" in found["headers"]) == (algorithm != "HS256")
    assert published.headers["cache-control"] == "public, max-age=600"
    assert [key["alg"] for key in published.json()["keys"]] == (
        [] if algorithm == "HS256" else [algorithm]
    )


def test_a_refresh_token_is_spent_and_the_last_one_may_come_again(
    http: httpx.Client, clock: StoppedClock
) -> None:
    """M8: rotation: a client that lost the answer sends the parent of the present token."""
    first = signed_up(http)["refresh_token"]
    second = refresh(http, first).json()["refresh_token"]
    assert second != first
    clock.tick(timedelta(hours=1))
    assert refresh(http, first).json()["refresh_token"] == second
    third = refresh(http, second).json()["refresh_token"]
    clock.tick(timedelta(seconds=10))
    assert reason(refresh(http, first)) == (400, "refresh_token_already_used")
    clock.tick(timedelta(seconds=11))
    assert reason(refresh(http, third)) == (400, "refresh_token_already_used"), "the family ends"


def test_within_the_reuse_interval_an_older_token_gives_a_new_one(
    http: httpx.Client, clock: StoppedClock
) -> None:
    first = signed_up(http)["refresh_token"]
    second = refresh(http, first).json()["refresh_token"]
    third = refresh(http, second).json()["refresh_token"]
    clock.tick(timedelta(seconds=10))
    again = refresh(http, first)
    assert again.status_code == 200
    assert again.json()["refresh_token"] not in {first, second, third}


def test_twenty_refreshes_at_once_agree(http: httpx.Client) -> None:
    first = signed_up(http)["refresh_token"]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: refresh(http, first), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1


def test_an_unknown_refresh_token_or_grant_is_refused(http: httpx.Client) -> None:
    assert reason(refresh(http, "unknown")) == (400, "refresh_token_not_found")
    assert reason(http.post("/token?grant_type=magic")) == (400, "validation_failed")


def test_signing_out_ends_what_it_says(http: httpx.Client) -> None:
    one, two, three = (
        signed_up(http),
        *(http.post("/token?grant_type=password", json=ADA).json() for _ in range(2)),
    )

    def me(session: dict[str, Any]) -> dict[str, str]:
        return {"authorization": f"Bearer {session['access_token']}"}

    assert http.post("/logout?scope=others", headers=me(one)).status_code == 204
    assert reason(http.get("/user", headers=me(two))) == (403, "session_not_found")
    assert reason(refresh(http, three["refresh_token"])) == (400, "refresh_token_not_found")
    assert http.get("/user", headers=me(one)).status_code == 200
    assert http.post("/logout?scope=local", headers=me(one)).status_code == 204
    assert reason(http.get("/user", headers=me(one))) == (403, "session_not_found")


def test_keys_move_through_their_four_states(
    http: httpx.Client, control: httpx.Client, supabase: Running
) -> None:
    """B1: standby keys are published, previously used ones still count, revoked ones do not."""

    def published() -> list[str]:
        return [key["kid"] for key in http.get(JWKS).json()["keys"]]

    session = signed_up(http)
    old = {"authorization": f"Bearer {session['access_token']}"}
    (first,) = published()
    control.post("/keys", json={"algorithm": "RS256"})
    waiting, _ = published()
    assert jwt.get_unverified_header(session["access_token"])["kid"] == first
    states = {key["kid"]: key["state"] for key in control.post("/rotate").json()}
    assert states == {waiting: "in_use", first: "previously_used", "legacy": "previously_used"}
    assert http.get("/user", headers=old).status_code == 200
    fresh = http.post("/token?grant_type=password", json=ADA).json()["access_token"]
    assert jwt.get_unverified_header(fresh) == {"alg": "RS256", "kid": waiting, "typ": "JWT"}
    control.post(f"/keys/{first}", json={"state": "revoked"})
    assert published() == [waiting]
    assert reason(http.get("/user", headers=old)) == (403, "bad_jwt")
    assert reason(control.post(f"/keys/{waiting}", json={"state": "revoked"}))[0] == 422
    control.post("/rotate", json={"algorithm": "ES256", "revoke": True})
    assert waiting not in published()
    assert supabase.world.current.algorithm == "ES256"


def test_the_keys_of_the_project_open_what_they_should(
    http: httpx.Client, supabase: Running
) -> None:
    bare = f"{supabase.url}/auth/v1/admin/users"
    assert reason(httpx.get(bare)) == (401, "no_api_key")
    assert httpx.get(bare, headers={"apikey": "sb_secret_wrong"}).status_code == 403
    assert reason(http.get("/admin/users")) == (401, "no_authorization")
    asking = {
        supabase.anon_key: 403,
        supabase.world.kept.publishable_key: 403,
        supabase.service_role_key: 200,
        supabase.world.kept.secret_key: 200,
        signed_up(http)["access_token"]: 403,
    }
    for key, status in asking.items():
        answer = http.get("/admin/users", headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == status
    claims = jwt.decode(supabase.anon_key, options={"verify_signature": False})
    assert (claims["role"], claims["iss"]) == ("anon", "supabase")
    assert "sub" not in claims


def test_refusals_come_in_the_shape_that_was_asked_for(http: httpx.Client) -> None:
    old = http.post("/token?grant_type=password", json=ADA)
    assert old.json() == {
        "code": 400, "error_code": "invalid_credentials", "msg": "Invalid login credentials"
    }  # fmt: skip
    newer = {"x-supabase-api-version": "2024-01-01"}
    new = http.post("/token?grant_type=password", json=ADA, headers=newer)
    assert new.json() == {"code": "invalid_credentials", "message": "Invalid login credentials"}
    assert new.headers["x-supabase-api-version"] == "2024-01-01"
    assert reason(http.post("/signup", content=b"{not json")) == (400, "bad_json")
    assert reason(http.post("/signup", json={"email": 5})) == (400, "bad_json")


def test_an_expired_token_is_nobody(http: httpx.Client, clock: StoppedClock) -> None:
    me = {"authorization": f"Bearer {signed_up(http)['access_token']}"}
    clock.tick(timedelta(hours=1))
    assert reason(http.get("/user", headers=me)) == (403, "bad_jwt")


def test_faults_strike_where_asked_and_requests_are_counted(
    http: httpx.Client, control: httpx.Client
) -> None:
    control.post("/faults", json={"name": "500", "count": 2, "match": "/auth/v1/.well-known"})
    assert http.get("/health").status_code == 200
    assert [http.get(JWKS).status_code for _ in range(3)] == [500, 500, 200]
    control.post("/faults", json={"name": "refuse"})
    with pytest.raises(httpx.TransportError):
        http.get(JWKS)
    seen = control.get("/requests").json()
    assert seen["by_path"] == {f"GET /auth/v1{JWKS}": 4, "GET /auth/v1/health": 1}
    assert control.delete("/requests").json() == {"total": 0, "by_path": {}}
    control.post("/faults", json={"name": "429", "count": -1})
    for _ in range(3):
        assert reason(http.get(JWKS)) == (429, "over_request_rate_limit")
    assert control.delete("/faults").json() == []


def test_unknown_controls_are_refused(control: httpx.Client) -> None:
    for path, body in {
        "/faults": {"name": "earthquake"},
        "/tokens": {"typo": 1},
        "/keys": {"algorithm": "HS256"},
        "/rotate": {"algorithm": "none"},
    }.items():
        assert control.post(path, json=body).status_code == 422
    assert control.post("/faults", json={"name": "500", "count": 0}).status_code == 422
    assert control.post("/tokens", json={"kid": "unknown"}).status_code == 404
    assert control.post("/keys/unknown", json={"state": "in_use"}).status_code == 404


def test_tokens_are_made_to_order(control: httpx.Client, http: httpx.Client) -> None:
    user = signed_up(http)["user"]
    asked = {"user_id": user["id"], "claims": {"role": "anon"}, "without": ["exp"], "kid": "legacy"}
    token = control.post("/tokens", json=asked).json()["jwt"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["role"], "exp" in claims) == (user["id"], "anon", False)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}


def test_a_file_that_is_no_state_is_named(database: str, tmp_path: Path) -> None:
    path = tmp_path / "supabase.json"
    path.write_text("{}")
    with (
        pytest.raises(UnreadableState, match=r"supabase\.json"),
        running_supabase(database, state=path),
    ):
        pass


@contextmanager
def own_process(port: int, database: str, state: Path) -> Iterator[httpx.Client]:
    """Run the sandbox as `tenure sandbox supabase` does, and wait until it answers."""
    command = [sys.executable, "-m", "tenure.sandbox.supabase", "--port", str(port)]
    command += ["--database-url", database, "--state", str(state)]
    process = subprocess.Popen(command)  # noqa: S603 (our own module)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
            deadline = time.monotonic() + 30
            while True:
                try:
                    shown = http.get("/_sandbox").json()
                    break
                except httpx.TransportError:
                    assert process.poll() is None, "it ended by itself"
                    assert time.monotonic() < deadline, "it does not answer"
                    time.sleep(0.05)
            http.headers["apikey"] = shown["publishable_key"]
            yield http
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_people_keys_and_sessions_survive_a_killed_process(database: str, tmp_path: Path) -> None:
    """B5: even SIGKILL loses nothing that was answered."""
    state, port = tmp_path / "supabase.json", free_port()
    with own_process(port, database, state) as http:
        session = http.post("/auth/v1/signup", json=ADA).json()
        before = http.get("/_sandbox").json()["keys"]
    assert state.stat().st_mode & 0o077 == 0, "it holds private keys"
    with own_process(port, database, state) as http:
        assert http.get("/_sandbox").json()["keys"] == before
        me = {"authorization": f"Bearer {session['access_token']}"}
        assert http.get("/auth/v1/user", headers=me).json()["id"] == session["user"]["id"]
        again = {"refresh_token": session["refresh_token"]}
        path = "/auth/v1/token?grant_type=refresh_token"
        assert http.post(path, json=again).status_code == 200


def test_the_official_client_refreshes_its_session(supabase: Running) -> None:
    """B5"""
    with a_client(supabase, supabase.anon_key) as sdk:
        first = sdk.sign_up(ADA).session
        assert first
        second = sdk.refresh_session().session
        assert second
        assert second.refresh_token != first.refresh_token
        me = sdk.get_user(second.access_token)
        assert me
        assert me.user.created_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
