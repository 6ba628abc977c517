"""The sandbox's own door, `/_sandbox`: break things, and see what happened. Clerk has none."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TypeVar, cast

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenure.sandbox.clerk import objects, signing, tokens
from tenure.sandbox.clerk.backend import body_of, found, world_of
from tenure.sandbox.clerk.signing import Signer, SigningKey
from tenure.sandbox.clerk.world import Json, Refused


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Something that goes wrong with the next `count` requests whose path starts with `match`.

    "500" and "429" answer so; "refuse" breaks the connection; "latency" waits `seconds` first.
    """

    name: str
    count: int = 1
    match: str = "/"
    seconds: float = 1.0


T = TypeVar("T")
FAULTS = frozenset({"500", "429", "refuse", "latency"})


class Minted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A token made to order: the right claims, then what is asked to be wrong with them."""

    session_id: str | None = None  # none: a session of nobody in particular
    v: int = 2
    claims: Json = {}
    without: list[str] = []
    headers: Json = {}
    sign: Signer = "instance"
    key: int = 0  # which of the instance's published keys, newest first


@dataclass(slots=True)
class Watch:
    """What was asked, and what shall go wrong next."""

    requests: Counter[str] = field(default_factory=Counter[str])
    faults: list[Fault] = field(default_factory=list[Fault])

    def strike(self, path: str) -> Fault | None:
        """Take one use of the first fault that is meant for this path."""
        for fault in self.faults:
            if path.startswith(fault.match):
                fault.count -= 1
                if fault.count <= 0:
                    self.faults.remove(fault)
                return fault
        return None


def watch_of(request: Request) -> Watch:
    """Find what this sandbox has noted."""
    return cast("Watch", request.app.state.watch)


async def show(request: Request) -> Response:
    """`GET /_sandbox`: everything a client needs to be configured."""
    world = world_of(request)
    return JSONResponse(
        {
            "url": world.url,
            "secret_key": world.state.secret_key,
            "publishable_key": world.publishable_key,
            "instance_id": world.state.instance_id,
            "origin": world.origin,
            "public_pem": world.state.keys[0].public_pem(),
        }
    )


async def rotate(request: Request) -> Response:
    """`POST /_sandbox/rotate {"kid": "same" | "new", "keep_old": bool}`: sign with a new key."""
    world, given = world_of(request), await body_of(request)
    state = world.state
    kid = state.keys[0].kid if given.get("kid", "same") == "same" else world.ids.token("ins_")
    kept = state.keys if given.get("keep_old", False) else []
    state.keys = [SigningKey.make(kid), *kept]
    return JSONResponse(signing.jwks(state.keys))


async def mint(request: Request) -> Response:
    """`POST /_sandbox/tokens`: make any token, good or bad; the fields are those of `Minted`."""
    world = world_of(request)
    asked = _parsed(await request.body(), Minted)
    session = (
        found(world.state.sessions, asked.session_id, "session")
        if asked.session_id
        else objects.session(world, world.ids.token("user_", 27), None)
    )
    claims = tokens.session_claims(world, session, version=asked.v) | asked.claims
    for name in asked.without:
        claims.pop(name, None)
    if not 0 <= asked.key < len(world.state.keys):
        raise Refused(422, "form_param_value_invalid", "there are fewer keys than that")
    key = world.state.keys[asked.key]
    token = signing.sign(claims, key, headers=asked.headers, by=asked.sign)
    return JSONResponse({"object": "token", "jwt": token})


async def count_requests(request: Request) -> Response:
    """`GET /_sandbox/requests`: how often each path was asked; `DELETE` starts again at 0."""
    watch = watch_of(request)
    if request.method == "DELETE":
        watch.requests.clear()
    return JSONResponse({"total": watch.requests.total(), "by_path": dict(watch.requests)})


async def faults(request: Request) -> Response:
    """`GET`, `POST` (one `Fault`) or `DELETE` (all) at `/_sandbox/faults`."""
    watch = watch_of(request)
    if request.method == "POST":
        fault = _parsed(await request.body(), Fault)
        if fault.name not in FAULTS:
            raise Refused(422, "form_param_value_invalid", f"faults are {sorted(FAULTS)}")
        watch.faults.append(fault)
    elif request.method == "DELETE":
        watch.faults.clear()
    return JSONResponse([msgspec.to_builtins(fault) for fault in watch.faults])


def _parsed(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise Refused(422, "request_body_invalid", str(exc)) from exc


routes = [
    Route("/_sandbox", show, methods=["GET"]),
    Route("/_sandbox/rotate", rotate, methods=["POST"]),
    Route("/_sandbox/tokens", mint, methods=["POST"]),
    Route("/_sandbox/requests", count_requests, methods=["GET", "DELETE"]),
    Route("/_sandbox/faults", faults, methods=["GET", "POST", "DELETE"]),
]
