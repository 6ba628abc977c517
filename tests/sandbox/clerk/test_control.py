import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tenure.sandbox.clerk.app import Running, running_clerk
from tenure.sandbox.clerk.world import UnreadableState

JWKS = "/.well-known/jwks.json"


@pytest.fixture
def clerk() -> Iterator[Running]:
    with running_clerk() as running:
        yield running


@pytest.fixture
def http(clerk: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=clerk.url) as http:
        yield http


def kids(http: httpx.Client) -> list[tuple[str, str]]:
    return [(key["kid"], key["n"]) for key in http.get(JWKS).json()["keys"]]


def test_rotation_changes_the_key_and_the_kid_only_if_asked(http: httpx.Client) -> None:
    ((kid, old),) = kids(http)
    http.post("/_sandbox/rotate")
    ((same, new),) = kids(http)
    assert (same == kid, new == old) == (True, False)
    http.post("/_sandbox/rotate", json={"kid": "new", "keep_old": True})
    assert [name == kid for name, _ in kids(http)] == [False, True]


def test_requests_are_counted_until_forgotten(http: httpx.Client) -> None:
    for _ in range(3):
        http.get(JWKS)
    seen = http.get("/_sandbox/requests").json()
    assert seen == {"total": 3, "by_path": {f"GET {JWKS}": 3}}
    assert http.delete("/_sandbox/requests").json() == {"total": 0, "by_path": {}}


def test_a_fault_strikes_as_often_as_asked_and_only_where_asked(http: httpx.Client) -> None:
    http.post("/_sandbox/faults", json={"name": "500", "count": 2, "match": JWKS})
    assert http.get("/v1/users").status_code == 401
    assert [http.get(JWKS).status_code for _ in range(3)] == [500, 500, 200]
    http.post("/_sandbox/faults", json={"name": "429", "seconds": 7})
    limited = http.get(JWKS)
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    http.post("/_sandbox/faults", json={"name": "refuse"})
    with pytest.raises(httpx.TransportError):
        http.get(JWKS)
    assert http.get(JWKS).status_code == 200


def test_unknown_controls_are_refused(http: httpx.Client) -> None:
    for path, body in {
        "/_sandbox/faults": {"name": "earthquake"},
        "/_sandbox/tokens": {"key": 9},
    }.items():
        assert http.post(path, json=body).status_code == 422
    assert http.post("/_sandbox/tokens", json={"typo": 1}).status_code == 422


def test_a_file_that_is_no_state_is_named(tmp_path: Path) -> None:
    path = tmp_path / "clerk.json"
    path.write_text("{}")
    with pytest.raises(UnreadableState, match=r"clerk\.json"), running_clerk(state=path):
        pass


@contextmanager
def own_process(port: int, state: Path) -> Iterator[httpx.Client]:
    """Run the sandbox as `tenure up` does, and wait until it answers."""
    command = [sys.executable, "-m", "tenure.sandbox.clerk", "--port", str(port)]
    process = subprocess.Popen([*command, "--state", str(state)])  # noqa: S603 (our own module)
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
            http.headers["authorization"] = f"Bearer {shown['secret_key']}"
            yield http
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_users_keys_and_the_secret_survive_a_killed_process(tmp_path: Path) -> None:
    """B5: a second `up` keeps its users; even SIGKILL loses nothing that was answered."""
    state = tmp_path / "clerk.json"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with own_process(port, state) as http:
        user = http.post("/v1/users", json={"email_address": ["ada@example.com"]}).json()
        session = http.post("/v1/sessions", json={"user_id": user["id"]}).json()
        before = (dict(http.headers), http.get("/_sandbox").json())
    assert state.stat().st_mode & 0o077 == 0, "it holds a private key"
    with own_process(port, state) as http:
        assert (dict(http.headers), http.get("/_sandbox").json()) == before
        assert http.get("/v1/users").json()[0]["id"] == user["id"]
        assert http.post(f"/v1/sessions/{session['id']}/tokens").status_code == 200
