"""The organizations of the environment."""

from starlette.responses import JSONResponse, Response

from tenure.sandbox.workos import memberships, sessions, shapes
from tenure.sandbox.workos.asked import Asked, answered, route, text
from tenure.sandbox.workos.paging import asked_cut, cut
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.state import Json
from tenure.sandbox.workos.table import Row
from tenure.sandbox.workos.users import check_external_id, merged
from tenure.sandbox.workos.world import World, found

PLAIN = (
    *("name", "external_id", "stripe_customer_id"),
    "allow_profiles_outside_organization",
)


def add(world: World, given: Json) -> Row:
    """Make an organization.

    Errors: Refused.
    """
    text(given, "name")
    check_external_id(world.organizations, given.get("external_id"), None)
    row = shapes.organization(world, given)
    row["metadata"] = merged({}, given.get("metadata"))
    world.organizations.put(row)
    world.emit("organization.created", shapes.shown(row), row["id"])
    return row


def create(world: World, asked: Asked) -> Response:
    """`POST /organizations`."""
    return JSONResponse(shapes.shown(add(world, asked.body)), 201)


def list_some(world: World, asked: Asked) -> Response:
    """`GET /organizations`, all or by `domains` or `search`."""
    rows, query = world.organizations.rows, asked.query
    search = query.get("search", "").lower()
    domains = set(filter(None, query.get("domains", "").split(",")))

    def keep(key: str) -> bool:
        row = rows[key]
        fits = not domains or any(one["domain"] in domains for one in row["domains"])
        return fits and search in row["name"].lower()

    page = cut(world.organizations.ids, asked_cut(query), keep)
    return answered(page, [shapes.shown(rows[key]) for key in page.ids])


def get(world: World, asked: Asked) -> Response:
    """`GET /organizations/{id}`."""
    return JSONResponse(shapes.shown(_named(world, asked)))


def get_by_external_id(world: World, asked: Asked) -> Response:
    """`GET /organizations/external_id/{id}`."""
    row = world.organizations.first("external_id", asked.path["id"])
    if row is None:
        raise Refused.missing("Organization", asked.path["id"])
    return JSONResponse(shapes.shown(row))


def update(world: World, asked: Asked) -> Response:
    """`PUT /organizations/{id}`: only what is given changes."""
    row, given = _named(world, asked), asked.body
    changed = {name: given[name] for name in PLAIN if name in given}
    check_external_id(world.organizations, changed.get("external_id"), row["id"])
    _check_customer(world, changed.get("stripe_customer_id"), row["id"])
    if "metadata" in given:
        changed["metadata"] = merged(row["metadata"], given["metadata"])
    if "domain_data" in given or "domains" in given:
        changed["domains"] = shapes.domains(world, row["id"], given)
    if any(row[name] != value for name, value in changed.items()):
        row = world.organizations.put(row | changed | {"updated_at": world.now()})
        world.emit("organization.updated", shapes.shown(row), row["id"])
    return JSONResponse(shapes.shown(row))


def delete(world: World, asked: Asked) -> Response:
    """`DELETE /organizations/{id}`: memberships, invitations and sessions go with it."""
    row, told = _named(world, asked), world.policy.cascade_events
    for key in list(world.memberships.find("organization", row["id"])):
        member = world.memberships.rows[key]
        for session_id in list(world.sessions.find("user", member["user_id"])):
            session = world.sessions.rows[session_id]
            if session["organization_id"] == row["id"]:
                sessions.end(world, session, told=told)
        memberships.remove(world, member, told=told)
    for key in list(world.invitations.find("organization", row["id"])):
        world.invitations.drop(key)
    world.organizations.drop(row["id"])
    world.emit("organization.deleted", shapes.shown(row), row["id"])
    return Response(status_code=202)


def _named(world: World, asked: Asked) -> Row:
    return found(world.organizations, asked.path["id"], "Organization")


def _check_customer(world: World, customer: str | None, own: str) -> None:
    if customer is None:
        return
    for row in world.organizations.rows.values():
        if row["stripe_customer_id"] == customer and row["id"] != own:
            code = "stripe_customer_id_already_used"
            raise Refused(409, code, f"The Stripe customer '{customer}' is in use already.")


routes = [
    route("POST", "/organizations", create),
    route("GET", "/organizations", list_some),
    route("GET", "/organizations/external_id/{id}", get_by_external_id),
    route("GET", "/organizations/{id}", get),
    route("PUT", "/organizations/{id}", update),
    route("DELETE", "/organizations/{id}", delete),
]
