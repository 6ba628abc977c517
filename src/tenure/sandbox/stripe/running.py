"""A pretended Stripe in a thread, for tests and for one-process demonstrations."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Unpack

import httpx
import uvicorn

from tenure.base.errors import TenureError
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.server import Setup, address_of, listen, make_server, prepared

START_WITHIN = 10.0
STOP_WITHIN = 10.0


class NotStarted(TenureError):
    """The sandbox did not come up."""

    code = "sandbox.not_started"
    hint = "Look for a traceback above: the server's thread has ended."


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A running sandbox, and its control API as methods."""

    url: str
    secret_key: str
    client: httpx.Client

    def control(self, method: str, path: str, /, **given: Any) -> Obj:  # noqa: ANN401 (any JSON)
        """Use the control API; a refusal raises."""
        answer = self.client.request(method, f"{self.url}/_sandbox{path}", json=given)
        answer.raise_for_status()
        return answer.json()

    def advance(self, seconds: int) -> Obj:
        """Move the time of customers without a test clock."""
        return self.control("POST", "/clock/advance", seconds=seconds)

    def fault(self, name: str, **more: Any) -> Obj:  # noqa: ANN401 (count, match, seconds)
        """Plan trouble."""
        return self.control("POST", "/faults", name=name, **more)

    def flush(self, *, retries: bool = False) -> Obj:
        """Wait until every due delivery was tried."""
        return self.control("POST", "/deliveries/flush", retries=retries)

    def requests(self) -> dict[str, int]:
        """Tell how often each operation was asked for."""
        return self.control("GET", "/requests")["by_operation"]

    def pay(self, session_url: str, card: str = "works", **form: str) -> httpx.Response:
        """Pay on the hosted page: `works`, `declined` or `fails_later`."""
        return self.client.post(session_url, data={"card": card, **form})


@contextmanager
def running_stripe(*, port: int = 0, **setup: Unpack[Setup]) -> Generator[Box]:
    """Run a sandbox for the length of a `with` block; with `state`, save there at the end.

    `box.secret_key` is a key that works: the one that `policy` fixes, else any.
    """
    world = prepared(**setup)
    server = make_server(world)
    sock = listen("127.0.0.1", port)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        _wait_for(server, thread)
        key = world.policy.secret_key or "sk_test_sandbox"
        with httpx.Client(trust_env=False, timeout=90.0) as client:
            yield Box(url=address_of(sock), secret_key=key, client=client)
    finally:
        server.should_exit = True
        thread.join(STOP_WITHIN)
        sock.close()
        kept = setup.get("state")
        if kept is not None:
            world.state.save(kept)


def _wait_for(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_WITHIN
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise NotStarted("the pretended Stripe did not start")
        time.sleep(0.01)
