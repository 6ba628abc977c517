"""The Backend API's invitations to organizations, and what an invited person may do."""

from collections.abc import Sequence

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
    read_body,
    text,
    world_of,
)
from tenure.sandbox.clerk.members import ADMIN, check_room, join, org_of
from tenure.sandbox.clerk.shelf import Json, Place
from tenure.sandbox.clerk.world import Refused, World, pair

AT_ONCE = 10  # Clerk's limit for invitations in bulk


async def create(request: Request) -> Response:
    """`POST /v1/organizations/{id}/invitations`."""
    given = await body_of(request)
    return answer(_invited(world_of(request), org_of(request), [given])[0])


async def create_many(request: Request) -> Response:
    """`POST /v1/organizations/{id}/invitations/bulk`: all or none."""
    given: list[Json] = await read_body(request, list[Json])
    if len(given) > AT_ONCE:
        raise Refused(422, "form_param_value_invalid", f"at most {AT_ONCE} at once")
    invited = _invited(world_of(request), org_of(request), given)
    return answer({"data": invited, "total_count": len(invited)})


async def list_of_org(request: Request) -> Response:
    """`GET /v1/organizations/{id}/invitations?status=&email_address=`."""
    return _list(request, world_of(request).invitations.places("org", org_of(request)["id"]))


async def list_pending(request: Request) -> Response:
    """`GET /v1/organizations/{id}/invitations/pending`: the deprecated way."""
    return _list(request, world_of(request).invitations.places("waiting", org_of(request)["id"]))


async def list_all(request: Request) -> Response:
    """`GET /v1/organization_invitations`: those of the whole instance."""
    return _list(request, world_of(request).invitations.places())


async def get(request: Request) -> Response:
    """`GET /v1/organizations/{id}/invitations/{invitation_id}`."""
    return answer(_named(request))


async def revoke(request: Request) -> Response:
    """`POST /v1/organizations/{id}/invitations/{invitation_id}/revoke`."""
    world, given, invited = world_of(request), await body_of(request), _named(request)
    _check_admin(world, invited["organization_id"], given.get("requesting_user_id"))
    _check_pending(invited)
    return answer(_moved(world, invited, "revoked"))


async def accept(request: Request) -> Response:
    """`POST /_sandbox/invitations/{id}/accept {"user_id"?}`: without one, the addressee signs up.

    The addressee is whoever has the invited address; a new user if nobody has.
    """
    world, given = world_of(request), await body_of(request)
    invited = found(world.invitations, request.path_params["invitation_id"], "invitation")
    _check_pending(invited)
    if invited["expires_at"] <= world.now_ms():
        raise Refused(400, "organization_invitation_expired", "the invitation has expired")
    org = world.organizations[invited["organization_id"]]
    user = _addressee(world, invited, given.get("user_id"))
    metadata = {name: invited[name] for name in ("public_metadata", "private_metadata")}
    member = join(world, org, user["id"], invited["role"], metadata)
    _moved(world, invited, "accepted", user_id=user["id"])
    return answer(member)


def _addressee(world: World, invited: Json, user_id: str | None) -> Json:
    if user_id is not None:
        return found(world.users, user_id, "user")
    address = invited["email_address"]
    user = world.users.one("email_address", address.lower())
    if user is None:
        user = world.users.put(objects.user(world, {"email_address": [address]}))
        world.tell("user.created", user)
    return user


def _invited(world: World, org: Json, given: list[Json]) -> list[Json]:
    waiting = world.invitations.of("waiting", org["id"])
    members = len(world.memberships.places("org", org["id"]))
    check_room(org, members + len(waiting), len(given))
    addresses = {row["email_address"].lower() for row in waiting}
    for one in given:
        text(one, "role")
        _check_new(world, org, text(one, "email_address").lower(), addresses)
        _check_admin(world, org["id"], one.get("inviter_user_id"))
    invited = [objects.invitation(world, org["id"], one) for one in given]
    for row in invited:
        world.invitations.put(row)
        world.tell("organizationInvitation.created", row)
    return invited


def _check_new(world: World, org: Json, address: str, waiting: set[str]) -> None:
    if address in waiting:
        raise Refused(400, "organization_invitation_not_unique", "already invited", address)
    waiting.add(address)
    user = world.users.one("email_address", address)
    if user and world.memberships.one("pair", pair(org["id"], user["id"])):
        raise Refused(400, "already_a_member_in_organization", "already a member", address)


def _check_admin(world: World, org_id: str, user_id: str | None) -> None:
    if user_id is None:
        return
    member = world.memberships.one("pair", pair(org_id, user_id))
    if member is None or member["role"] != ADMIN:
        raise Refused(403, "not_an_admin_in_organization", "not an administrator", user_id)


def _check_pending(invited: Json) -> None:
    if invited["status"] != "pending":
        raise Refused(400, "organization_invitation_not_pending", "the invitation is not pending")


def _moved(world: World, invited: Json, status: str, **more: str) -> Json:
    invited = invited | {"status": status, "updated_at": world.now_ms()}
    world.invitations.put(invited)
    world.tell(f"organizationInvitation.{status}", invited | more)
    return invited


def _named(request: Request) -> Json:
    invitations, name = world_of(request).invitations, request.path_params["invitation_id"]
    invited = found(invitations, name, "invitation")
    if invited["organization_id"] != org_of(request)["id"]:
        raise Refused(404, "resource_not_found", "not found", f"No invitation has the id {name}")
    return invited


def _list(request: Request, places: Sequence[Place]) -> Response:
    invitations, query = world_of(request).invitations, request.query_params
    statuses = query.getlist("status")
    address = query.get("email_address", query.get("query", "")).lower()
    if statuses or address:
        places = narrowed(
            invitations,
            places,
            lambda row: (
                (not statuses or row["status"] in statuses)
                and address in row["email_address"].lower()
            ),
        )
    return listed(request, invitations, places, lambda row: row)


routes = [
    Route("/v1/organization_invitations", list_all, methods=["GET"]),
    Route("/v1/organizations/{org}/invitations", create, methods=["POST"]),
    Route("/v1/organizations/{org}/invitations", list_of_org, methods=["GET"]),
    Route("/v1/organizations/{org}/invitations/bulk", create_many, methods=["POST"]),
    Route("/v1/organizations/{org}/invitations/pending", list_pending, methods=["GET"]),
    Route("/v1/organizations/{org}/invitations/{invitation_id}", get, methods=["GET"]),
    Route("/v1/organizations/{org}/invitations/{invitation_id}/revoke", revoke, methods=["POST"]),
    Route("/_sandbox/invitations/{invitation_id}/accept", accept, methods=["POST"]),
]
