"""What a directory (SCIM) does to memberships; an act of the control door."""

from starlette.responses import JSONResponse, Response

from tenure.sandbox.workos import memberships, shapes, users
from tenure.sandbox.workos.asked import Asked, route, text
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.table import Row
from tenure.sandbox.workos.world import World, found


def provision(world: World, asked: Asked) -> Response:
    """`POST /_sandbox/directory/provision {"organization_id", "email" | "user_id", "role_slug"?}`.

    A new person becomes a user; the membership is the directory's from now on.
    """
    given = asked.body
    org_id = found(world.organizations, text(given, "organization_id"), "Organization")["id"]
    user = _person(world, given)
    roles = memberships.roles_of(world, given)
    present = world.active(org_id, user["id"])
    if present is not None:
        changed = {"directory_managed": True, **shapes.in_roles(roles)}
        row = memberships.alter(world, present, changed)
    else:
        row = memberships.join(world, org_id, user["id"], roles, directory_managed=True)
    return JSONResponse(shapes.full_membership(world, row))


def _person(world: World, given: dict[str, str]) -> Row:
    if "user_id" in given:
        return found(world.users, given["user_id"], "User")
    email = text(given, "email").strip().lower()
    known = world.users.first("email", email)
    return known or users.add(world, {"email": email, "email_verified": True})


def deprovision(world: World, asked: Asked) -> Response:
    """`POST /_sandbox/directory/deprovision {"membership_id" | "organization_id", "user_id"}`.

    An active member becomes inactive in the default role and is signed out; a pending one goes.
    """
    row = _member(world, asked)
    if row["status"] == "pending":
        memberships.remove(world, row)
        return JSONResponse({"deleted": row["id"]})
    if row["status"] == "active":
        default = shapes.in_roles([world.policy.default_role])
        row = memberships.turn_off(world, row, {"directory_managed": True, **default})
    return JSONResponse(shapes.full_membership(world, row))


def delete(_world: World, _asked: Asked) -> Response:
    """`POST /_sandbox/directory/delete`: deleting a whole directory deactivates nobody."""
    return JSONResponse({"deactivated": 0})


def _member(world: World, asked: Asked) -> Row:
    given = asked.body
    if "membership_id" in given:
        return found(world.memberships, given["membership_id"], "Organization membership")
    org_id, user_id = text(given, "organization_id"), text(given, "user_id")
    row = world.pair(org_id, user_id)
    if row is None:
        raise Refused.missing("Organization membership", f"{org_id}/{user_id}")
    return row


routes = [
    route("POST", "/_sandbox/directory/provision", provision),
    route("POST", "/_sandbox/directory/deprovision", deprovision),
    route("POST", "/_sandbox/directory/delete", delete),
]
