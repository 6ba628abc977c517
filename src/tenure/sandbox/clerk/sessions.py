"""The Backend API's sessions, their tokens, and the keys those are signed with."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tenure.sandbox.clerk import objects, signing, tokens
from tenure.sandbox.clerk.asking import (
    answer,
    body_of,
    found,
    listed,
    narrowed,
    page,
    text,
    world_of,
)
from tenure.sandbox.clerk.shelf import Json
from tenure.sandbox.clerk.world import Refused, World, pair

MAX_TOKEN_SECONDS = 315_360_000  # ten years, the real API's limit
OPEN = frozenset({"active", "pending"})


async def create(request: Request) -> Response:
    """`POST /v1/sessions`; `organization_id` is the sandbox's own: Clerk sets it in the browser."""
    world, given = world_of(request), await body_of(request)
    user_id, org_id = text(given, "user_id"), given.get("organization_id")
    user = found(world.users, user_id, "user")
    if org_id is not None and world.memberships.one("pair", pair(org_id, user_id)) is None:
        raise Refused(404, "resource_not_found", "not found", "The user is not a member of it")
    pending = given.get("status") == "pending"
    session = world.sessions.put(objects.session(world, user_id, org_id, pending=pending))
    world.users.put(user | {"last_sign_in_at": session["created_at"]})
    world.tell("session.created", objects.session_event(world, session))
    return answer(session)


async def list_all(request: Request) -> Response:
    """`GET /v1/sessions?user_id=&client_id=&status=`: a bare array, unless `paginated=true`."""
    world, query = world_of(request), request.query_params
    sessions = world.sessions
    places = sessions.places("user", query["user_id"]) if "user_id" in query else sessions.places()
    asked = {name: query[name] for name in ("client_id", "status") if name in query}
    places = narrowed(
        sessions,
        places,
        (lambda row: all(row[k] == v for k, v in asked.items())) if asked else None,
    )
    if query.get("paginated") == "true":
        return listed(request, sessions, places, lambda row: row)
    return answer(page(request, sessions, places))


async def get(request: Request) -> Response:
    """`GET /v1/sessions/{id}`."""
    return answer(_named(request))


async def revoke(request: Request) -> Response:
    """`POST /v1/sessions/{id}/revoke`."""
    return answer(close(world_of(request), _named(request), "revoked"))


async def create_token(request: Request) -> Response:
    """`POST /v1/sessions/{id}/tokens`; our own: `?v=1` old claims, `?azp=` another origin."""
    world, given, session = world_of(request), await body_of(request), _named(request)
    if session["status"] not in OPEN:
        raise Refused(404, "resource_not_found", "not found", "The session is no longer active")
    lifetime = given.get("expires_in_seconds") or tokens.LIFETIME
    if not isinstance(lifetime, int) or not 1 <= lifetime <= MAX_TOKEN_SECONDS:
        raise Refused(422, "form_param_value_invalid", "expires_in_seconds is out of range")
    query = request.query_params
    version = 1 if query.get("v") == "1" else 2
    claims = tokens.session_claims(world, session, version=version, lifetime=lifetime)
    claims["azp"] = query.get("azp", request.headers.get("origin", claims["azp"]))
    if not claims["azp"]:
        del claims["azp"]  # as Clerk does for a request without an Origin
    return answer({"object": "token", "jwt": signing.sign(claims, world.state.keys[0])})


async def get_jwks(request: Request) -> Response:
    """`GET /v1/jwks` and, on the Frontend API, `/.well-known/jwks.json`."""
    return answer(signing.jwks(world_of(request).state.keys))


def close(world: World, session: Json, status: str) -> Json:
    """End a session in one of Clerk's ways: `ended`, `removed` or `revoked`; once."""
    if session["status"] not in OPEN:
        return session
    closed = world.sessions.put(session | {"status": status, "updated_at": world.now_ms()})
    world.tell(f"session.{status}", objects.session_event(world, closed))
    return closed


def revoke_all(world: World, user_id: str) -> None:
    """Revoke every session of a user."""
    for session in world.sessions.of("user", user_id):
        close(world, session, "revoked")


def _named(request: Request) -> Json:
    return found(world_of(request).sessions, request.path_params["session_id"], "session")


routes = [
    Route("/.well-known/jwks.json", get_jwks, methods=["GET"]),
    Route("/v1/jwks", get_jwks, methods=["GET"]),
    Route("/v1/sessions", create, methods=["POST"]),
    Route("/v1/sessions", list_all, methods=["GET"]),
    Route("/v1/sessions/{session_id}", get, methods=["GET"]),
    Route("/v1/sessions/{session_id}/revoke", revoke, methods=["POST"]),
    Route("/v1/sessions/{session_id}/tokens", create_token, methods=["POST"]),
]
