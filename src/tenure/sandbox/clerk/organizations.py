"""The Backend API's organizations."""

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
from tenure.sandbox.clerk.members import ADMIN, join, org_of
from tenure.sandbox.clerk.shelf import Json
from tenure.sandbox.clerk.world import Refused, World

METADATA = ("public_metadata", "private_metadata")
CHANGEABLE = ("name", "slug", "max_allowed_memberships", "admin_delete_enabled", *METADATA)


async def create(request: Request) -> Response:
    """`POST /v1/organizations`: whoever creates it becomes its first admin."""
    world, given = world_of(request), await body_of(request)
    text(given, "name")
    _check_slug(world, given)
    if creator := given.get("created_by"):
        found(world.users, creator, "user")
    org = world.organizations.put(objects.organization(world, given))
    world.tell("organization.created", objects.organization_shape(world, org))
    if creator:
        join(world, org, creator, ADMIN)
    return answer(objects.organization_shape(world, org))


async def list_all(request: Request) -> Response:
    """`GET /v1/organizations`: data and total_count, unlike users."""
    world, query = world_of(request), request.query_params
    wanted, unwanted = picked(query.getlist("organization_id"))
    for user_id in picked(query.getlist("user_id"))[0]:
        wanted |= {row["org_id"] for row in world.memberships.of("user", user_id)} or {""}
    places = world.organizations.seek(wanted) if wanted else world.organizations.places()
    words = query.get("query", "").lower()
    if words or unwanted:
        places = narrowed(
            world.organizations,
            places,
            lambda org: org["id"] not in unwanted and words in _words(org),
        )
    return listed(
        request, world.organizations, places, lambda org: objects.organization_shape(world, org)
    )


async def get(request: Request) -> Response:
    """`GET /v1/organizations/{id or slug}`."""
    return answer(objects.organization_shape(world_of(request), org_of(request)))


async def update(request: Request) -> Response:
    """`PATCH /v1/organizations/{id}`."""
    given, org = await body_of(request), org_of(request)
    if given.get("slug") not in {None, org["slug"]}:
        _check_slug(world_of(request), given)
    changes = {name: given[name] for name in CHANGEABLE if given.get(name) is not None}
    return _changed(request, org, changes)


async def update_metadata(request: Request) -> Response:
    """`PATCH /v1/organizations/{id}/metadata`: merges deeply; a null takes a key away."""
    given, org = await body_of(request), org_of(request)
    return _changed(request, org, objects.merged_metadata(org, given, METADATA))


async def delete(request: Request) -> Response:
    """`DELETE /v1/organizations/{id}`: memberships and invitations go silently, as at Clerk."""
    world, org = world_of(request), org_of(request)
    for shelf in (world.memberships, world.invitations):
        for row in shelf.of("org", org["id"]):
            shelf.drop(row["id"])
    world.organizations.drop(org["id"])
    gone = objects.deleted(org)
    world.tell("organization.deleted", gone)
    return answer(gone)


def _changed(request: Request, org: Json, changes: Json) -> Response:
    world = world_of(request)
    org = world.organizations.put(org | changes | {"updated_at": world.now_ms()})
    shape = objects.organization_shape(world, org)
    world.tell("organization.updated", shape)
    return answer(shape)


def _check_slug(world: World, given: Json) -> None:
    slug = given.get("slug")
    if slug and world.organizations.one("slug", slug) is not None:
        raise Refused(422, "form_identifier_exists", "That slug is taken.")


def _words(org: Json) -> str:
    return f"{org['id']} {org['name']} {org['slug']}".lower()


routes = [
    Route("/v1/organizations", create, methods=["POST"]),
    Route("/v1/organizations", list_all, methods=["GET"]),
    Route("/v1/organizations/{org}", get, methods=["GET"]),
    Route("/v1/organizations/{org}", update, methods=["PATCH"]),
    Route("/v1/organizations/{org}", delete, methods=["DELETE"]),
    Route("/v1/organizations/{org}/metadata", update_metadata, methods=["PATCH"]),
]
