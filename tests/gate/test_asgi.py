"""The gate in front of a plain ASGI application: no framework, as a library."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tenure.base.db import Db, open_pool
from tenure.gate.asgi import GateMiddleware, Message, Receive, Scope, Send
from tenure.gate.check import Gate
from tenure.gate.model import ANY_MEMBER, Needs, Reason
from tests.gate.builders import a_gate, subscribe
from tests.identity.clerk_scene import Scene

ROUTES: dict[str, Needs | None] = {
    "/open": None,
    "/members": ANY_MEMBER,
    "/paid": Needs(),
    "/owners": Needs(subscription=False, roles=frozenset({"owner"})),
    "/reports": Needs(features=frozenset({"reports"})),
}


async def an_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what the gate left in the scope."""
    del receive
    decision = scope.get("tenure")
    said = decision.reason.value.encode() if decision else b"nothing"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said})


def needs_of(scope: Scope) -> Needs | None:
    return ROUTES[scope["path"]]


@pytest.fixture
async def gate(db: Db, scene: Scene) -> AsyncIterator[Gate]:
    async with a_gate(db, scene.clerk.url, scene.clock) as made:
        yield made


@pytest.fixture
async def client(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(GateMiddleware(an_app, gate, needs_of))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as made:
        yield made


@pytest.fixture
def token(scene: Scene) -> str:
    return scene.mint(session_id=scene.a_session()["id"])


def signed(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_a_route_may_leave_the_gate_alone(client: httpx.AsyncClient) -> None:
    """M3, B8: None opts out of every link; no token is asked for."""
    answer = await client.get("/open")

    assert (answer.status_code, answer.text) == (200, "nothing")


async def test_a_route_may_leave_the_subscription_out(
    client: httpx.AsyncClient, token: str
) -> None:
    """M3, B8: by name, and the decision is in the scope."""
    answer = await client.get("/members", headers=signed(token))

    assert (answer.status_code, answer.text) == (200, Reason.NOT_ASKED.value)


async def test_without_a_token_it_answers_401(client: httpx.AsyncClient) -> None:
    answer = await client.get("/paid", headers={"x-request-id": "mine-1"})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.json()["error"] == {
        "code": "identity.no_token",
        "message": "the request carries no session token",
        "hint": "Send the session token as `Authorization: Bearer <token>`.",
        "request_id": "mine-1",
    }


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/paid", 402, "gate.no_subscription"),
        ("/owners", 403, "gate.role_missing"),
    ],
)
async def test_a_refusal_explains_itself(
    client: httpx.AsyncClient, token: str, path: str, status: int, code: str
) -> None:
    """B4, B8: the same shape and the same statuses as the service's own."""
    answer = await client.get(path, headers=signed(token))

    body = answer.json()
    assert (answer.status_code, body["error"]["code"]) == (status, code)
    assert body["error"]["request_id"] == answer.headers["x-request-id"]
    assert body["decision"]["allowed"] is False
    assert body["decision"]["change"] == body["error"]["hint"]


async def test_who_has_bought_passes_and_a_feature_is_asked_for(
    client: httpx.AsyncClient, gate: Gate, db: Db, token: str
) -> None:
    """M3, B8: past the subscription comes rbac with its features."""
    who = await gate.verifier.verify(token)
    await client.get("/members", headers=signed(token))
    org = await subscribe(db, who)
    gate.cache.drop(org_id=org, user_id=None)

    paid = await client.get("/paid", headers=signed(token))
    reports = await client.get("/reports", headers=signed(token))

    assert (paid.status_code, paid.text) == (200, "open")
    assert (reports.status_code, reports.json()["error"]["code"]) == (403, "gate.feature_missing")


async def test_when_nobody_can_decide_it_answers_503(url: str, scene: Scene, token: str) -> None:
    pool = open_pool(url)
    async with pool, a_gate(Db(pool), scene.clerk.url, scene.clock) as gate:
        await pool.close()
        transport = httpx.ASGITransport(GateMiddleware(an_app, lambda: gate, needs_of))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as client:
            answer = await client.get("/paid", headers=signed(token))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "base.database_away"


async def test_a_websocket_is_closed_before_it_opens(gate: Gate) -> None:
    """B8: what is not a request is guarded too."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    scope: dict[str, Any] = {"type": "websocket", "path": "/paid", "headers": []}
    await GateMiddleware(an_app, gate, needs_of)(scope, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "identity.no_token"}]


async def test_the_lifespan_is_passed_on_untouched(gate: Gate) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        seen.append(scope["type"])

    async def nothing(*_: object) -> Any:
        return {}

    await GateMiddleware(app, gate, needs_of)({"type": "lifespan"}, nothing, nothing)

    assert seen == ["lifespan"]


async def test_a_header_that_is_no_text_is_no_token(client: httpx.AsyncClient) -> None:
    answer = await client.get("/paid", headers={b"authorization": b"Bearer \xff\xfe\x80.\xff.\xff"})

    assert answer.status_code == 401
