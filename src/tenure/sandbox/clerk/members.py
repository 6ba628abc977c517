"""The Backend API's memberships: who is in which organization, and as what."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tenure.sandbox.clerk import objects
from tenure.sandbox.clerk.asking import (
    answer,
    body_of,
    found,
    listed,
    narrowed,
    picked,
    text,
    world_of,
)
from tenure.sandbox.clerk.shelf import Json
from tenure.sandbox.clerk.world import Refused, World, pair

ADMIN = "org:admin"
METADATA = ("public_metadata", "private_metadata")


async def add(request: Request) -> Response:
    """`POST /v1/organizations/{id}/memberships`."""
    world, given, org = world_of(request), await body_of(request), org_of(request)
    user_id, role = text(given, "user_id"), text(given, "role")
    found(world.users, user_id, "user")
    metadata = {name: given[name] for name in METADATA if given.get(name)}
    return answer(join(world, org, user_id, role, metadata))


async def list_of_org(request: Request) -> Response:
    """`GET /v1/organizations/{id}/memberships?user_id=&role=&email_address=&query=`."""
    world, query, org = world_of(request), request.query_params, org_of(request)
    members = world.memberships
    wanted, unwanted = picked(query.getlist("user_id"))
    places = members.places("org", org["id"])
    if wanted:
        pairs = (members.one("pair", pair(org["id"], user_id)) for user_id in wanted)
        places = members.seek(row["id"] for row in pairs if row)
    tests = _tests(request)
    if unwanted:
        tests.append(lambda row: row["user_id"] not in unwanted)
    places = narrowed(members, places, (lambda r: all(t(r) for t in tests)) if tests else None)
    return listed(request, members, places, lambda row: objects.membership_shape(world, row))


async def list_all(request: Request) -> Response:
    """`GET /v1/organization_memberships`: those of the whole instance."""
    world = world_of(request)
    return listed(
        request,
        world.memberships,
        world.memberships.places(),
        lambda row: objects.membership_shape(world, row),
    )


async def change(request: Request) -> Response:
    """`PATCH /v1/organizations/{id}/memberships/{user_id}`."""
    given = await body_of(request)
    return _changed(request, {"role": text(given, "role")})


async def update_metadata(request: Request) -> Response:
    """`PATCH /v1/organizations/{id}/memberships/{user_id}/metadata`."""
    given = await body_of(request)
    return _changed(request, objects.merged_metadata(_named(request), given, METADATA))


async def remove(request: Request) -> Response:
    """`DELETE /v1/organizations/{id}/memberships/{user_id}`: adding again gives a new id."""
    world, member = world_of(request), _named(request)
    shape = objects.membership_shape(world, member)
    world.memberships.drop(member["id"])
    world.tell("organizationMembership.deleted", shape)
    return answer(shape)


def join(world: World, org: Json, user_id: str, role: str, metadata: Json | None = None) -> Json:
    """Make somebody a member, if there is room; show the membership.

    Errors: Refused.
    """
    if world.memberships.one("pair", pair(org["id"], user_id)) is not None:
        raise Refused(400, "already_a_member_in_organization", "already a member")
    check_room(org, len(world.memberships.places("org", org["id"])))
    member = world.memberships.put(objects.membership(world, org["id"], user_id, role, metadata))
    shape = objects.membership_shape(world, member)
    world.tell("organizationMembership.created", shape)
    return shape


def check_room(org: Json, taken: int, wanted: int = 1) -> None:
    """See that so many more fit in; a limit of 0 is none.

    Errors: Refused.
    """
    limit = org["max_allowed_memberships"]
    if limit and taken + wanted > limit:
        raise Refused(403, "organization_membership_quota_exceeded", "membership quota exceeded")


def org_of(request: Request) -> Json:
    """Find the organization that a path names by id or slug."""
    world, name = world_of(request), request.path_params["org"]
    by_slug = world.organizations.one("slug", name)
    return by_slug or found(world.organizations, name, "organization")


def _named(request: Request) -> Json:
    world, user_id = world_of(request), request.path_params["user_id"]
    member = world.memberships.one("pair", pair(org_of(request)["id"], user_id))
    if member is None:
        raise Refused(404, "resource_not_found", "not found", f"{user_id} is not a member")
    return member


def _changed(request: Request, changes: Json) -> Response:
    world = world_of(request)
    member = _named(request) | changes | {"updated_at": world.now_ms()}
    shape = objects.membership_shape(world, world.memberships.put(member))
    world.tell("organizationMembership.updated", shape)
    return answer(shape)


def _tests(request: Request) -> list[Callable[[Json], bool]]:
    """Read the filters that look at each membership."""
    users, query = world_of(request).users, request.query_params
    roles = query.getlist("role")
    emails = [email.lower() for email in query.getlist("email_address")]
    having = {user["id"] for email in emails for user in users.of("email_address", email)}
    words = query.get("query", "").lower()
    tests: list[Callable[[Json], bool]] = []
    if roles:
        tests.append(lambda row: row["role"] in roles)
    if emails:
        tests.append(lambda row: row["user_id"] in having)
    if words:
        tests.append(lambda row: words in str(objects.public_user(users[row["user_id"]])).lower())
    return tests


routes = [
    Route("/v1/organization_memberships", list_all, methods=["GET"]),
    Route("/v1/organizations/{org}/memberships", add, methods=["POST"]),
    Route("/v1/organizations/{org}/memberships", list_of_org, methods=["GET"]),
    Route("/v1/organizations/{org}/memberships/{user_id}", change, methods=["PATCH"]),
    Route("/v1/organizations/{org}/memberships/{user_id}", remove, methods=["DELETE"]),
    Route(
        "/v1/organizations/{org}/memberships/{user_id}/metadata",
        update_metadata,
        methods=["PATCH"],
    ),
]
