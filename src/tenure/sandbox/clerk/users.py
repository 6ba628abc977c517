"""The Backend API's users and their e-mail addresses."""

from collections.abc import Callable, Sequence
from typing import cast

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
    page,
    picked,
    text,
    world_of,
)
from tenure.sandbox.clerk.sessions import revoke_all
from tenure.sandbox.clerk.shelf import Json, Place
from tenure.sandbox.clerk.world import Refused, World

METADATA = ("public_metadata", "private_metadata", "unsafe_metadata")
CHANGEABLE = (
    *("first_name", "last_name", "username", "external_id", "locale", "primary_email_address_id"),
    *("delete_self_enabled", "create_organization_enabled", *METADATA),
)
UNIQUE = ("external_id", "username")


async def create(request: Request) -> Response:
    """`POST /v1/users`."""
    world, given = world_of(request), await body_of(request)
    addresses = given.get("email_address", [])
    if not isinstance(addresses, list) or not all(isinstance(a, str) for a in addresses):  # pyright: ignore[reportUnknownVariableType] (this line is what makes it known)
        raise Refused(422, "form_param_format_invalid", "email_address is a list of addresses")
    for address in cast("list[str]", addresses):
        _check_free(world, "email_address", address.lower())
    _check_unique(world, given)
    user = world.users.put(objects.user(world, given))
    world.tell("user.created", user)
    return answer(user)


async def list_all(request: Request) -> Response:
    """`GET /v1/users`: a bare array, as the real API answers."""
    users = world_of(request).users
    return answer(page(request, users, _chosen(request)))


async def count(request: Request) -> Response:
    """`GET /v1/users/count`."""
    return answer({"object": "total_count", "total_count": len(_chosen(request))})


async def get(request: Request) -> Response:
    """`GET /v1/users/{id}`."""
    return answer(_named(request))


async def update(request: Request) -> Response:
    """`PATCH /v1/users/{id}`."""
    given, user = await body_of(request), _named(request)
    _check_unique(world_of(request), given, but=user)
    emails = {email["id"] for email in user["email_addresses"]}
    if given.get("primary_email_address_id", None) not in {None, *emails}:
        raise Refused(404, "resource_not_found", "not found", "That is no address of the user")
    return _changed(request, user, {name: given[name] for name in CHANGEABLE if name in given})


async def update_metadata(request: Request) -> Response:
    """`PATCH /v1/users/{id}/metadata`: merges deeply; a null takes a key away."""
    given, user = await body_of(request), _named(request)
    return _changed(request, user, objects.merged_metadata(user, given, METADATA))


async def delete(request: Request) -> Response:
    """`DELETE /v1/users/{id}`: memberships and sessions go silently."""
    world, user = world_of(request), _named(request)
    for shelf in (world.memberships, world.sessions):
        for row in shelf.of("user", user["id"]):
            shelf.drop(row["id"])
    world.users.drop(user["id"])
    gone = objects.deleted(user)
    world.tell("user.deleted", gone)
    return answer(gone)


async def ban(request: Request) -> Response:
    """`POST /v1/users/{id}/ban`: all sessions are revoked."""
    world, user = world_of(request), _named(request)
    changed = _changed(request, user, {"banned": True})
    revoke_all(world, user["id"])
    return changed


async def unban(request: Request) -> Response:
    """`POST /v1/users/{id}/unban`."""
    return _changed(request, _named(request), {"banned": False})


async def lock(request: Request) -> Response:
    """`POST /v1/users/{id}/lock`."""
    locked = {"locked": True, "lockout_expires_in_seconds": 3600}
    return _changed(request, _named(request), locked)


async def unlock(request: Request) -> Response:
    """`POST /v1/users/{id}/unlock`."""
    locked = {"locked": False, "lockout_expires_in_seconds": None}
    return _changed(request, _named(request), locked)


async def memberships(request: Request) -> Response:
    """`GET /v1/users/{id}/organization_memberships`."""
    world, user = world_of(request), _named(request)
    places = world.memberships.places("user", user["id"])
    return listed(
        request, world.memberships, places, lambda row: objects.membership_shape(world, row)
    )


async def invitations(request: Request) -> Response:
    """`GET /v1/users/{id}/organization_invitations?status=`."""
    world, user = world_of(request), _named(request)
    mine = [
        row["id"]
        for email in user["email_addresses"]
        for row in world.invitations.of("email_address", email["email_address"].lower())
        if request.query_params.get("status") in {None, row["status"]}
    ]
    places = world.invitations.seek(mine)
    return listed(
        request, world.invitations, places, lambda row: objects.invitation_shape(world, row)
    )


async def add_email(request: Request) -> Response:
    """`POST /v1/email_addresses`."""
    world, given = world_of(request), await body_of(request)
    user = found(world.users, text(given, "user_id"), "user")
    _check_free(world, "email_address", text(given, "email_address").lower())
    email = objects.email_address(world, given["email_address"])
    primary = given.get("primary") or not user["email_addresses"]
    changes: Json = {"email_addresses": [*user["email_addresses"], email]}
    changes |= {"primary_email_address_id": email["id"]} if primary else {}
    _changed(request, user, changes)
    return answer(email)


async def get_email(request: Request) -> Response:
    """`GET /v1/email_addresses/{id}`."""
    return answer(_email(request)[1])


async def update_email(request: Request) -> Response:
    """`PATCH /v1/email_addresses/{id}`: `primary` is what can be changed here."""
    given, (user, email) = await body_of(request), _email(request)
    if given.get("primary"):
        _changed(request, user, {"primary_email_address_id": email["id"]})
    return answer(email)


async def drop_email(request: Request) -> Response:
    """`DELETE /v1/email_addresses/{id}`."""
    user, email = _email(request)
    if user["primary_email_address_id"] == email["id"]:
        raise Refused(422, "form_param_value_invalid", "The primary address cannot be deleted")
    rest = [other for other in user["email_addresses"] if other["id"] != email["id"]]
    _changed(request, user, {"email_addresses": rest})
    return answer({"object": "email_address", "id": email["id"], "deleted": True})


def _named(request: Request) -> Json:
    return found(world_of(request).users, request.path_params["user_id"], "user")


def _email(request: Request) -> tuple[Json, Json]:
    """Find an address and whose it is."""
    users, name = world_of(request).users, request.path_params["email_id"]
    for user in users.at(users.places()):
        for email in user["email_addresses"]:
            if email["id"] == name:
                return user, email
    raise Refused(404, "resource_not_found", "not found", f"No address was found with id {name}")


def _changed(request: Request, user: Json, changes: Json) -> Response:
    world = world_of(request)
    user = world.users.put(user | changes | {"updated_at": world.now_ms()})
    world.tell("user.updated", user)
    return answer(user)


def _check_unique(world: World, given: Json, but: Json | None = None) -> None:
    for name in UNIQUE:
        if given.get(name):
            _check_free(world, name, str(given[name]), but)


def _check_free(world: World, name: str, value: str, but: Json | None = None) -> None:
    holder = world.users.one(name, value)
    if holder is not None and (but is None or holder["id"] != but["id"]):
        words = name.replace("_", " ")
        raise Refused(422, "form_identifier_exists", f"That {words} is taken.")


def _chosen(request: Request) -> Sequence[Place]:
    """Find where the users are that the filters ask for."""
    query, users = request.query_params, world_of(request).users
    wanted, unwanted = picked(query.getlist("user_id"))
    places = users.seek(wanted) if wanted else users.places()
    for name in ("email_address", *UNIQUE):
        if values := query.getlist(name):
            having = {row["id"] for v in values for row in users.of(name, _folded(name, v))}
            places = [place for place in places if place[2] in having]
    if orgs := query.getlist("organization_id"):
        having = {
            m["user_id"] for org in orgs for m in world_of(request).memberships.of("org", org)
        }
        places = [place for place in places if place[2] in having]
    tests = [test for name, test in _TESTS.items() if name in query for test in [test(query[name])]]
    if unwanted:
        tests.append(lambda user: user["id"] not in unwanted)
    return narrowed(users, places, (lambda u: all(t(u) for t in tests)) if tests else None)


def _folded(name: str, value: str) -> str:
    return value.lower() if name == "email_address" else value


def _number(value: str) -> int:
    if not value.isdecimal():
        raise Refused(422, "form_param_format_invalid", f"{value} is not a number")
    return int(value)


def _words(user: Json) -> str:
    names = ("id", "first_name", "last_name", "username")
    emails = (email["email_address"] for email in user["email_addresses"])
    return " ".join([*(user[name] or "" for name in names), *emails]).lower()


_TESTS: dict[str, Callable[[str], Callable[[Json], bool]]] = {
    "query": lambda value: lambda user: value.lower() in _words(user),
    "banned": lambda value: lambda user: user["banned"] == (value == "true"),
    "created_at_after": lambda value: lambda user: user["created_at"] > _number(value),
    "created_at_before": lambda value: lambda user: user["created_at"] < _number(value),
}

routes = [
    Route("/v1/users", create, methods=["POST"]),
    Route("/v1/users", list_all, methods=["GET"]),
    Route("/v1/users/count", count, methods=["GET"]),
    Route("/v1/users/{user_id}", get, methods=["GET"]),
    Route("/v1/users/{user_id}", update, methods=["PATCH"]),
    Route("/v1/users/{user_id}", delete, methods=["DELETE"]),
    Route("/v1/users/{user_id}/metadata", update_metadata, methods=["PATCH"]),
    Route("/v1/users/{user_id}/ban", ban, methods=["POST"]),
    Route("/v1/users/{user_id}/unban", unban, methods=["POST"]),
    Route("/v1/users/{user_id}/lock", lock, methods=["POST"]),
    Route("/v1/users/{user_id}/unlock", unlock, methods=["POST"]),
    Route("/v1/users/{user_id}/organization_memberships", memberships, methods=["GET"]),
    Route("/v1/users/{user_id}/organization_invitations", invitations, methods=["GET"]),
    Route("/v1/email_addresses", add_email, methods=["POST"]),
    Route("/v1/email_addresses/{email_id}", get_email, methods=["GET"]),
    Route("/v1/email_addresses/{email_id}", update_email, methods=["PATCH"]),
    Route("/v1/email_addresses/{email_id}", drop_email, methods=["DELETE"]),
]
