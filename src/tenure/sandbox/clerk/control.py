"""The sandbox's own door, `/_sandbox`: break things, and see what happened. Clerk has none."""

from typing import TypeVar, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tenure.sandbox.clerk import objects, seed, signing, svix, tokens
from tenure.sandbox.clerk.asking import answer, body_of, found, world_of
from tenure.sandbox.clerk.sessions import close
from tenure.sandbox.clerk.shelf import Json
from tenure.sandbox.clerk.signing import Signer, SigningKey
from tenure.sandbox.clerk.world import Refused, World
from tenure.sandbox.faults import FaultOfTime, Watch, count_requests
from tenure.sandbox.mailroom import doors
from tenure.sandbox.mischief import TROUBLES, UnknownTrouble


class Trouble(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Something that goes wrong with the next `count` webhooks whose type matches the glob."""

    name: str
    count: int = 1
    match: str = "*"
    seconds: float | None = None
    seed: int | None = None


class Named(msgspec.Struct):
    """The name that tells a fault from a trouble."""

    name: str


T = TypeVar("T")
LEAVING = {"end": "ended", "remove": "removed"}
# "500" and "429" answer so; "refuse" breaks the connection; "latency" waits first; "done_500" does
# what was asked, and then answers so; "stale" answers from the state as it was some acts ago.
FAULTS = frozenset({"500", "429", "refuse", "latency", "done_500", "stale"})


class Minted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A token made to order: the right claims, then what is asked to be wrong with them."""

    session_id: str | None = None  # none: a session of nobody in particular
    v: int = 2
    claims: Json = {}
    without: list[str] = []
    headers: Json = {}
    sign: Signer = "instance"
    key: int = 0  # which of the instance's published keys, newest first


def watch_of(request: Request) -> Watch[FaultOfTime]:
    """Find what this sandbox has noted."""
    return cast("Watch[FaultOfTime]", request.app.state.watch)


async def show(request: Request) -> Response:
    """`GET /_sandbox`: everything a client needs to be configured."""
    world = world_of(request)
    return answer(
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
    return answer(signing.jwks(state.keys))


async def mint(request: Request) -> Response:
    """`POST /_sandbox/tokens`: make any token, good or bad; the fields are those of `Minted`."""
    world = world_of(request)
    asked = _parsed(await request.body(), Minted)
    session = (
        found(world.sessions, asked.session_id, "session")
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
    return answer({"object": "token", "jwt": token})


async def faults(request: Request) -> Response:
    """`GET`, `POST` (one of `FAULTS`, or a `Trouble`) or `DELETE` (all) at `/_sandbox/faults`."""
    watch, courier = watch_of(request), world_of(request).courier
    if request.method == "POST":
        _plan(world_of(request), watch, await request.body())
    elif request.method == "DELETE":
        watch.faults.clear()
        courier.calm()
    troubles = [trouble.shown() for trouble in courier.mischief.listed()]
    return answer([*(msgspec.to_builtins(fault) for fault in watch.faults), *troubles])


def _plan(world: World, watch: Watch[FaultOfTime], raw: bytes) -> None:
    name = _parsed(raw, Named).name
    if name in FAULTS:
        fault = _parsed(raw, FaultOfTime)
        if not fault.is_sensible():
            raise Refused(422, "form_param_value_invalid", "count is -1 or above 0, back above 0")
        watch.faults.append(fault)
    elif name in {*TROUBLES, "drop"}:
        trouble = _parsed(raw, Trouble)
        try:
            world.courier.mischief.plan(**msgspec.structs.asdict(trouble))
        except UnknownTrouble as exc:
            raise Refused(422, "form_param_value_invalid", str(exc), exc.hint) from exc
    else:
        names = sorted(FAULTS | {*TROUBLES})
        raise Refused(422, "form_param_value_invalid", f"faults are {names}")


async def clock(request: Request) -> Response:
    """`GET` or `POST /_sandbox/clock {"ms"}`: let everything happen in one ms; null: no longer."""
    world = world_of(request)
    if request.method == "POST":
        asked = await body_of(request)
        ms = asked.get("ms", world.now_ms())
        if ms is not None and (not isinstance(ms, int) or ms < 0):
            raise Refused(422, "form_param_value_invalid", "ms are milliseconds, or null")
        world.pinned_ms = ms
    return answer({"ms": world.now_ms(), "stands": world.pinned_ms is not None})


async def leave(request: Request) -> Response:
    """`POST /_sandbox/sessions/{id}/{end|remove}`: what a browser does by signing out."""
    world, how = world_of(request), request.path_params["how"]
    session = found(world.sessions, request.path_params["session_id"], "session")
    if how not in LEAVING:
        raise Refused(404, "resource_not_found", "not found", f"a session cannot {how}")
    return answer(close(world, session, LEAVING[how]))


def _parsed(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise Refused(422, "request_body_invalid", str(exc)) from exc


def _new_secret(request: Request) -> str:
    return svix.new_secret(world_of(request).ids)


routes = [
    Route("/_sandbox", show, methods=["GET"]),
    Route("/_sandbox/rotate", rotate, methods=["POST"]),
    Route("/_sandbox/tokens", mint, methods=["POST"]),
    Route("/_sandbox/requests", count_requests, methods=["GET", "DELETE"]),
    Route("/_sandbox/faults", faults, methods=["GET", "POST", "DELETE"]),
    Route("/_sandbox/clock", clock, methods=["GET", "POST"]),
    Route("/_sandbox/seed", seed.plant, methods=["POST"]),
    Route("/_sandbox/sessions/{session_id}/{how}", leave, methods=["POST"]),
    *doors(lambda request: world_of(request).courier, _new_secret, svix.is_secret),
]
