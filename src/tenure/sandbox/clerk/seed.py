"""Many users, organizations and memberships at once, without a webhook."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tenure.sandbox.clerk import objects
from tenure.sandbox.clerk.asking import answer, found, read_body, world_of
from tenure.sandbox.clerk.shelf import Json
from tenure.sandbox.clerk.world import Refused, World, pair

ROLE = "org:member"


class Wish(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How many of each, or which; a membership is {"organization", "user", "role"?}.

    What is given of an object is kept (`id` and `created_at` too). A membership names its
    organization and its user by id, or by their place among those that are made with it.
    """

    users: int | list[Json] = 0
    organizations: int | list[Json] = 0
    memberships: int | list[Json] = 0


async def plant(request: Request) -> Response:
    """`POST /_sandbox/seed {"users", "organizations", "memberships"}`: the ids that were made."""
    world, wish = world_of(request), await read_body(request, Wish)
    users = [_user(world, given) for given in _listed(wish.users)]
    orgs = [_organization(world, given) for given in _listed(wish.organizations)]
    pairs = (
        _spread(wish.memberships, len(orgs), len(users))
        if isinstance(wish.memberships, int)
        else wish.memberships
    )
    members = [_membership(world, given, orgs, users) for given in pairs]
    world.history.forget()
    return answer({"users": users, "organizations": orgs, "memberships": members})


def _listed(wanted: int | list[Json]) -> list[Json]:
    return [{} for _ in range(wanted)] if isinstance(wanted, int) else wanted


def _spread(count: int, orgs: int, users: int) -> list[Json]:
    """Give every organization about as many members, and nobody twice."""
    if count > orgs * users:
        raise Refused(422, "form_param_value_invalid", f"{orgs} times {users} is fewer than that")
    return [
        {"organization": n % orgs, "user": (n // orgs + n % orgs) % users} for n in range(count)
    ]


def _user(world: World, given: Json) -> str:
    return world.users.put(objects.user(world, given) | _kept(given))["id"]


def _organization(world: World, given: Json) -> str:
    given = {"name": "Seeded", "max_allowed_memberships": 0} | given
    return world.organizations.put(objects.organization(world, given) | _kept(given))["id"]


def _membership(world: World, given: Json, orgs: list[str], users: list[str]) -> str:
    org, user = _named(given.get("organization"), orgs), _named(given.get("user"), users)
    found(world.organizations, org, "organization")
    found(world.users, user, "user")
    if world.memberships.places("pair", pair(org, user)):
        raise Refused(400, "already_a_member_in_organization", "already a member", user)
    member = objects.membership(world, org, user, given.get("role", ROLE))
    return world.memberships.put(member | _kept(given))["id"]


def _named(name: Any, made: list[str]) -> str:  # noqa: ANN401 (an id, or a place)
    if isinstance(name, int) and 0 <= name < len(made):
        return made[name]
    return name if isinstance(name, str) else ""


def _kept(given: Json) -> Json:
    return {name: given[name] for name in ("id", "created_at", "updated_at") if name in given}
