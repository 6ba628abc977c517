"""A pretended Stripe in a thread, for tests and for one-process demonstrations."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Unpack

import httpx

from tenure.sandbox.serving import beside
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.server import Setup, address_of, listen, make_server, prepared


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
    try:
        with (
            closing(listen("127.0.0.1", port)) as sock,
            beside(make_server(world), sock, "Stripe"),
            httpx.Client(trust_env=False, timeout=90.0) as client,
        ):
            key = world.policy.secret_key or "sk_test_sandbox"
            yield Box(url=address_of(sock), secret_key=key, client=client)
    finally:
        kept = setup.get("state")
        if kept is not None:
            world.state.save(kept)
