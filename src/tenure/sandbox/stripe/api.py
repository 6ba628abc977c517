"""One API request: who asks, for what, may it pass, the act, the answer."""

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tenure.sandbox.stripe import errors
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.expand import expanded
from tenure.sandbox.stripe.idempotency import fingerprint
from tenure.sandbox.stripe.model import API_VERSION, Answer, Caller, Obj
from tenure.sandbox.stripe.params import checked, decode
from tenure.sandbox.stripe.route import Call, Route
from tenure.sandbox.stripe.routes import ROUTES
from tenure.sandbox.stripe.world import World

KEY = re.compile(r"(sk|rk)_(test|live)_\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came over the wire; header names are lower case."""

    method: str
    path: str
    query: str
    body: str
    headers: Mapping[str, str]
    base_url: str

    @property
    def subject(self) -> str:
        """Name the request for faults and counters."""
        return f"{self.method} {self.path}"


async def answer(world: World, asked: Asked) -> Answer:
    """Answer one request, refusals included."""
    request_id = world.ids.token("req_", 14)
    try:
        found = await _answer(world, asked, request_id)
    except errors.StripeRefusal as refusal:
        found = _refused(refusal, request_id)
    headers = {"Request-Id": request_id, "Stripe-Version": API_VERSION, **found.headers}
    return Answer(status=found.status, body=found.body, headers=headers)


def _refused(refusal: errors.StripeRefusal, request_id: str) -> Answer:
    return Answer(
        status=refusal.status, body=refusal.body(request_id), headers=dict(refusal.headers)
    )


async def _answer(world: World, asked: Asked, request_id: str) -> Answer:
    books = authenticate(world, asked.headers)
    route, path = find_route(asked)
    operation = f"{route.method} {route.path}"
    world.requests[operation] += 1
    world.limits.check(operation)
    _fail_early(world, asked)
    raw = decode(asked.query)
    raw.update(decode(asked.body))
    params = checked(raw, route.takes, route.need)
    call = Call(books=books, params=params, path=path, base_url=asked.base_url)
    key = asked.headers.get("idempotency-key", "")
    caller = Caller(request_id=request_id, idempotency_key=key or None)
    if not key or asked.method != "POST":
        return await _perform(world, asked, route, call, caller=caller)
    return await _perform_once(world, asked, route, call, caller=caller, raw=raw)


async def _perform_once(
    world: World, asked: Asked, route: Route, call: Call, *, caller: Caller, raw: Obj
) -> Answer:
    """Act at most once per idempotency key."""
    name = f"{call.books.mode}:{caller.idempotency_key}"
    print_ = fingerprint(asked.method, asked.path, raw)
    saved = world.answers.begin(name, print_, call.books.now())
    if saved is not None:
        return saved
    found: Answer | None = None
    try:
        await _linger(world, asked)
        acted = found = _act(world, asked, route, call, caller=caller)
    finally:
        world.answers.end(name, call.books.now(), found)
    await _hang(world, asked)
    return acted


async def _perform(
    world: World, asked: Asked, route: Route, call: Call, *, caller: Caller
) -> Answer:
    await _linger(world, asked)
    found = _act(world, asked, route, call, caller=caller)
    await _hang(world, asked)
    return found


def _act(world: World, asked: Asked, route: Route, call: Call, *, caller: Caller) -> Answer:
    """Do it; nothing here waits, so the change is atomic."""
    books = call.books
    books.caller = caller
    try:
        result = books.show(route.answer(call))
        body = expanded(books, result, call.params.get("expand") or [])
    except errors.StripeRefusal as refusal:
        return _refused(refusal, caller.request_id or "")
    finally:
        books.caller = Caller()
    if asked.method == "POST" and world.faults.take("cached_500", asked.subject):
        return _refused(errors.broken(saved=True), caller.request_id or "")
    return Answer(status=200, body=body)


def _fail_early(world: World, asked: Asked) -> None:
    """Fail before anything was done."""
    if world.faults.take("429", asked.subject):
        raise errors.too_fast()
    if world.faults.take("lock_timeout", asked.subject):
        raise errors.locked()
    if world.faults.take("500", asked.subject):
        raise errors.broken(saved=False)


async def _linger(world: World, asked: Asked) -> None:
    """Be slow before acting."""
    fault = world.faults.take("latency", asked.subject)
    if fault is not None:
        await asyncio.sleep(fault.seconds)


async def _hang(world: World, asked: Asked) -> None:
    """Keep silent after acting."""
    fault = world.faults.take("timeout", asked.subject)
    if fault is not None:
        await asyncio.sleep(fault.seconds)


def authenticate(world: World, headers: Mapping[str, str]) -> Books:
    """Find the mode that the key opens.

    Errors: 401.
    """
    key = _key_of(headers.get("authorization", ""))
    if not KEY.fullmatch(key):
        raise errors.bad_key(_masked(key))
    fixed = world.policy.secret_key
    if fixed and key not in {fixed, fixed.replace("_test_", "_live_")}:
        raise errors.bad_key(_masked(key))
    return world.live if "_live_" in key else world.test


def _key_of(header: str) -> str:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _masked(key: str) -> str:
    """Show a key as Stripe does: its kind and its last four letters."""
    kind = "_".join(key.split("_")[:2])
    return f"{kind}_{'*' * 8}{key[-4:]}" if key else ""


def find_route(asked: Asked) -> tuple[Route, dict[str, str]]:
    """Find the row that serves a request.

    Errors: 404.
    """
    parts = asked.path.strip("/").split("/")
    for route in ROUTES:
        found = route.match(asked.method, parts)
        if found is not None:
            return route, found
    raise errors.unknown_url(asked.method, asked.path)
