"""The two paths that see the most traffic, bare: webhooks and the gate, without a framework."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import msgspec

from tenure.base.errors import TenureError
from tenure.billing import events, signature
from tenure.entry.http import errors, metrics
from tenure.entry.http.errors import (
    BodyCutOff,
    BodyTooLarge,
    NotAllowed,
    NotConfigured,
    UnknownNeed,
)
from tenure.entry.world import Service, World
from tenure.gate import told
from tenure.gate.check import not_signed_in
from tenure.gate.model import SAFE_METHODS, Decision, Needs
from tenure.identity import svix, workos_signature
from tenure.identity.directory import Reader
from tenure.identity.errors import NotProven
from tenure.identity.session import bearer
from tenure.journal.model import Knock

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Door = Callable[[Service, Scope, Receive, Send], Awaitable[None]]
Read = Callable[[World, Scope, bytes], Knock]

JSON = (b"content-type", b"application/json")
GATE_FOR = "/gate/for/"
METHOD_HEADERS = frozenset({b"x-forwarded-method", b"x-original-method"})


def webhook(read: Read) -> Door:
    """Make the door of one provider: keep an event, answer once that is durable, and no more.

    The worker does the thinking. `read` proves who sent the bytes, and reads whom they concern.
    """

    async def receive(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            refused = told.error("http.method_not_allowed", "only POST")
            await answer(send, 405, refused, allow="POST")
            return
        try:
            raw = await read_body(scope, receive, limit=service.world.settings.max_body)
            await service.inbox.keep(read(service.world, scope, raw))
        except TenureError as exc:
            await refuse(send, exc)
            return
        await answer(send, 200, {"received": True})

    return receive


def _from_stripe(world: World, scope: Scope, raw: bytes) -> Knock:
    settings, header = world.settings, _header(scope, b"stripe-signature")
    signature.verify(raw, header, settings.stripe_webhook_secrets, now=world.clock.now())
    account = settings.stripe_account or None
    return events.knock_of(raw, livemode=settings.livemode, account=account)


def _from_clerk(world: World, scope: Scope, raw: bytes) -> Knock:
    secrets = world.settings.clerk_webhook_secrets
    reader = _reader(world, "clerk", secrets, "CLERK_WEBHOOK_SECRET")
    headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
    event_id = svix.verify(raw, headers, secrets, now=world.clock.now())
    return reader.knock_of(raw, event_id=event_id)


def _from_workos(world: World, scope: Scope, raw: bytes) -> Knock:
    secrets = world.settings.workos_webhook_secrets
    reader = _reader(world, "workos", secrets, "WORKOS_WEBHOOK_SECRET")
    header = _header(scope, b"workos-signature")
    workos_signature.verify(raw, header, secrets, now=world.clock.now())
    return reader.knock_of(raw)


def _reader(world: World, provider: str, secrets: Sequence[str], variable: str) -> Reader:
    reader = world.readers.get(provider)
    if reader is None or not secrets:
        raise NotConfigured(f"{provider} is not configured: {variable} is not set")
    return reader


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
    await answer(send, 200, {"decision": told.decision(decision)}, **_who(decision))


def _who(passed: Decision) -> dict[str, str]:
    """Name who may pass; a header with nothing to say is empty, to overwrite the client's own."""
    facts = passed.facts
    return {
        "x-tenure-reason": passed.reason.value,
        "x-tenure-user": str(facts.user_id or "") if facts else "",
        "x-tenure-org": str(facts.org_id or "") if facts else "",
        "x-tenure-role": facts.role or "" if facts else "",
    }


async def _decision(service: Service, scope: Scope) -> Decision:
    needs = needs_of(scope)
    if not SAFE_METHODS.issuperset(_methods(scope)):
        needs = replace(needs, fresh=True)
    try:
        token = bearer(_header(scope, b"authorization"))
    except NotProven as exc:
        return not_signed_in(exc)
    return service.gate.recall(token, needs) or await service.gate.check(token, needs)


def _methods(scope: Scope) -> set[str]:
    """List the methods that a proxy says the guarded request has, and our own."""
    said = (v.decode("latin-1").upper() for k, v in scope["headers"] if k in METHOD_HEADERS)
    return {scope["method"], *filter(None, said)}


def needs_of(scope: Scope) -> Needs:
    """Read what a route needs: `role=…` (one of), `feature=…` (all of), `subscription=no`.

    In the path, `/gate/for/role=admin&feature=reports`, a proxy has written it: it decides alone,
    and whatever follows (Envoy puts the guarded path there) or stands in the query does not count.
    A query may have come from the client, as with Caddy and Envoy: it can ask for more, never for
    less, so `subscription=no` does not count there.
    Errors: UnknownNeed, so that a slip of the pen closes the gate.
    """
    path: str = scope["path"]
    if path.startswith(GATE_FOR):
        return _named(path.removeprefix(GATE_FOR).partition("/")[0])
    asked = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    return Needs(
        roles=frozenset(asked.get("role", ())), features=frozenset(asked.get("feature", ()))
    )


def _named(text: str) -> Needs:
    asked = parse_qs(text, keep_blank_values=True)
    subscription = asked.pop("subscription", ["yes"])
    roles, features = asked.pop("role", ()), asked.pop("feature", ())
    known = {"yes": True, "no": False}
    if asked or len(subscription) > 1 or subscription[0] not in known or "" in (*roles, *features):
        raise UnknownNeed(f"the gate does not understand {text!r}")
    return Needs(
        subscription=known[subscription[0]], roles=frozenset(roles), features=frozenset(features)
    )


async def read_body(scope: Scope, receive: Receive, *, limit: int) -> bytes:
    """Read a whole body, but not more than `limit` bytes of it.

    Errors: BodyTooLarge, BodyCutOff.
    """
    said = _header(scope, b"content-length")
    if said.isdecimal() and int(said) > limit:
        raise BodyTooLarge(f"the body has {said} bytes, at most {limit} are taken")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BodyCutOff("the client went away before its body had ended")
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise BodyTooLarge(f"the body has more than {limit} bytes")
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def bounded(scope: Scope, receive: Receive, *, limit: int) -> Receive:
    """Read a body ahead, bounded, for code that would read on without an end.

    Errors: BodyTooLarge, BodyCutOff.
    """
    if scope["method"] in {"GET", "HEAD", "OPTIONS"}:
        return receive  # nobody reads theirs
    waiting = [await read_body(scope, receive, limit=limit)]

    async def again() -> dict[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again


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


DOORS: dict[str, Door] = {
    "/webhooks/stripe": webhook(_from_stripe),
    "/webhooks/clerk": webhook(_from_clerk),
    "/webhooks/workos": webhook(_from_workos),
    "/gate/check": check_gate,
}


def door_of(path: str) -> tuple[str, Door] | None:
    """Find the bare door of a path, and the name that it is counted under."""
    if (door := DOORS.get(path)) is not None:
        return path, door
    return (GATE_FOR + "{needs}", check_gate) if path.startswith(GATE_FOR) else None
