"""The sandbox's own door, `/_sandbox`: break things, and see what happened. WorkOS has none."""

from dataclasses import asdict, dataclass
from typing import cast

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenure.sandbox.faults import Watch, count_requests
from tenure.sandbox.mischief import TROUBLES, UnknownTrouble
from tenure.sandbox.workos import faults, shapes, signing, tokens
from tenure.sandbox.workos.asked import Asked, read, route, world_of
from tenure.sandbox.workos.faults import Fault
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.signing import Signer
from tenure.sandbox.workos.state import Json
from tenure.sandbox.workos.world import World, found


class Minted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A token made to order: the right claims, then what is asked to be wrong with them."""

    session_id: str | None = None  # none: a session of nobody in particular
    claims: Json = {}
    without: list[str] = []
    headers: Json = {}
    sign: Signer = "instance"
    key: int = 0  # which of the environment's keys; the first one signs


class Rotation(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A change of keys; as it stands: a new one signs, and both are published."""

    kid: str | None = None  # a key that is there; none: a new one
    sign: bool = True  # no: it is only announced
    publish: bool = True  # no: it signs before the key set tells of it
    keep_old: bool = True


def show(world: World, _asked: Asked) -> Response:
    """`GET /_sandbox`: everything a client needs to be configured."""
    state = world.state
    return JSONResponse(
        {
            "url": world.url,
            "api_key": state.api_key,
            "client_id": state.client_id,
            "webhook_secret": state.webhook_secret,
            "issuer": world.issuer,
            "jwks_url": f"{world.url}/sso/jwks/{state.client_id}",
            "policy": msgspec.to_builtins(state.policy),
            "now": world.now(),
        }
    )


def change_policy(world: World, asked: Asked) -> Response:
    """`PATCH /_sandbox/policy`: behave otherwise from now on; the fields are those of `Policy`."""
    wanted = msgspec.to_builtins(world.policy) | asked.body
    try:
        world.state.policy = msgspec.convert(wanted, type(world.policy))
    except msgspec.ValidationError as exc:
        raise Refused.invalid("policy", str(exc)) from exc
    return JSONResponse(msgspec.to_builtins(world.policy))


def rotate(world: World, asked: Asked) -> Response:
    """`POST /_sandbox/rotate`: the fields are those of `Rotation`; answers with the key set."""
    given = read(asked.raw, Rotation)
    keys = world.signing_keys()
    if given.kid is None:
        key = world.new_key()
    else:
        key = next((one for one in keys if one.kid == given.kid), None)
        if key is None:
            raise Refused.missing("Key", given.kid)
    key = signing.SigningKey(key.kid, key.pem, published=given.publish)
    old = [one for one in keys if one.kid != key.kid] if given.keep_old else []
    world.state.keys = [key, *old] if given.sign or not old else [*old, key]
    return JSONResponse(signing.jwks(world.state.keys))


def mint(world: World, asked: Asked) -> Response:
    """`POST /_sandbox/tokens`: make any token, good or bad; the fields are those of `Minted`."""
    given = read(asked.raw, Minted)
    session = (
        found(world.sessions, given.session_id, "Session")
        if given.session_id
        else shapes.session(world, world.new_id("user_"), None, {})
    )
    claims = tokens.claims(world, session) | given.claims
    for name in given.without:
        claims.pop(name, None)
    if not 0 <= given.key < len(world.signing_keys()):
        raise Refused.invalid("key", "must be the place of a key that is there")
    key = world.signing_keys()[given.key]
    token = signing.sign(claims, key, headers=given.headers, by=given.sign)
    return JSONResponse({"access_token": token})


def grant(world: World, asked: Asked) -> Response:
    """`POST /_sandbox/organizations/{id} {"entitlements"?, "feature_flags"?}`: for its tokens."""
    row, given = found(world.organizations, asked.path["id"], "Organization"), asked.body
    names = ("entitlements", "feature_flags")
    row = world.organizations.put(row | {f"_{n}": given[n] for n in names if n in given})
    return JSONResponse({name: row.get(f"_{name}", []) for name in names})


def stop_clock(world: World, asked: Asked) -> Response:
    """`POST /_sandbox/clock {"ms"?}`: let everything happen in one ms; null: no longer."""
    ms = asked.body.get("ms", world.now_ms())
    if ms is not None and (not isinstance(ms, int) or ms < 0):
        raise Refused.invalid("ms", "are milliseconds, or null")
    world.pinned_ms = ms
    return JSONResponse({"ms": world.now_ms(), "stands": ms is not None})


async def plan_faults(request: Request) -> Response:
    """`GET`, `POST` (one `Fault`, or a trouble of webhooks) or `DELETE` (all)."""
    world = world_of(request)
    watch = cast("Watch[Fault]", request.app.state.watch)
    if request.method == "POST":
        _plan(world, watch, await request.body())
    elif request.method == "DELETE":
        watch.faults.clear()
        world.courier.calm()
    planned = [msgspec.to_builtins(fault) for fault in watch.faults]
    return JSONResponse([*planned, *(one.shown() for one in world.courier.mischief.listed())])


def _plan(world: World, watch: Watch[Fault], raw: bytes) -> None:
    """Plan what goes wrong.

    Errors: Refused.
    """
    given = read(raw, Json, status=400)
    if given.get("name") not in {*TROUBLES, "drop"}:
        fault = read(raw, Fault)
        if fault.name not in faults.NAMES:
            known = ", ".join(sorted({*faults.NAMES, *TROUBLES}))
            raise Refused.invalid("name", f"must be one of {known}")
        if not fault.is_sensible():
            raise Refused.invalid("count", "is -1 or above 0, and back above 0")
        watch.faults.append(fault)
        return
    trouble = read(raw, Trouble)
    try:
        world.courier.mischief.plan(**asdict(trouble))
    except UnknownTrouble as exc:
        raise Refused.invalid("name", str(exc)) from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What the courier shall do wrong."""

    name: str
    match: str = "*"
    count: int = 1
    seconds: float | None = None
    seed: int | None = None


routes = [
    route("GET", "/_sandbox", show),
    route("PATCH", "/_sandbox/policy", change_policy),
    route("POST", "/_sandbox/clock", stop_clock),
    route("POST", "/_sandbox/rotate", rotate),
    route("POST", "/_sandbox/tokens", mint),
    route("POST", "/_sandbox/organizations/{id}", grant),
    Route("/_sandbox/requests", count_requests, methods=["GET", "DELETE"]),
    Route("/_sandbox/faults", plan_faults, methods=["GET", "POST", "DELETE"]),
]
