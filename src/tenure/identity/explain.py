"""Why somebody, an organization or an event stands as it does: everything we kept about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from tenure.base.db import Tx
from tenure.base.errors import TenureError
from tenure.identity import decisions, members_list
from tenure.identity.decisions import Kept
from tenure.identity.directory import pair_of, subject_of
from tenure.identity.errors import UnknownOrganization, UnknownUser
from tenure.identity.members_list import Lived, key_of
from tenure.identity.model import Membership, OrgId, UserId
from tenure.identity.roster import read_member
from tenure.journal import find
from tenure.journal.find import Came, Standing
from tenure.journal.model import Subject

FEW = 50  # of everything that can be long: members, decisions
LATEST = 10  # events
What = Literal["user", "organization", "event", "tombstone"]


class NothingKnown(TenureError):
    """Nothing of ours has this name."""

    code = "identity.nothing_known"
    hint = "Give our key, a provider's id, an e-mail address, or the id of an event."


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """How a provider calls somebody."""

    provider: str
    external_id: str
    version: datetime | None
    seen_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """What a provider has deleted."""

    provider: str
    kind: str
    external_id: str
    deleted_at: datetime
    proof: str
    written_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Belonging:
    """One membership with its whole life."""

    member: Membership
    org_name: str
    user_name: str  # or her address, or her key
    history: tuple[Lived, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Everything we know of one thing, and why it is so."""

    what: What
    id: str
    title: str
    deleted_at: datetime | None = None
    blocked: bool = False
    names: tuple[Name, ...] = ()
    memberships: tuple[Belonging, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    looks: tuple[Standing, ...] = ()
    events: tuple[Came, ...] = ()
    decisions: tuple[Kept, ...] = ()  # the latest, oldest first


async def explain(tx: Tx, name: str) -> list[Explained]:
    """Tell everything about whoever or whatever has this name; an address may be of several.

    Errors: NothingKnown.
    """
    found = [await _user(tx, one) for one in await find_users(tx, name)]
    found += [await _organization(tx, one) for one in await find_organizations(tx, name)]
    found += [await _event(tx, one) for one in await find.list_events(tx, name)]
    if not found and (graves := await _tombstones(tx, [name])):
        found.append(await _buried(tx, name, graves))
    if not found:
        raise NothingKnown(f"nothing is called {name}", name=name)
    return found


async def find_users(tx: Tx, name: str) -> list[UserId]:
    """Find users by our key, a provider's id of theirs or of a membership, or their address."""
    cur = await tx.execute(
        """
        SELECT id FROM tenure.users
         WHERE id = %(key)s OR lower(email) = lower(%(name)s)
            OR id IN (SELECT user_id FROM tenure.identities WHERE external_id = %(name)s
                      UNION ALL
                      SELECT user_id FROM tenure.memberships
                       WHERE id = %(key)s OR external_id = %(name)s
                      UNION ALL
                      SELECT user_id FROM tenure.membership_history WHERE external_id = %(name)s)
         ORDER BY created_at, id
        """,
        {"key": key_of(name), "name": name},
    )
    return [row["id"] for row in await cur.fetchall()]


async def find_organizations(tx: Tx, name: str) -> list[OrgId]:
    """Find organizations by our key or a provider's id."""
    cur = await tx.execute(
        """
        SELECT id FROM tenure.organizations
         WHERE id = %(key)s
            OR id IN (SELECT org_id FROM tenure.identities WHERE external_id = %(name)s)
         ORDER BY created_at, id
        """,
        {"key": key_of(name), "name": name},
    )
    return [row["id"] for row in await cur.fetchall()]


async def one_user(tx: Tx, name: str) -> UserId:
    """Find the one user of this name.

    Errors: UnknownUser, also where several have the address.
    """
    found = await find_users(tx, name)
    if not found:
        raise UnknownUser(f"no user is called {name}", name=name)
    if len(found) > 1:
        keys = ", ".join(str(key) for key in found)
        raise UnknownUser(f"several users are called {name}: {keys}", name=name)
    return found[0]


async def one_organization(tx: Tx, name: str) -> OrgId:
    """Find the one organization of this name.

    Errors: UnknownOrganization.
    """
    found = await find_organizations(tx, name)
    if len(found) != 1:
        raise UnknownOrganization(f"no one organization is called {name}", name=name)
    return found[0]


async def list_names(
    tx: Tx, *, org_id: OrgId | None = None, user_id: UserId | None = None
) -> list[Name]:
    """List how the providers call an organization or a user."""
    cur = await tx.execute(
        """
        SELECT provider, external_id, version, seen_at FROM tenure.identities
         WHERE org_id = %s OR user_id = %s ORDER BY provider, external_id
        """,
        (org_id, user_id),
    )
    return [Name(**row) for row in await cur.fetchall()]


async def _user(tx: Tx, user_id: UserId) -> Explained:
    cur = await tx.execute(
        """
        SELECT email, name, deleted_at, blocked_until IS NOT NULL AS blocked
          FROM tenure.users WHERE id = %s
        """,
        (user_id,),
    )
    row = await cur.fetchone()
    if row is None:
        raise AssertionError("whoever was found just now is there: rows of users stay")
    names = await list_names(tx, user_id=user_id)
    standing = await _memberships(tx, user_id=user_id)
    subjects = [subject_of(name.provider, "user", name.external_id) for name in names]
    subjects += await _pairs(tx, user_id=user_id)
    subjects += [Subject(f"{one.member.provider}.wish", str(one.member.id)) for one in standing]
    who = " ".join(filter(None, (row["name"], f"<{row['email']}>" if row["email"] else "")))
    return Explained(
        what="user",
        id=str(user_id),
        title=who or "(nameless)",
        deleted_at=row["deleted_at"],
        blocked=row["blocked"],
        names=tuple(names),
        memberships=tuple([await _with_history(tx, one) for one in standing]),
        tombstones=tuple(await _tombstones(tx, [name.external_id for name in names])),
        looks=tuple(await find.list_standing(tx, subjects)),
        events=tuple(await find.list_events_about(tx, subjects, limit=LATEST)),
        decisions=_in_order(await decisions.list_of_owner(tx, user_id=user_id, limit=FEW)),
    )


async def _organization(tx: Tx, org_id: OrgId) -> Explained:
    cur = await tx.execute(
        "SELECT name, deleted_at FROM tenure.organizations WHERE id = %s", (org_id,)
    )
    row = await cur.fetchone()
    if row is None:
        raise AssertionError("whatever was found just now is there: rows of organizations stay")
    names = await list_names(tx, org_id=org_id)
    subjects = [subject_of(name.provider, "org", name.external_id) for name in names]
    subjects += await _pairs(tx, org_id=org_id)
    looks = await find.list_standing(tx, subjects)
    return Explained(
        what="organization",
        id=str(org_id),
        title=row["name"],
        deleted_at=row["deleted_at"],
        names=tuple(names),
        memberships=tuple(await _memberships(tx, org_id=org_id)),
        tombstones=tuple(await _tombstones(tx, [name.external_id for name in names])),
        looks=tuple(look for look in looks if look.is_due or look.kind.endswith(".org")),
        events=tuple(await find.list_events_about(tx, subjects, limit=LATEST)),
        decisions=_in_order(await decisions.list_of_owner(tx, org_id=org_id, limit=FEW)),
    )


async def _event(tx: Tx, event: Came) -> Explained:
    """Tell which look settled an event, and what that decided."""
    subject = event.subject
    looks = await find.list_standing(tx, [subject]) if subject else []
    made = (
        await decisions.list_of_subject(tx, subject, from_seq=event.seq, limit=FEW)
        if subject and event.seq is not None
        else []
    )
    first = min((one.seq for one in made if one.seq is not None), default=None)
    return Explained(
        what="event",
        id=event.event_id,
        title=f"{event.kind} of {event.source}",
        looks=tuple(looks),
        events=(event,),
        decisions=tuple(one for one in made if one.seq == first),
    )


async def _buried(tx: Tx, name: str, graves: Sequence[Tombstone]) -> Explained:
    """Tell of what was deleted before we ever saw it."""
    subjects = [
        Subject(f"{grave.provider}.{'membership' if grave.kind == 'pair' else grave.kind}", called)
        for grave in graves
        for called in {name, grave.external_id}
    ]
    made = [one for s in subjects for one in await decisions.list_of_subject(tx, s, limit=FEW)]
    return Explained(
        what="tombstone",
        id=name,
        title="deleted, and never seen here",
        tombstones=tuple(graves),
        looks=tuple(await find.list_standing(tx, subjects)),
        events=tuple(await find.list_events_about(tx, subjects, limit=LATEST)),
        decisions=tuple(sorted(made, key=lambda one: one.at)),
    )


def _in_order(newest_first: Sequence[Kept]) -> tuple[Kept, ...]:
    return tuple(reversed(newest_first))


async def _memberships(
    tx: Tx, *, org_id: OrgId | None = None, user_id: UserId | None = None
) -> list[Belonging]:
    cur = await tx.execute(
        """
        SELECT m.*, o.name AS org_name, coalesce(u.name, u.email, u.id::text) AS user_name
          FROM tenure.memberships m
          JOIN tenure.organizations o ON o.id = m.org_id
          JOIN tenure.users u ON u.id = m.user_id
         WHERE m.org_id = %s OR m.user_id = %s ORDER BY m.created_at, m.id LIMIT %s
        """,
        (org_id, user_id, FEW),
    )
    return [
        Belonging(member=read_member(row), org_name=row["org_name"], user_name=row["user_name"])
        for row in await cur.fetchall()
    ]


async def _with_history(tx: Tx, one: Belonging) -> Belonging:
    lines = await members_list.list_history(tx, one.member.id)
    return Belonging(
        member=one.member,
        org_name=one.org_name,
        user_name=one.user_name,
        history=tuple(lines),
    )


async def _pairs(
    tx: Tx, *, org_id: OrgId | None = None, user_id: UserId | None = None
) -> list[Subject]:
    """Name the subjects of somebody's, or of an organization's, memberships."""
    cur = await tx.execute(
        """
        SELECT m.provider, o.external_id AS org, u.external_id AS person
          FROM tenure.memberships m
          JOIN tenure.identities o ON o.org_id = m.org_id AND o.provider = m.provider
          JOIN tenure.identities u ON u.user_id = m.user_id AND u.provider = m.provider
         WHERE m.org_id = %s OR m.user_id = %s
        """,
        (org_id, user_id),
    )
    return [
        subject_of(row["provider"], "membership", pair_of(row["org"], row["person"]))
        for row in await cur.fetchall()
    ]


async def _tombstones(tx: Tx, names: Sequence[str]) -> list[Tombstone]:
    cur = await tx.execute(
        """
        SELECT provider, kind, external_id, deleted_at, proof, written_at FROM tenure.tombstones
         WHERE external_id = ANY (%(names)s)
            OR (kind = 'pair' AND (split_part(external_id, '/', 1) = ANY (%(names)s)
                                   OR split_part(external_id, '/', 2) = ANY (%(names)s)))
         ORDER BY deleted_at DESC LIMIT %(limit)s
        """,
        {"names": list(names), "limit": FEW},
    )
    return [Tombstone(**row) for row in await cur.fetchall()]


async def names_of(tx: Tx, user_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Say what to call some users: by name, address or key."""
    cur = await tx.execute(
        """
        SELECT id, coalesce(name, email, id::text) AS called FROM tenure.users WHERE id = ANY (%s)
        """,
        (list(user_ids),),
    )
    return {row["id"]: row["called"] for row in await cur.fetchall()}
