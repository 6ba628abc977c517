"""The Backend API's organizations and who is in them."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenure.sandbox.clerk import objects
from tenure.sandbox.clerk.backend import body_of, found, page, text, world_of
from tenure.sandbox.clerk.world import Json, Refused, World

ADMIN = "org:admin"


async def create(request: Request) -> Response:
    """`POST /v1/organizations`: whoever creates it becomes its first admin."""
    world, given = world_of(request), await body_of(request)
    text(given, "name")
    if given.get("slug") in {org["slug"] for org in world.state.organizations.values()}:
        raise Refused(422, "form_identifier_exists", "That slug is taken.")
    if creator := given.get("created_by"):
        found(world.state.users, creator, "user")
    org = objects.organization(world, given)
    world.state.organizations[org["id"]] = org
    if creator:
        _join(world, org["id"], creator, ADMIN)
    return JSONResponse(objects.organization_shape(world, org))


async def list_all(request: Request) -> Response:
    """`GET /v1/organizations`: data and total_count, unlike users."""
    world = world_of(request)
    rows = world.state.organizations.values()
    data = [objects.organization_shape(world, org) for org in page(request, rows)]
    return JSONResponse({"data": data, "total_count": len(rows)})


async def get(request: Request) -> Response:
    """`GET /v1/organizations/{id or slug}`."""
    world = world_of(request)
    return JSONResponse(objects.organization_shape(world, _named(world, request)))


async def update(request: Request) -> Response:
    """`PATCH /v1/organizations/{id}`."""
    world, given = world_of(request), await body_of(request)
    org = _named(world, request)
    names = ("name", "slug", "max_allowed_memberships", "public_metadata", "private_metadata")
    org |= {name: given[name] for name in names if name in given}
    org["updated_at"] = world.now_ms()
    return JSONResponse(objects.organization_shape(world, org))


async def delete(request: Request) -> Response:
    """`DELETE /v1/organizations/{id}`: memberships go silently, as at Clerk."""
    world = world_of(request)
    org = _named(world, request)
    state = world.state
    for key in [key for key, m in state.memberships.items() if m["org_id"] == org["id"]]:
        del state.memberships[key]
    del state.organizations[org["id"]]
    gone = {"object": "organization", "id": org["id"], "slug": org["slug"], "deleted": True}
    return JSONResponse(gone)


async def add_member(request: Request) -> Response:
    """`POST /v1/organizations/{id}/memberships`."""
    world, given = world_of(request), await body_of(request)
    org = _named(world, request)
    user_id, role = text(given, "user_id"), text(given, "role")
    found(world.state.users, user_id, "user")
    return JSONResponse(objects.membership_shape(world, _join(world, org["id"], user_id, role)))


async def list_members(request: Request) -> Response:
    """`GET /v1/organizations/{id}/memberships`."""
    world = world_of(request)
    org = _named(world, request)
    rows = [m for m in world.state.memberships.values() if m["org_id"] == org["id"]]
    data = [objects.membership_shape(world, row) for row in page(request, rows)]
    return JSONResponse({"data": data, "total_count": len(rows)})


async def change_member(request: Request) -> Response:
    """`PATCH /v1/organizations/{id}/memberships/{user_id}`."""
    world, given = world_of(request), await body_of(request)
    member = _member(world, request)
    member |= {"role": text(given, "role"), "updated_at": world.now_ms()}
    return JSONResponse(objects.membership_shape(world, member))


async def remove_member(request: Request) -> Response:
    """`DELETE /v1/organizations/{id}/memberships/{user_id}`: adding again gives a new id."""
    world = world_of(request)
    member = _member(world, request)
    shape = objects.membership_shape(world, member)
    del world.state.memberships[member["id"]]
    return JSONResponse(shape)


def _named(world: World, request: Request) -> Json:
    name = request.path_params["org"]
    by_slug = (org for org in world.state.organizations.values() if org["slug"] == name)
    return next(by_slug, None) or found(world.state.organizations, name, "organization")


def _member(world: World, request: Request) -> Json:
    org, user_id = _named(world, request), request.path_params["user_id"]
    for member in world.state.memberships.values():
        if member["org_id"] == org["id"] and member["user_id"] == user_id:
            return member
    raise Refused(404, "resource_not_found", "not found", f"{user_id} is not a member")


def _join(world: World, org_id: str, user_id: str, role: str) -> Json:
    members = [m for m in world.state.memberships.values() if m["org_id"] == org_id]
    if any(m["user_id"] == user_id for m in members):
        raise Refused(400, "already_a_member_in_organization", "already a member")
    limit = world.state.organizations[org_id]["max_allowed_memberships"]
    if limit and len(members) >= limit:  # 0: no limit
        raise Refused(403, "organization_membership_quota_exceeded", "membership quota exceeded")
    member = objects.membership(world, org_id, user_id, role)
    world.state.memberships[member["id"]] = member
    return member


routes = [
    Route("/v1/organizations", create, methods=["POST"]),
    Route("/v1/organizations", list_all, methods=["GET"]),
    Route("/v1/organizations/{org}", get, methods=["GET"]),
    Route("/v1/organizations/{org}", update, methods=["PATCH"]),
    Route("/v1/organizations/{org}", delete, methods=["DELETE"]),
    Route("/v1/organizations/{org}/memberships", add_member, methods=["POST"]),
    Route("/v1/organizations/{org}/memberships", list_members, methods=["GET"]),
    Route("/v1/organizations/{org}/memberships/{user_id}", change_member, methods=["PATCH"]),
    Route("/v1/organizations/{org}/memberships/{user_id}", remove_member, methods=["DELETE"]),
]
