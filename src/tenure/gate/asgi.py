"""The gate in front of any ASGI application: FastAPI, Starlette, Litestar, Quart, Django."""

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any

from tenure.base.errors import TenureError
from tenure.base.log import about, request_id
from tenure.gate import told
from tenure.gate.check import Gate, not_signed_in
from tenure.gate.model import SAFE_METHODS, Decision, Needs
from tenure.identity.errors import NotProven
from tenure.identity.session import bearer

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")  # a request id that we take from a client
POLICY_VIOLATION = 1008  # RFC 6455; a server turns it into 403 before the handshake


class GateMiddleware:
    """Lets a request pass, with `scope["tenure"]` saying why, or answers it.

    `gate` may be a function that gives the gate, where it is opened in the lifespan.
    `needs_of` says what a request needs: None leaves it alone (no token is asked for), and
    `Needs(subscription=False)` asks for a member, whatever was bought.
    """

    def __init__(
        self,
        app: Application,
        gate: Gate | Callable[[], Gate],
        needs_of: Callable[[Scope], Needs | None],
    ) -> None:
        self._app = app
        self._gate = gate
        self._needs_of = needs_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        needs = self._needs_of(scope) if scope["type"] in {"http", "websocket"} else None
        if needs is None:
            await self._app(scope, receive, send)
            return
        name = request_id() or self._name(scope)
        with about(request_id=name):
            try:
                decision = await self._decide(scope, needs)
            except told.CANNOT_DECIDE as exc:
                await _refuse(scope, send, *_undecided(exc))
                return
            if not decision.allowed:
                await _refuse(scope, send, told.CLOSED[decision.reason], told.refusal(decision))
                return
        scope["tenure"] = decision
        await self._app(scope, receive, send)

    async def _decide(self, scope: Scope, needs: Needs) -> Decision:
        try:
            token = bearer(_header(scope, b"authorization").decode("latin-1"))
        except NotProven as exc:
            return not_signed_in(exc)
        writes = scope.get("method", "GET") not in SAFE_METHODS
        return await self._open_gate().check(token, replace(needs, fresh=True) if writes else needs)

    def _open_gate(self) -> Gate:
        return self._gate if isinstance(self._gate, Gate) else self._gate()

    def _name(self, scope: Scope) -> str:
        given = _header(scope, b"x-request-id")
        if GIVEN_ID.fullmatch(given):
            return given.decode()
        return self._open_gate().ids.token("req_", 16)


async def _refuse(scope: Scope, send: Send, status: int, body: told.Json) -> None:
    if scope["type"] == "websocket":
        code: str = body["error"]["code"]
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": code})
        return
    raw = json.dumps(body).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(raw)).encode()),
        (b"x-request-id", request_id().encode()),
        *told.HEADERS.get(status, ()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})


def _undecided(exc: TenureError) -> tuple[int, told.Json]:
    status = next(told.UNDECIDED[kind] for kind in type(exc).__mro__ if kind in told.UNDECIDED)
    return status, told.error(exc.code, str(exc), exc.hint)


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")
