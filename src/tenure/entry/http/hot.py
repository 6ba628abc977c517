"""The two paths that see the most traffic, bare: webhooks and the gate, without a framework."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec

from tenure.base.errors import TenureError
from tenure.billing import events, signature
from tenure.entry.http import errors, metrics
from tenure.entry.http.errors import BodyTooLarge, NotAllowed
from tenure.entry.world import Service
from tenure.gate.check import not_signed_in
from tenure.gate.model import Decision, Needs
from tenure.identity.errors import NotProven
from tenure.identity.session import bearer

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Door = Callable[[Service, Scope, Receive, Send], Awaitable[None]]

JSON = (b"content-type", b"application/json")


async def receive_stripe(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    """Keep an event of Stripe's and answer once it is durable; the worker does the thinking."""
    if scope["method"] != "POST":
        await answer(send, 405, errors.error("http.method_not_allowed", "only POST"), allow="POST")
        return
    settings, header = service.world.settings, _header(scope, b"stripe-signature")
    try:
        raw = await read_body(scope, receive, limit=settings.max_body)
        now = service.world.clock.now()
        signature.verify(raw, header, settings.stripe_webhook_secrets, now=now)
        account = settings.stripe_account or None
        knock = events.knock_of(raw, livemode=settings.livemode, account=account)
        await service.inbox.keep(knock)
    except TenureError as exc:
        await refuse(send, exc)
        return
    await answer(send, 200, {"received": True})


async def check_gate(service: Service, scope: Scope, _receive: Receive, send: Send) -> None:
    """Say whether a request may pass: forward-auth for nginx, Envoy, Traefik and Caddy."""
    try:
        decision = await _decision(service, scope)
    except TenureError as exc:
        await refuse(send, exc)
        return
    metrics.decisions.labels(decision.reason.value).inc()
    if not decision.allowed:
        await refuse(send, NotAllowed(decision))
        return
    facts = decision.facts
    await answer(
        send,
        200,
        {"decision": errors.told(decision)},
        **{"x-tenure-reason": decision.reason.value},
        **({"x-tenure-user": str(facts.user_id)} if facts and facts.user_id else {}),
        **({"x-tenure-org": str(facts.org_id)} if facts and facts.org_id else {}),
        **({"x-tenure-role": facts.role} if facts and facts.role else {}),
    )


async def _decision(service: Service, scope: Scope) -> Decision:
    try:
        token = bearer(_header(scope, b"authorization"))
    except NotProven as exc:
        return not_signed_in(exc)
    needs = needs_of(scope["query_string"].decode("latin-1"))
    return service.gate.recall(token, needs) or await service.gate.check(token, needs)


def needs_of(query: str) -> Needs:
    """Read what a route needs: `?subscription=no`, `role=…` (one of), `feature=…` (all of)."""
    asked = parse_qs(query)
    return Needs(
        subscription=asked.get("subscription", ["yes"])[-1] not in {"no", "false", "0"},
        roles=frozenset(asked.get("role", ())),
        features=frozenset(asked.get("feature", ())),
    )


async def read_body(scope: Scope, receive: Receive, *, limit: int) -> bytes:
    """Read a whole body, but not more than `limit` bytes of it.

    Errors: BodyTooLarge.
    """
    told = _header(scope, b"content-length")
    if told.isdigit() and int(told) > limit:
        raise BodyTooLarge(f"the body has {told} bytes, at most {limit} are taken")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise BodyTooLarge(f"the body has more than {limit} bytes")
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def refuse(send: Send, exc: TenureError) -> None:
    """Answer with an error of ours."""
    await answer(send, errors.status_of(exc), errors.body_of(exc), **errors.headers_of(exc))


async def answer(send: Send, status: int, body: object, **headers: str) -> None:
    """Send a JSON answer."""
    raw = msgspec.json.encode(body)
    named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    length = (b"content-length", str(len(raw)).encode())
    start = {"type": "http.response.start", "status": status, "headers": [JSON, length, *named]}
    await send(start)
    await send({"type": "http.response.body", "body": raw})


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


DOORS: dict[str, Door] = {"/webhooks/stripe": receive_stripe, "/gate/check": check_gate}
