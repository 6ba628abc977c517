"""Who is in which organization: created, deactivated, reactivated, deleted."""

from collections.abc import Sequence
from typing import cast

from starlette.responses import JSONResponse, Response

from tenure.sandbox.workos import sessions, shapes
from tenure.sandbox.workos.asked import Asked, answered, route, text
from tenure.sandbox.workos.paging import asked_cut, cut
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.state import Json
from tenure.sandbox.workos.table import Row
from tenure.sandbox.workos.world import World, found

STATUSES = frozenset({"active", "inactive", "pending"})
ACCEPT_INSTEAD = (
    "Pending organization memberships cannot be reactivated. The invite must be accepted instead."
)
DELETE_INSTEAD = (
    "Pending organization memberships cannot be deactivated. They should be deleted instead."
)


def join(
    world: World,
    org_id: str,
    user_id: str,
    roles: Sequence[str],
    *,
    status: str = "active",
    directory_managed: bool = False,
) -> Row:
    """Make a membership, or bring the inactive one of this pair back, with these roles.

    Errors: Refused.
    """
    present = world.pair(org_id, user_id)
    if present is None:
        row = shapes.membership(
            world, org_id, user_id, roles, status=status, directory_managed=directory_managed
        )
        world.memberships.put(row)
        world.emit("organization_membership.created", row, org_id)
        return row
    if present["status"] == "pending":  # 400 as measured by others; the docs name no status
        raise Refused(400, "cannot_reactivate_pending_organization_membership", ACCEPT_INSTEAD)
    if present["status"] == "active":
        code = "organization_membership_already_exists"
        raise Refused(422, code, f"User '{user_id}' is a member of '{org_id}' already.")
    managed = directory_managed or present["directory_managed"]
    changed = {"status": "active", "directory_managed": managed, **shapes.in_roles(roles)}
    return alter(world, present, changed)


def alter(world: World, row: Row, changed: Json) -> Row:
    """Change a membership and tell; where nothing differs nothing happens."""
    if all(row[name] == value for name, value in changed.items()):
        return row
    after = world.memberships.put(row | changed | {"updated_at": world.now()})
    world.emit("organization_membership.updated", after, row["organization_id"])
    return after


def turn_off(world: World, row: Row, changed: Json | None = None) -> Row:
    """Make a membership inactive and revoke the user's sessions in the organization."""
    after = alter(world, row, {"status": "inactive", **(changed or {})})
    sessions.end_in(world, row["organization_id"], row["user_id"])
    return after


def remove(world: World, row: Row, *, told: bool = True) -> None:
    """Delete a membership."""
    world.memberships.drop(row["id"])
    if told:
        world.emit("organization_membership.deleted", row, row["organization_id"])


def roles_of(world: World, given: Json) -> list[str]:
    """Read the roles that a request gives; none are the default.

    Errors: Refused.
    """
    slugs = given.get("role_slugs") or [given.get("role_slug") or world.policy.default_role]
    for slug in slugs:
        if slug not in world.policy.roles:
            raise Refused(422, "invalid_role", f"The role '{slug}' does not exist.")
    return cast("list[str]", slugs)


def create(world: World, asked: Asked) -> Response:
    """`POST /user_management/organization_memberships`."""
    given = asked.body
    org_id, user_id = text(given, "organization_id"), text(given, "user_id")
    found(world.organizations, org_id, "Organization")
    found(world.users, user_id, "User")
    row = join(world, org_id, user_id, roles_of(world, given))
    return JSONResponse(shapes.full_membership(world, row), 201)


def list_some(world: World, asked: Asked) -> Response:
    """`GET /user_management/organization_memberships`: the active ones, unless asked otherwise."""
    org_id, user_id = asked.query.get("organization_id"), asked.query.get("user_id")
    ids, rows, statuses = (
        _candidates(world, org_id, user_id),
        world.memberships.rows,
        _wanted(asked),
    )
    page = cut(ids, asked_cut(asked.query), lambda key: rows[key]["status"] in statuses)
    return answered(page, [shapes.full_membership(world, rows[key]) for key in page.ids])


def _candidates(world: World, org_id: str | None, user_id: str | None) -> Sequence[str]:
    table = world.memberships
    if org_id and user_id:
        return table.find("pair", (org_id, user_id))
    if org_id:
        return table.find("organization", org_id)
    if user_id:
        return table.find("user", user_id)
    code = "missing_user_id_or_organization_id"
    raise Refused(400, code, "Either user_id or organization_id must be given.")


def _wanted(asked: Asked) -> frozenset[str]:
    """Read `statuses`, a list with commas."""
    given = frozenset(filter(None, asked.query.get("statuses", "").split(",")))
    if not given <= STATUSES:
        raise Refused.invalid("statuses", f"can be {', '.join(sorted(STATUSES))}")
    return given or frozenset({"active"})


def get(world: World, asked: Asked) -> Response:
    """`GET /user_management/organization_memberships/{id}`."""
    return _shown(world, _named(world, asked))


def update(world: World, asked: Asked) -> Response:
    """`PUT /user_management/organization_memberships/{id}`: its roles."""
    row = _named(world, asked)
    return _shown(world, alter(world, row, shapes.in_roles(roles_of(world, asked.body))))


def delete(world: World, asked: Asked) -> Response:
    """`DELETE /user_management/organization_memberships/{id}`."""
    remove(world, _named(world, asked))
    return Response(status_code=204)


def deactivate(world: World, asked: Asked) -> Response:
    """`PUT …/{id}/deactivate`: nothing happens to an inactive one; a pending one is refused."""
    row = _not_pending(_named(world, asked), "deactivate", DELETE_INSTEAD)
    return _shown(world, row if row["status"] == "inactive" else turn_off(world, row))


def reactivate(world: World, asked: Asked) -> Response:
    """`PUT …/{id}/reactivate`: with the roles it had; nothing happens to an active one."""
    row = _not_pending(_named(world, asked), "reactivate", ACCEPT_INSTEAD)
    return _shown(world, alter(world, row, {"status": "active"}))


def _named(world: World, asked: Asked) -> Row:
    return found(world.memberships, asked.path["id"], "Organization membership")


def _shown(world: World, row: Row) -> Response:
    return JSONResponse(shapes.full_membership(world, row))


def _not_pending(row: Row, verb: str, instead: str) -> Row:
    if row["status"] == "pending":
        raise Refused(422, f"cannot_{verb}_pending_organization_membership", instead)
    return row


PATH = "/user_management/organization_memberships"
routes = [
    route("POST", PATH, create),
    route("GET", PATH, list_some),
    route("GET", f"{PATH}/{{id}}", get),
    route("PUT", f"{PATH}/{{id}}", update),
    route("DELETE", f"{PATH}/{{id}}", delete),
    route("PUT", f"{PATH}/{{id}}/deactivate", deactivate),
    route("PUT", f"{PATH}/{{id}}/reactivate", reactivate),
]
