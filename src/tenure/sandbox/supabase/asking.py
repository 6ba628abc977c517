"""What a request says: its body, its parameters, and who sent it."""

import hmac
from typing import cast
from uuid import UUID

import jwt
import msgspec
from starlette.requests import Request

from tenure.sandbox.supabase.signing import LEGACY, SigningKey
from tenure.sandbox.supabase.world import Json, Refused, World


def world_of(request: Request) -> World:
    """Find the project that this request speaks to."""
    return cast("World", request.app.state.world)


async def body_of(request: Request) -> Json:
    """Read the JSON object of a request; an empty body is an empty object."""
    raw = await request.body()
    try:
        return msgspec.json.decode(raw or b"{}", type=Json)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise Refused(400, "bad_json", "Could not parse request body as JSON") from exc


def text(given: Json, name: str) -> str:
    """Take a parameter that may be missing, and must be text."""
    value = given.get(name) or ""
    if not isinstance(value, str):
        raise Refused(400, "bad_json", f"{name} must be a string")
    return value


def mapping(given: Json, name: str) -> Json:
    """Take a parameter that may be missing, and must be an object."""
    value: object = given.get(name) or {}
    if not isinstance(value, dict):
        raise Refused(400, "bad_json", f"{name} must be an object")
    return cast("Json", value)


def number(request: Request, name: str, usual: int) -> int:
    """Take a whole number above zero from the address."""
    value = request.query_params.get(name) or str(usual)
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise Refused(400, "validation_failed", f"Bad Pagination Parameters: {name}")
    return int(value)


def uuid_of(value: str) -> UUID:
    """Read an id."""
    try:
        return UUID(value)
    except ValueError as exc:
        raise Refused(404, "validation_failed", "user_id must be an UUID") from exc


def check_api_key(world: World, given: str) -> None:
    """Let through what shows a key of the project, as the gateway before Supabase Auth does."""
    if not given:
        raise Refused(401, "no_api_key", "No API key found in request")
    known = (world.kept.publishable_key, world.kept.secret_key)
    if any(hmac.compare_digest(given.encode(), key.encode()) for key in known):
        return
    claims = _proven(world, given)
    if claims.get("role") not in {"anon", "service_role"}:
        raise Refused(401, "invalid_api_key", "Invalid API key")


def check_admin(request: Request) -> None:
    """Let only a service key through."""
    world = world_of(request)
    token = _bearer(request)
    if hmac.compare_digest(token.encode(), world.kept.secret_key.encode()):
        return
    if _proven(world, token).get("role") != "service_role":
        raise Refused(403, "not_admin", "User not allowed")


def claims_of(request: Request) -> Json:
    """Read the claims of whoever is signed in."""
    world = world_of(request)
    claims = _proven(world, _bearer(request))
    if float(claims.get("exp") or 0) <= world.clock.now().timestamp():
        raise Refused(403, "bad_jwt", "invalid JWT: token has invalid claims: token is expired")
    if not claims.get("sub"):
        raise Refused(403, "bad_jwt", "invalid claim: missing sub claim")
    return claims


def _bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Refused(401, "no_authorization", "This endpoint requires a valid Bearer token")
    return token


def _proven(world: World, token: str) -> Json:
    """Give the claims that a key of the project has signed, the key being chosen by its `kid`."""
    try:
        kid = str(jwt.get_unverified_header(token).get("kid", LEGACY))
        key = _key(world, kid)
        unchecked = {"verify_exp": False, "verify_aud": False, "verify_iat": False}
        return jwt.decode(token, key.checker, algorithms=[key.algorithm], options=unchecked)  # pyright: ignore[reportArgumentType] (PyJWT has no name for these options)
    except jwt.PyJWTError as exc:
        raise Refused(403, "bad_jwt", f"invalid JWT: unable to parse or verify: {exc}") from exc


def _key(world: World, kid: str) -> SigningKey:
    for key in world.kept.keys:
        if key.kid == kid and key.state != "revoked":
            return key
    raise Refused(403, "bad_jwt", f"invalid JWT: unrecognized JWT kid {kid}")
