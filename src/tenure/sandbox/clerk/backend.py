"""The Backend API: what a secret key may do at `/v1`."""

import hmac
from collections.abc import Iterable
from typing import cast

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenure.sandbox.clerk import objects, signing, tokens
from tenure.sandbox.clerk.world import Json, Refused, World

MAX_TOKEN_SECONDS = 315_360_000  # ten years, the real API's limit


def world_of(request: Request) -> World:
    """Find the instance this request speaks to."""
    return cast("World", request.app.state.world)


async def body_of(request: Request) -> Json:
    """Read the JSON object of a request; an empty body is an empty object."""
    raw = await request.body()
    try:
        return msgspec.json.decode(raw or b"{}", type=Json)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise Refused(400, "request_body_invalid", "Request body invalid") from exc


def check_secret(world: World, authorization: str) -> None:
    """Let only the holder of the secret key through."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer" or not given:
        raise Refused(
            401,
            "authorization_header_format_invalid",
            "Invalid Authorization header format",
            'Invalid Authorization header format. Must be "Bearer <YOUR_API_KEY>"',
        )
    if not hmac.compare_digest(given.encode(), world.state.secret_key.encode()):
        raise Refused(401, "clerk_key_invalid", "The provided Clerk Secret Key is invalid")


def found(table: dict[str, Json], key: str, what: str) -> Json:
    """Look an object up by id."""
    if key not in table:
        raise Refused(404, "resource_not_found", "not found", f"No {what} was found with id {key}")
    return table[key]


def text(given: Json, name: str) -> str:
    """Take a parameter that must be there."""
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(422, "form_param_missing", "is missing", f"`{name}` must be included.")
    return value


def page(request: Request, items: Iterable[Json]) -> list[Json]:
    """Cut out the page that `limit` and `offset` ask for, newest first."""
    query = request.query_params
    try:
        limit, offset = int(query.get("limit", "10")), int(query.get("offset", "0"))
    except ValueError as exc:
        raise Refused(422, "form_param_format_invalid", "limit and offset are numbers") from exc
    if not (1 <= limit <= 500 and offset >= 0):  # noqa: PLR2004 (Clerk's documented limits)
        raise Refused(422, "form_param_value_invalid", "limit is 1 to 500, offset 0 or more")
    newest = sorted(items, key=lambda item: item["created_at"], reverse=True)
    return newest[offset : offset + limit]


async def create_user(request: Request) -> Response:
    """`POST /v1/users`."""
    world, given = world_of(request), await body_of(request)
    addresses = given.get("email_address", [])
    if not isinstance(addresses, list) or not all(isinstance(a, str) for a in addresses):  # pyright: ignore[reportUnknownVariableType] (this line is what makes it known)
        raise Refused(422, "form_param_format_invalid", "email_address is a list of addresses")
    taken = {e["email_address"] for u in world.state.users.values() for e in u["email_addresses"]}
    if not taken.isdisjoint(cast("list[str]", addresses)):
        raise Refused(422, "form_identifier_exists", "That email address is taken.")
    user = objects.user(world, given)
    world.state.users[user["id"]] = user
    return JSONResponse(user)


async def list_users(request: Request) -> Response:
    """`GET /v1/users`: a bare array, as the real API answers."""
    query, users = request.query_params, world_of(request).state.users.values()
    wanted_ids, wanted_emails = query.getlist("user_id"), query.getlist("email_address")
    if wanted_ids:
        users = [user for user in users if user["id"] in wanted_ids]
    if wanted_emails:
        users = [
            user
            for user in users
            if any(e["email_address"] in wanted_emails for e in user["email_addresses"])
        ]
    return JSONResponse(page(request, users))


async def count_users(request: Request) -> Response:
    """`GET /v1/users/count`."""
    total = len(world_of(request).state.users)
    return JSONResponse({"object": "total_count", "total_count": total})


async def get_user(request: Request) -> Response:
    """`GET /v1/users/{id}`."""
    users = world_of(request).state.users
    return JSONResponse(found(users, request.path_params["user_id"], "user"))


async def update_user(request: Request) -> Response:
    """`PATCH /v1/users/{id}`."""
    world, given = world_of(request), await body_of(request)
    user = found(world.state.users, request.path_params["user_id"], "user")
    names = ("first_name", "last_name", "username", "external_id", "public_metadata")
    user |= {name: given[name] for name in (*names, "private_metadata") if name in given}
    user["updated_at"] = world.now_ms()
    return JSONResponse(user)


async def delete_user(request: Request) -> Response:
    """`DELETE /v1/users/{id}`: memberships and sessions go with it."""
    state, user_id = world_of(request).state, request.path_params["user_id"]
    found(state.users, user_id, "user")
    for table in (state.memberships, state.sessions):
        for key in [key for key, row in table.items() if row["user_id"] == user_id]:
            del table[key]
    del state.users[user_id]
    return JSONResponse({"object": "user", "id": user_id, "deleted": True})


async def memberships_of_user(request: Request) -> Response:
    """`GET /v1/users/{id}/organization_memberships`."""
    state, user_id = world_of(request).state, request.path_params["user_id"]
    found(state.users, user_id, "user")
    rows = [m for m in state.memberships.values() if m["user_id"] == user_id]
    return _members_page(request, rows)


async def create_session(request: Request) -> Response:
    """`POST /v1/sessions`; `organization_id` is the sandbox's own: Clerk sets it in the browser."""
    world, given = world_of(request), await body_of(request)
    user_id, org_id = text(given, "user_id"), given.get("organization_id")
    found(world.state.users, user_id, "user")
    if org_id is not None:
        rows = world.state.memberships.values()
        if not any(m["org_id"] == org_id and m["user_id"] == user_id for m in rows):
            raise Refused(404, "resource_not_found", "not found", "The user is not a member of it")
    session = objects.session(world, user_id, org_id, pending=given.get("status") == "pending")
    world.state.sessions[session["id"]] = session
    world.state.users[user_id]["last_sign_in_at"] = session["created_at"]
    return JSONResponse(session)


async def list_sessions(request: Request) -> Response:
    """`GET /v1/sessions?user_id=`: a bare array."""
    rows = world_of(request).state.sessions.values()
    user_id = request.query_params.get("user_id")
    return JSONResponse(page(request, [s for s in rows if user_id in (None, s["user_id"])]))


async def get_session(request: Request) -> Response:
    """`GET /v1/sessions/{id}`."""
    sessions = world_of(request).state.sessions
    return JSONResponse(found(sessions, request.path_params["session_id"], "session"))


async def revoke_session(request: Request) -> Response:
    """`POST /v1/sessions/{id}/revoke`."""
    world = world_of(request)
    session = found(world.state.sessions, request.path_params["session_id"], "session")
    session |= {"status": "revoked", "updated_at": world.now_ms()}
    return JSONResponse(session)


async def create_token(request: Request) -> Response:
    """`POST /v1/sessions/{id}/tokens`; our own: `?v=1` old claims, `?azp=` another origin."""
    world, given = world_of(request), await body_of(request)
    session = found(world.state.sessions, request.path_params["session_id"], "session")
    if session["status"] not in ("active", "pending"):
        raise Refused(404, "resource_not_found", "not found", "The session is no longer active")
    lifetime = given.get("expires_in_seconds", tokens.LIFETIME)
    if not isinstance(lifetime, int) or not 1 <= lifetime <= MAX_TOKEN_SECONDS:
        raise Refused(422, "form_param_value_invalid", "expires_in_seconds is out of range")
    query = request.query_params
    version = 1 if query.get("v") == "1" else 2
    claims = tokens.session_claims(world, session, version=version, lifetime=lifetime)
    claims["azp"] = query.get("azp", request.headers.get("origin", claims["azp"]))
    if not claims["azp"]:
        del claims["azp"]  # as Clerk does for a request without an Origin
    return JSONResponse({"object": "token", "jwt": signing.sign(claims, world.state.keys[0])})


async def get_jwks(request: Request) -> Response:
    """`GET /v1/jwks` and, on the Frontend API, `/.well-known/jwks.json`."""
    return JSONResponse(signing.jwks(world_of(request).state.keys))


def _members_page(request: Request, rows: list[Json]) -> Response:
    world = world_of(request)
    data = [objects.membership_shape(world, row) for row in page(request, rows)]
    return JSONResponse({"data": data, "total_count": len(rows)})


routes = [
    Route("/.well-known/jwks.json", get_jwks, methods=["GET"]),
    Route("/v1/jwks", get_jwks, methods=["GET"]),
    Route("/v1/users", create_user, methods=["POST"]),
    Route("/v1/users", list_users, methods=["GET"]),
    Route("/v1/users/count", count_users, methods=["GET"]),
    Route("/v1/users/{user_id}", get_user, methods=["GET"]),
    Route("/v1/users/{user_id}", update_user, methods=["PATCH"]),
    Route("/v1/users/{user_id}", delete_user, methods=["DELETE"]),
    Route("/v1/users/{user_id}/organization_memberships", memberships_of_user, methods=["GET"]),
    Route("/v1/sessions", create_session, methods=["POST"]),
    Route("/v1/sessions", list_sessions, methods=["GET"]),
    Route("/v1/sessions/{session_id}", get_session, methods=["GET"]),
    Route("/v1/sessions/{session_id}/revoke", revoke_session, methods=["POST"]),
    Route("/v1/sessions/{session_id}/tokens", create_token, methods=["POST"]),
]
