import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
def own_process(port: int, state: Path, *more: str) -> Iterator[httpx.Client]:
    """Run the sandbox as `tenure up` does, and wait until it answers."""
    command = [sys.executable, "-m", "tenure.sandbox.clerk", "--port", str(port)]
    command += ["--state", str(state), *more]
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


class Hook(BaseHTTPRequestHandler):
    """Notes the id and the type of each webhook; refuses the first."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        seen: list[tuple[str, str]] = self.server.seen
        seen.append((self.headers["svix-id"], body["type"]))
        self.send_response(500 if len(seen) == 1 else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_server_sends_its_webhooks_and_tries_again(hook: ThreadingHTTPServer) -> None:
    url = f"http://127.0.0.1:{hook.server_port}/"
    with running_clerk(webhook_url=url, webhook_scale=0.001) as clerk:
        headers = {"authorization": f"Bearer {clerk.secret_key}"}
        with httpx.Client(base_url=clerk.url, headers=headers) as http:
            http.post("/v1/users", json={}).raise_for_status()
            while True:
                flushed = http.post("/_sandbox/deliveries/flush", json={"timeout": 30}).json()
                if flushed["waiting"] == 0:
                    break
            (delivery,) = http.get("/_sandbox/deliveries").json()["data"]
    assert (delivery["status"], delivery["answers"]) == ("delivered", [500, 200])
    seen = hook.seen
    assert seen == [(delivery["event"], "user.created")] * 2


def test_events_endpoints_and_what_was_not_delivered_survive_a_killed_process(
    tmp_path: Path, hook: ThreadingHTTPServer
) -> None:
    state = tmp_path / "clerk.json"
    url = f"http://127.0.0.1:{hook.server_port}/"
    more = ("--webhook-url", url, "--webhook-secret", "whsec_dGVzdA==")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with own_process(port, state, *more) as http:
        http.post("/_sandbox/faults", json={"name": "reorder", "count": 9, "seconds": 600})
        http.post("/v1/users", json={}).raise_for_status()
        before = http.get("/_sandbox/events").json()
        assert http.get("/_sandbox/deliveries").json()["data"][0]["status"] == "held"
    with own_process(port, state, *more) as http:
        assert http.get("/_sandbox/events").json() == before
        (endpoint,) = http.get("/_sandbox/webhook_endpoints").json()["data"]
        assert endpoint["secret"] == "whsec_dGVzdA=="
        http.post("/_sandbox/deliveries/flush", json={"timeout": 30, "retries": True})
        assert hook.seen[0] == (before["data"][0]["id"], "user.created")
