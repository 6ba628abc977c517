"""Invitations: sent, accepted, revoked, expired."""

from starlette.responses import JSONResponse, Response

from tenure.sandbox.workos import memberships, shapes, users
from tenure.sandbox.workos.asked import Asked, answered, route, text
from tenure.sandbox.workos.paging import asked_cut, cut
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.state import Json
from tenure.sandbox.workos.table import Row
from tenure.sandbox.workos.world import World, found, iso

DAYS = range(1, 31)
SECRET = ("token", "accept_invitation_url")


def send(world: World, asked: Asked) -> Response:
    """`POST /user_management/invitations`: a user that exists becomes a pending member."""
    given = asked.body
    given |= {"email": text(given, "email").strip().lower()}
    _check(world, given)
    org_id = given.get("organization_id")
    given["role_slug"] = memberships.roles_of(world, given)[0] if org_id else None
    row = world.invitations.put(shapes.invitation(world, given))
    _tell(world, "created", row)
    user = world.users.first("email", row["email"])
    if org_id and user and world.pair(org_id, user["id"]) is None:
        memberships.join(world, org_id, user["id"], [row["role_slug"]], status="pending")
    return JSONResponse(row, 201)


def _check(world: World, given: Json) -> None:
    org_id, email = given.get("organization_id"), given["email"]
    if given.get("expires_in_days", 7) not in DAYS:
        raise Refused.invalid("expires_in_days", "must be between 1 and 30")
    if org_id is not None:
        found(world.organizations, org_id, "Organization")
    user = world.users.first("email", email)
    if user and world.active(org_id, user["id"]):
        raise Refused(400, "user_already_organization_member", f"'{email}' is a member already.")
    for key in world.invitations.find("email", email):
        row = _now(world, world.invitations.rows[key])
        if row["state"] == "pending" and row["organization_id"] == org_id:
            code = "email_already_invited_to_organization" if org_id else "email_already_invited"
            raise Refused(400, code, f"'{email}' is invited already.")


def list_some(world: World, asked: Asked) -> Response:
    """`GET /user_management/invitations`, all or by `email` and `organization_id`."""
    rows, wanted = world.invitations.rows, dict[str, str]()
    for name in ("organization_id", "email"):
        if name in asked.query:
            wanted[name] = asked.query[name]
    page = cut(
        world.invitations.ids,
        asked_cut(asked.query),
        lambda key: all(rows[key][name] == value for name, value in wanted.items()),
    )
    return answered(page, [_now(world, rows[key]) for key in page.ids])


def get(world: World, asked: Asked) -> Response:
    """`GET /user_management/invitations/{id}`."""
    return JSONResponse(_named(world, asked))


def get_by_token(world: World, asked: Asked) -> Response:
    """`GET /user_management/invitations/by_token/{token}`."""
    row = world.invitations.first("token", asked.path["token"])
    if row is None:
        raise Refused.missing("Invitation", asked.path["token"])
    return JSONResponse(_now(world, row))


def accept(world: World, asked: Asked) -> Response:
    """`POST …/{id}/accept`: by a user that has this e-mail address already."""
    row = _pending(_named(world, asked))
    user = world.users.first("email", row["email"])
    if user is None:
        raise Refused(400, "invalid_invite", f"No user has the e-mail address '{row['email']}'.")
    return JSONResponse(accepted(world, row, user))


def accept_as_anybody(world: World, asked: Asked) -> Response:
    """`POST /_sandbox/invitations/{id}/accept`: as in the browser; a new user signs up first."""
    row = _pending(_named(world, asked))
    user = world.users.first("email", row["email"])
    user = user or users.add(world, {"email": row["email"], "email_verified": True})
    return JSONResponse(accepted(world, row, user))


def accepted(world: World, row: Row, user: Row) -> Row:
    """Let a user accept, and make the membership active."""
    now, org_id = world.now(), row["organization_id"]
    changed = {"state": "accepted", "accepted_at": now, "accepted_user_id": user["id"]}
    row = world.invitations.put(row | changed | {"updated_at": now})
    present = world.pair(org_id, user["id"]) if org_id else None
    if present and present["status"] == "pending":
        memberships.alter(world, present, {"status": "active"})
    elif org_id and not world.active(org_id, user["id"]):
        memberships.join(world, org_id, user["id"], [row["role_slug"]])
    _tell(world, "accepted", row)
    return row


def resend(world: World, asked: Asked) -> Response:
    """`POST …/{id}/resend`: with a new token and a new time to expire."""
    row, ms = _named(world, asked), world.now_ms()
    if row["state"] not in {"pending", "expired"}:
        raise Refused(400, "invite_not_pending", f"The invitation is {row['state']}.")
    until = iso(ms + shapes.INVITATION_DAYS * shapes.DAY_MS)
    token = shapes.invitation_token(world, world.ids.token("", 25))
    changed = {"state": "pending", "expires_at": until, "updated_at": iso(ms), **token}
    row = world.invitations.put(row | changed)
    _tell(world, "resent", row)
    return JSONResponse(row)


def revoke(world: World, asked: Asked) -> Response:
    """`POST …/{id}/revoke`: the pending membership that came with it goes."""
    row, now = _pending(_named(world, asked)), world.now()
    row = world.invitations.put(row | {"state": "revoked", "revoked_at": now, "updated_at": now})
    _tell(world, "revoked", row)
    user, org_id = world.users.first("email", row["email"]), row["organization_id"]
    present = world.pair(org_id, user["id"]) if user and org_id else None
    if present and present["status"] == "pending":
        memberships.remove(world, present)
    return JSONResponse(row)


def _named(world: World, asked: Asked) -> Row:
    return _now(world, found(world.invitations, asked.path["id"], "Invitation"))


def _now(world: World, row: Row) -> Row:
    """See an invitation as it is by now: a pending one expires by itself."""
    over = row["state"] == "pending" and row["expires_at"] <= world.now()
    return row | {"state": "expired"} if over else row


def _pending(row: Row) -> Row:
    if row["state"] != "pending":
        codes = {"accepted": "invite_accepted", "revoked": "invite_revoked"}
        raise Refused(
            400, codes.get(row["state"], "invite_expired"), f"The invitation is {row['state']}."
        )
    return row


def _tell(world: World, what: str, row: Row) -> None:
    data = {name: value for name, value in row.items() if name not in SECRET}
    world.emit(f"invitation.{what}", data, row["organization_id"])


PATH = "/user_management/invitations"
routes = [
    route("POST", PATH, send),
    route("GET", PATH, list_some),
    route("GET", f"{PATH}/by_token/{{token}}", get_by_token),
    route("GET", f"{PATH}/{{id}}", get),
    route("POST", f"{PATH}/{{id}}/accept", accept),
    route("POST", f"{PATH}/{{id}}/resend", resend),
    route("POST", f"{PATH}/{{id}}/revoke", revoke),
    route("POST", "/_sandbox/invitations/{id}/accept", accept_as_anybody),
]
