"""Many objects at once: by number, or as lists of what each is made of."""

from collections.abc import Iterable, Sequence

import msgspec
from starlette.responses import JSONResponse, Response

from tenure.sandbox.workos import memberships, organizations, users
from tenure.sandbox.workos.asked import Asked, read, route
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.state import Json
from tenure.sandbox.workos.world import World, found

MOST = 1_000_000


class Seed(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to plant.

    A number spreads memberships over all users and organizations that are planted with them.
    A listed membership names its user and organization by place in the lists, or by id.
    """

    users: int | list[Json] = 0
    organizations: int | list[Json] = 0
    memberships: int | list[Json] = 0
    events: bool = False  # tell of each; without, the environment is simply like that


class Membership(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One listed membership."""

    user: int | str
    organization: int | str
    role_slug: str | None = None
    status: str = "active"


def plant(world: World, asked: Asked) -> Response:
    """`POST /_sandbox/seed`: answers with the ids, in the order asked."""
    return JSONResponse(planted(world, read(asked.raw, Seed)))


def planted(world: World, seed: Seed) -> dict[str, list[str]]:
    """Plant, and tell the ids.

    Errors: Refused.
    """
    before, world.quiet = world.quiet, not seed.events
    try:
        people = [users.add(world, one)["id"] for one in _people(world, seed.users)]
        orgs = [organizations.add(world, one)["id"] for one in _orgs(seed.organizations)]
        members = [
            _join(world, people, orgs, one)
            for one in _members(seed.memberships, len(people), len(orgs))
        ]
    finally:
        world.quiet = before
        world.journal.forget()
    return {"users": people, "organizations": orgs, "memberships": members}


def _people(world: World, wanted: int | list[Json]) -> Iterable[Json]:
    if isinstance(wanted, list):
        return wanted
    begin = len(world.users.rows) + 1
    return ({"email": f"user{begin + n}@example.com"} for n in range(_number(wanted)))


def _orgs(wanted: int | list[Json]) -> Iterable[Json]:
    if isinstance(wanted, list):
        return wanted
    return ({"name": f"Organization {n + 1}"} for n in range(_number(wanted)))


def _members(wanted: int | list[Json], people: int, orgs: int) -> Iterable[Membership]:
    """Spread a number over different pairs.

    Errors: Refused.
    """
    if isinstance(wanted, list):
        return [_converted(one) for one in wanted]
    if _number(wanted) > people * orgs:
        raise Refused.invalid("memberships", f"can be at most {people * orgs}")
    return (
        Membership(user=n % people, organization=(n % people + n // people) % orgs)
        for n in range(wanted)
    )


def _number(wanted: int) -> int:
    if not 0 <= wanted <= MOST:
        raise Refused.invalid("number", f"must be between 0 and {MOST}")
    return wanted


def _converted(given: Json) -> Membership:
    try:
        return msgspec.convert(given, Membership)
    except msgspec.ValidationError as exc:
        raise Refused.invalid("memberships", str(exc)) from exc


def _join(world: World, people: Sequence[str], orgs: Sequence[str], one: Membership) -> str:
    user_id, org_id = _pick(people, one.user), _pick(orgs, one.organization)
    found(world.organizations, org_id, "Organization")
    found(world.users, user_id, "User")
    roles = memberships.roles_of(world, {"role_slug": one.role_slug})
    if one.status not in memberships.STATUSES:
        raise Refused.invalid("status", f"cannot be '{one.status}'")
    return memberships.join(world, org_id, user_id, roles, status=one.status)["id"]


def _pick(ids: Sequence[str], wanted: int | str) -> str:
    if isinstance(wanted, str):
        return wanted
    if not 0 <= wanted < len(ids):
        raise Refused.invalid("memberships", f"name number {wanted} of {len(ids)}")
    return ids[wanted]


routes = [route("POST", "/_sandbox/seed", plant)]
