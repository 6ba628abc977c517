"""Sessions: begun by signing in, ended by revoking, signing out, or losing the membership."""

from starlette.responses import JSONResponse, RedirectResponse, Response

from tenure.sandbox.workos import shapes
from tenure.sandbox.workos.asked import Asked, answered, route, text
from tenure.sandbox.workos.paging import asked_cut, cut
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.state import Json
from tenure.sandbox.workos.table import Row
from tenure.sandbox.workos.world import World, found


def begin(world: World, user_id: str, org_id: str | None, given: Json) -> Row:
    """Sign a user in."""
    session = world.sessions.put(shapes.session(world, user_id, org_id, given))
    user = world.users.rows[user_id]
    world.users.put(user | {"last_sign_in_at": session["created_at"]})
    world.emit("session.created", session, org_id)
    return session


def alive(world: World, session: Row) -> bool:
    """Tell whether a session still counts."""
    return session["status"] == "active" and world.now() < session["expires_at"]


def end(world: World, session: Row, *, told: bool = True) -> None:
    """Revoke a session; one that has ended stays as it is."""
    if not alive(world, session):
        return
    now = world.now()
    ended = session | {"status": "revoked", "ended_at": now, "updated_at": now}
    world.sessions.put(ended)
    if told:
        world.emit("session.revoked", ended, session["organization_id"])


def end_in(world: World, org_id: str, user_id: str) -> None:
    """Revoke every session of a user in an organization."""
    for session_id in list(world.sessions.find("user", user_id)):
        session = world.sessions.rows[session_id]
        if session["organization_id"] == org_id:
            end(world, session)


def forget_user(world: World, user_id: str) -> None:
    """Let a deleted user's sessions go."""
    for session_id in list(world.sessions.find("user", user_id)):
        end(world, world.sessions.rows[session_id], told=world.policy.cascade_events)
        world.sessions.drop(session_id)


def list_of_user(world: World, asked: Asked) -> Response:
    """`GET /user_management/users/{id}/sessions`: the active ones."""
    user_id = asked.path["id"]
    found(world.users, user_id, "User")
    rows = world.sessions.rows
    ids = world.sessions.find("user", user_id)
    page = cut(ids, asked_cut(asked.query), lambda key: alive(world, rows[key]))
    return answered(page, [rows[key] for key in page.ids])


def revoke(world: World, asked: Asked) -> Response:
    """`POST /user_management/sessions/revoke`."""
    end(world, found(world.sessions, text(asked.body, "session_id"), "Session"))
    return JSONResponse({})


def log_out(world: World, asked: Asked) -> Response:
    """`GET /user_management/sessions/logout`: what a browser is sent to; it shows no key."""
    session_id = asked.query.get("session_id")
    if not session_id:
        raise Refused.invalid("session_id", "must be given")
    session = world.sessions.get(session_id)
    if session is not None:
        end(world, session)
    back = asked.query.get("return_to")
    return RedirectResponse(back, 302) if back else JSONResponse({})


routes = [
    route("GET", "/user_management/users/{id}/sessions", list_of_user),
    route("POST", "/user_management/sessions/revoke", revoke),
    route("GET", "/user_management/sessions/logout", log_out),
]
