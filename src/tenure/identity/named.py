"""Who is named: our rows behind a provider's names, made where somebody is only named so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tenure.identity import graves, roster, store
from tenure.identity.act import Act
from tenure.identity.directory import pair_of
from tenure.identity.model import (
    Membership,
    OrgId,
    Seats,
    SeenMembership,
    SeenOrganization,
    SeenUser,
    UserId,
)
from tenure.identity.rules import Grave
from tenure.identity.store import KnownOrganization, KnownUser

Pair = tuple[OrgId, UserId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What our tables say of everything that a page of memberships shows."""

    orgs: Mapping[str, KnownOrganization]
    users: Mapping[str, KnownUser]
    seats: Mapping[OrgId, Seats]
    rows: dict[Pair, Membership]
    buried: Mapping[str, Grave]  # by a membership's id
    pairs: Mapping[str, Grave]


async def locked_page(act: Act, seen: Sequence[SeenMembership]) -> Page:
    """Read what a page names, with every lock that writing it takes.

    Promise: names, organizations, users, seats: always in this order, each kind in its own.
    """
    orgs, users = await named_all(act, [m.org for m in seen], [m.user for m in seen])
    seats = await roster.lock_all_seats(act.tx, [org.id for org in orgs.values()])
    pairs = [pair_of(m.org.id, m.user.id) for m in seen]
    known = [
        (orgs[m.org.id].id, users[m.user.id].id)
        for m in seen
        if m.org.id in orgs and m.user.id in users
    ]
    return Page(
        orgs=orgs,
        users=users,
        seats=seats,
        rows=await roster.list_pairs(act.tx, known),
        buried=await graves.get_graves(act.tx, act.provider, "membership", [m.id for m in seen]),
        pairs=await graves.get_graves(act.tx, act.provider, "pair", pairs),
    )


async def named(
    act: Act, org: SeenOrganization, people: Sequence[SeenUser]
) -> tuple[KnownOrganization | None, dict[str, KnownUser]]:
    """Find one organization and users, as `named_all` does."""
    orgs, users = await named_all(act, [org], people)
    return orgs.get(org.id), users


async def named_all(
    act: Act, orgs: Sequence[SeenOrganization], people: Sequence[SeenUser]
) -> tuple[dict[str, KnownOrganization], dict[str, KnownUser]]:
    """Find organizations and users, making rows for those that are only named so far.

    Promise: who is deleted at the provider is left out, and nobody found here is deleted until
             the transaction ends.
    """
    groups, wanted = {seen.id: seen for seen in orgs}, {seen.id: seen for seen in people}
    names = {*groups, *wanted}
    missing = names - await store.list_named(act.tx, act.provider, list(names))
    if missing:  # before any row is held: whoever has a name may wait for the rows behind others
        await store.lock_names(act.tx, act.provider, list(missing))
        for name in sorted(missing & groups.keys()):
            await _make_organization(act, groups[name])
        known = await store.list_named(act.tx, act.provider, list(names))
        await _make_users(act, [seen for name, seen in wanted.items() if name not in known])
    found = await store.list_organizations(act.tx, act.provider, list(groups))
    users = await store.list_users(act.tx, act.provider, list(wanted))
    return (
        {name: org for name, org in found.items() if org.deleted_at is None},
        {name: user for name, user in users.items() if user.deleted_at is None},
    )


async def named_users(act: Act, people: Sequence[SeenUser]) -> None:
    """Make rows for users that are only named so far, unless they are deleted."""
    await store.lock_names(act.tx, act.provider, [seen.id for seen in people])
    known = await store.list_named(act.tx, act.provider, [seen.id for seen in people])
    await _make_users(act, [seen for seen in people if seen.id not in known])


async def _make_organization(act: Act, org: SeenOrganization) -> None:
    """Make a row for an organization that is only named so far, unless it is deleted."""
    known = await store.list_named(act.tx, act.provider, [org.id])
    if org.id not in known and not await is_buried(act, "org", org.id):
        await found_organization(act, org)


async def _make_users(act: Act, people: Sequence[SeenUser]) -> None:
    dead = await graves.get_graves(act.tx, act.provider, "user", [seen.id for seen in people])
    made = [
        (UserId(act.ids.uuid()), seen)
        for seen in people
        if seen.id not in dead or not dead[seen.id].holds(asked=act.asked, now=act.now)
    ]
    await store.put_users(act.tx, act.provider, made, at=act.now)


async def found_organization(act: Act, seen: SeenOrganization) -> OrgId:
    """Add an organization, and tell of it."""
    org_id = OrgId(act.ids.uuid())
    await store.put_organization(act.tx, act.provider, org_id, seen, at=act.now)
    await act.tell(
        act.entry("organization.created", seen.id, org_id=org_id, details={"name": seen.name})
    )
    return org_id


async def is_buried(act: Act, kind: str, external_id: str) -> bool:
    """Say whether a tombstone holds; one that does not is lifted."""
    found = (await graves.get_graves(act.tx, act.provider, kind, [external_id])).get(external_id)
    if found is None:
        return False
    if found.holds(asked=act.asked, now=act.now):
        return True
    await graves.lift(act.tx, act.provider, kind, [external_id])
    return False
