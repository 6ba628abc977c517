"""The sandbox's own door, `/_sandbox`: break things, and see what happened. Supabase has none."""

from typing import TypeVar, cast

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenure.sandbox.faults import Fault, Watch, count_requests
from tenure.sandbox.supabase import signing, store, tokens
from tenure.sandbox.supabase.asking import uuid_of, world_of
from tenure.sandbox.supabase.signing import Algorithm, Signer, State
from tenure.sandbox.supabase.world import Json, Refused, World


class Minted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A token made to order: the right claims, then what is asked to be wrong with them."""

    user_id: str | None = None  # none: nobody in particular
    session_id: str | None = None
    claims: Json = {}
    without: list[str] = []
    headers: Json = {}
    sign: Signer = "project"
    kid: str | None = None  # none: the key in use; "legacy": the shared secret


class Rotated(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How the signing key shall change."""

    algorithm: Algorithm | None = None  # none: the standby key, or a new one like the present
    revoke: bool = False  # take the old key back at once, without an overlap


class Moved(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Into which state a key shall go."""

    state: State


class Added(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What kind of standby key is wanted."""

    algorithm: Algorithm = "ES256"


T = TypeVar("T")
# "500" and "429" answer so; "refuse" breaks the connection; "latency" waits first.
FAULTS = frozenset({"500", "429", "refuse", "latency"})


def watch_of(request: Request) -> Watch[Fault]:
    """Find what this sandbox has noted."""
    return cast("Watch[Fault]", request.app.state.watch)


async def show(request: Request) -> Response:
    """`GET /_sandbox`: everything a client needs to be configured."""
    world = world_of(request)
    return JSONResponse(
        {
            "url": world.url,
            "issuer": world.issuer,
            "anon_key": world.api_key("anon"),
            "service_role_key": world.api_key("service_role"),
            "publishable_key": world.kept.publishable_key,
            "secret_key": world.kept.secret_key,
            "jwt_secret": world.secret.text,
            "keys": _keys(world),
        }
    )


def _keys(world: World) -> list[Json]:
    return [
        {"kid": key.kid, "algorithm": key.algorithm, "state": key.state} for key in world.kept.keys
    ]


async def add_key(request: Request) -> Response:
    """`POST /_sandbox/keys {"algorithm": …}`: publish a standby key."""
    world = world_of(request)
    world.add(_asymmetric(_parsed(await request.body(), Added).algorithm))
    return JSONResponse(_keys(world))


async def move_key(request: Request) -> Response:
    """`POST /_sandbox/keys/{kid} {"state": …}`: standby, in_use, previously_used or revoked."""
    world = world_of(request)
    world.move(request.path_params["kid"], _parsed(await request.body(), Moved).state)
    return JSONResponse(_keys(world))


async def rotate(request: Request) -> Response:
    """`POST /_sandbox/rotate`: sign with the standby key, or a new one; see `Rotated`."""
    world, asked = world_of(request), _parsed(await request.body(), Rotated)
    old, wanted = world.current, asked.algorithm
    waiting = next((k for k in world.kept.keys if _is_waiting(k, wanted)), None)
    usual: Algorithm = "ES256" if old.algorithm == "HS256" else old.algorithm
    following = waiting or world.add(_asymmetric(wanted or usual))
    world.move(following.kid, "in_use")
    if asked.revoke:
        world.move(old.kid, "revoked")
    return JSONResponse(_keys(world))


def _is_waiting(key: signing.SigningKey, wanted: Algorithm | None) -> bool:
    return key.state == "standby" and wanted in {None, key.algorithm}


def _asymmetric(algorithm: Algorithm) -> Algorithm:
    if algorithm == "HS256":
        raise Refused(422, "validation_failed", "new keys are ES256 or RS256")
    return algorithm


async def mint(request: Request) -> Response:
    """`POST /_sandbox/tokens`: make any token, good or bad; the fields are those of `Minted`."""
    world, asked = world_of(request), _parsed(await request.body(), Minted)
    user = await _somebody(world, asked.user_id)
    claims = tokens.access_claims(world, user, asked.session_id or str(world.ids.uuid()))
    claims |= asked.claims
    for name in asked.without:
        claims.pop(name, None)
    kid = asked.kid or world.current.kid
    key = next((key for key in world.kept.keys if key.kid == kid), None)
    if key is None:
        raise Refused(404, "no_such_key", f"there is no key {kid}")
    return JSONResponse({"jwt": signing.sign(claims, key, headers=asked.headers, by=asked.sign)})


async def _somebody(world: World, user_id: str | None) -> Json:
    if user_id is None:
        return {
            "id": world.ids.uuid(),
            "aud": "authenticated",
            "role": "authenticated",
            "email": "nobody@example.com",
            "phone": None,
            "raw_app_meta_data": {"provider": "email", "providers": ["email"]},
            "raw_user_meta_data": {},
            "is_anonymous": False,
        }
    async with world.db.statement() as tx:
        user = await store.get_user(tx, user_id=uuid_of(user_id))
    if user is None:
        raise Refused(404, "user_not_found", "User not found")
    return user


async def faults(request: Request) -> Response:
    """`GET`, `POST` (one `Fault`) or `DELETE` (all) at `/_sandbox/faults`."""
    watch = watch_of(request)
    if request.method == "POST":
        fault = _parsed(await request.body(), Fault)
        if fault.name not in FAULTS:
            raise Refused(422, "validation_failed", f"faults are {sorted(FAULTS)}")
        if not fault.is_sensible():
            raise Refused(422, "validation_failed", "count is -1 or above 0")
        watch.faults.append(fault)
    elif request.method == "DELETE":
        watch.faults.clear()
    return JSONResponse([msgspec.to_builtins(fault) for fault in watch.faults])


def _parsed(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise Refused(422, "bad_json", str(exc)) from exc


routes = [
    Route("/_sandbox", show, methods=["GET"]),
    Route("/_sandbox/keys", add_key, methods=["POST"]),
    Route("/_sandbox/keys/{kid}", move_key, methods=["POST"]),
    Route("/_sandbox/rotate", rotate, methods=["POST"]),
    Route("/_sandbox/tokens", mint, methods=["POST"]),
    Route("/_sandbox/requests", count_requests, methods=["GET", "DELETE"]),
    Route("/_sandbox/faults", faults, methods=["GET", "POST", "DELETE"]),
]
