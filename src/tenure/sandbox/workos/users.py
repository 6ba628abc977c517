"""The users of the environment."""

import hashlib
from collections.abc import Sequence

from starlette.responses import JSONResponse, Response

from tenure.sandbox.workos import memberships, sessions, shapes
from tenure.sandbox.workos.asked import Asked, answered, route, text
from tenure.sandbox.workos.paging import asked_cut, cut
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.state import Json
from tenure.sandbox.workos.table import Row, Table
from tenure.sandbox.workos.world import World, found

PLAIN = ("first_name", "last_name", "name", "email_verified", "external_id", "locale")


def add(world: World, given: Json) -> Row:
    """Make a user.

    Errors: Refused.
    """
    given = given | {"email": text(given, "email").strip().lower()}
    if world.users.find("email", given["email"]):
        raise _taken("user_creation_error", "Could not create user.")
    check_external_id(world.users, given.get("external_id"), None)
    row = shapes.user(world, given)
    row |= {"metadata": merged({}, given.get("metadata")), **_password(given)}
    world.users.put(row)
    world.emit("user.created", shapes.shown(row), None)
    return row


def create(world: World, asked: Asked) -> Response:
    """`POST /user_management/users`."""
    return JSONResponse(shapes.shown(add(world, asked.body)), 201)


def list_some(world: World, asked: Asked) -> Response:
    """`GET /user_management/users`, all or by `email` or `organization_id`."""
    rows, ids = world.users.rows, _candidates(world, asked)
    page = cut(ids, asked_cut(asked.query))
    return answered(page, [shapes.shown(rows[key]) for key in page.ids])


def _candidates(world: World, asked: Asked) -> Sequence[str]:
    email, org_id = asked.query.get("email"), asked.query.get("organization_id")
    if email is not None:
        ids = world.users.find("email", email.strip().lower())
        return [key for key in ids if org_id is None or world.pair(org_id, key)]
    if org_id is not None:
        return world.memberships.find("users_of", org_id)
    return world.users.ids


def get(world: World, asked: Asked) -> Response:
    """`GET /user_management/users/{id}`."""
    return JSONResponse(shapes.shown(found(world.users, asked.path["id"], "User")))


def get_by_external_id(world: World, asked: Asked) -> Response:
    """`GET /user_management/users/external_id/{id}`."""
    row = world.users.first("external_id", asked.path["id"])
    if row is None:
        raise Refused.missing("User", asked.path["id"])
    return JSONResponse(shapes.shown(row))


def update(world: World, asked: Asked) -> Response:
    """`PUT /user_management/users/{id}`: only what is given changes."""
    row, given = found(world.users, asked.path["id"], "User"), asked.body
    changed = {name: given[name] for name in PLAIN if name in given} | _password(given)
    if "email" in given:
        changed["email"] = _new_email(world, row, text(given, "email").strip().lower())
    if "metadata" in given:
        changed["metadata"] = merged(row["metadata"], given["metadata"])
    check_external_id(world.users, changed.get("external_id"), row["id"])
    if any(row.get(name) != value for name, value in changed.items()):
        row = world.users.put(row | changed | {"updated_at": world.now()})
        world.emit("user.updated", shapes.shown(row), None)
    return JSONResponse(shapes.shown(row))


def delete(world: World, asked: Asked) -> Response:
    """`DELETE /user_management/users/{id}`: memberships and sessions go with it."""
    row = found(world.users, asked.path["id"], "User")
    for key in list(world.memberships.find("user", row["id"])):
        told = world.policy.cascade_events
        memberships.remove(world, world.memberships.rows[key], told=told)
    sessions.forget_user(world, row["id"])
    world.users.drop(row["id"])
    world.emit("user.deleted", shapes.shown(row), None)
    return Response(status_code=204)


def merged(before: Json, given: Json | None) -> Json:
    """Merge metadata: null removes a key."""
    return {name: value for name, value in (before | (given or {})).items() if value is not None}


def check_external_id(table: Table, external_id: str | None, own: str | None) -> None:
    """See that an external id belongs to nobody else.

    Errors: Refused.
    """
    if external_id is not None and set(table.find("external_id", external_id)) - {own}:
        code = "external_id_already_used"
        raise Refused(400, code, f"The external ID '{external_id}' is in use already.")


def hashed(password: str) -> str:
    """Keep a password so that the state file does not show it."""
    return hashlib.sha256(password.encode()).hexdigest()


def _password(given: Json) -> Json:
    return {"_password": hashed(given["password"])} if given.get("password") else {}


def _taken(code: str, message: str) -> Refused:
    problem = {"code": "email_not_available", "message": "This email is not available."}
    return Refused(422, code, message, errors=[problem])


def _new_email(world: World, row: Row, email: str) -> str:
    if email == row["email"]:
        return email
    ids = world.memberships.find("user", row["id"])
    if any(world.memberships.rows[key]["directory_managed"] for key in ids):
        message = "The email of a user that a directory manages cannot be changed."
        raise Refused(422, "email_change_not_allowed", message)
    if world.users.find("email", email):
        raise _taken("email_not_available", "This email is not available.")
    return email


PATH = "/user_management/users"
routes = [
    route("POST", PATH, create),
    route("GET", PATH, list_some),
    route("GET", f"{PATH}/external_id/{{id}}", get_by_external_id),
    route("GET", f"{PATH}/{{id}}", get),
    route("PUT", f"{PATH}/{{id}}", update),
    route("DELETE", f"{PATH}/{{id}}", delete),
]
