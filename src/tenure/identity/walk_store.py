"""SQL of walks: our rows held against pages of what a provider lists, a page in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from tenure.base.db import Tx
from tenure.identity.directory import pair_of, subject_of
from tenure.identity.model import SeenMembership, SeenOrganization, SeenUser
from tenure.journal.model import Subject

Phase = Literal["users", "organizations", "memberships", "ended"]
PersonKind = Literal["user", "org"]
WISHED = "wish_not_carried_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a walk has come."""

    run: UUID
    phase: Phase
    place: str | None
    began_at: datetime
    counts: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that the provider and our rows do not agree on."""

    subject: Subject
    reason: str  # "unknown_here", "changed", "missing_there", "deleted_here", "never_seen" …
    ours: str
    theirs: str


async def get_place(tx: Tx, provider: str) -> Place | None:
    """Read how far the newest walk has come."""
    cur = await tx.execute(
        "SELECT run, phase, place, began_at, counts FROM tenure.walks WHERE provider = %s",
        (provider,),
    )
    row = await cur.fetchone()
    return Place(**row) if row else None


async def begin(tx: Tx, provider: str, place: Place) -> None:
    """Begin a walk anew; what older ones have met is forgotten, but for one that only looks."""
    await tx.execute(
        """
        DELETE FROM tenure.walk_seen
         WHERE provider = %(provider)s
           AND (run IN (SELECT run FROM tenure.walks WHERE provider = %(provider)s)
                OR at < clock_timestamp() - interval '1 day')
        """,
        {"provider": provider},
    )
    await tx.execute(
        """
        INSERT INTO tenure.walks (provider, run, phase, place, counts, began_at, moved_at)
        VALUES (%(provider)s, %(run)s, %(phase)s, %(place)s, %(counts)s, %(at)s, %(at)s)
        ON CONFLICT (provider) DO UPDATE
           SET run = excluded.run, phase = excluded.phase, place = excluded.place,
               counts = excluded.counts, began_at = excluded.began_at, moved_at = excluded.moved_at
        """,
        {
            "provider": provider,
            "run": place.run,
            "phase": place.phase,
            "place": place.place,
            "counts": Jsonb(place.counts),
            "at": place.began_at,
        },
    )


async def move(tx: Tx, provider: str, before: Place, after: Place, *, at: datetime) -> bool:
    """Note the next place; False where somebody else has walked on meanwhile."""
    cur = await tx.execute(
        """
        UPDATE tenure.walks SET phase = %(phase)s, place = %(place)s, counts = %(counts)s,
                                moved_at = %(at)s
         WHERE provider = %(provider)s AND run = %(run)s AND phase = %(was_phase)s
           AND place IS NOT DISTINCT FROM %(was_place)s
        """,
        {
            "provider": provider,
            "run": before.run,
            "was_phase": before.phase,
            "was_place": before.place,
            "phase": after.phase,
            "place": after.place,
            "counts": Jsonb(after.counts),
            "at": at,
        },
    )
    return cur.rowcount == 1


async def put_seen(tx: Tx, provider: str, run: UUID, kind: str, names: Sequence[str]) -> None:
    """Note whom the walk has met."""
    await tx.execute(
        """
        INSERT INTO tenure.walk_seen (provider, run, kind, external_id)
        SELECT %s, %s, %s, name FROM unnest(%s::text[]) AS t (name) ON CONFLICT DO NOTHING
        """,
        (provider, run, kind, list(names)),
    )


async def forget_seen(tx: Tx, provider: str, run: UUID) -> None:
    """Forget whom a walk has met: it is over."""
    await tx.execute(
        "DELETE FROM tenure.walk_seen WHERE provider = %s AND run = %s", (provider, run)
    )


async def compare_people(
    tx: Tx, provider: str, kind: PersonKind, items: Sequence[SeenUser | SeenOrganization]
) -> list[Difference]:
    """Hold a page of users or organizations against our rows."""
    cur = await tx.execute(
        """
        SELECT i.external_id, i.version, u.email, coalesce(u.name, o.name) AS name, o.slug,
               u.blocked_until IS NOT NULL AS blocked,
               coalesce(u.deleted_at, o.deleted_at) IS NOT NULL AS deleted
          FROM tenure.identities i
          LEFT JOIN tenure.users u ON u.id = i.user_id
          LEFT JOIN tenure.organizations o ON o.id = i.org_id
         WHERE i.provider = %s AND i.external_id = ANY (%s)
        """,
        (provider, [item.id for item in items]),
    )
    known = {row["external_id"]: row for row in await cur.fetchall()}
    found: list[Difference] = []
    for item in items:
        row = known.get(item.id)
        if row is None:
            reason, ours = "unknown_here", "nothing"
        elif row["deleted"]:
            reason, ours = "deleted_here", "deleted"
        elif row["version"] is None:
            reason, ours = "never_seen", "a name only"
        elif item.version is not None and _is_other(row, item, item.version):
            reason, ours = "changed", f"as of {row['version']}"
        else:
            continue
        theirs = f"as of {item.version}"
        subject = subject_of(provider, kind, item.id)
        found.append(Difference(subject=subject, reason=reason, ours=ours, theirs=theirs))
    return found


def _is_other(row: DictRow, item: SeenUser | SeenOrganization, version: datetime) -> bool:
    """Say whether the page shows something newer, or something else of the same moment."""
    if version != row["version"]:
        return version > row["version"]
    if isinstance(item, SeenUser):
        return (item.email, item.name, item.blocked) != (row["email"], row["name"], row["blocked"])
    return (item.name, item.slug) != (row["name"], row["slug"])


async def compare_members(
    tx: Tx, provider: str, items: Sequence[SeenMembership]
) -> list[Difference]:
    """Hold a page of memberships, of any organizations, against our rows."""
    cur = await tx.execute(
        """
        SELECT t.place, m.id, m.external_id, m.version, m.role, m.status, m.removed_at,
               m.wish IS NOT NULL OR m.wish_role IS NOT NULL AS wished
          FROM unnest(%(orgs)s::text[], %(users)s::text[]) WITH ORDINALITY AS t (org, person, place)
          JOIN tenure.identities o ON o.provider = %(provider)s AND o.external_id = t.org
          JOIN tenure.identities u ON u.provider = %(provider)s AND u.external_id = t.person
          JOIN tenure.memberships m ON m.org_id = o.org_id AND m.user_id = u.user_id
        """,
        {
            "provider": provider,
            "orgs": [m.org.id for m in items],
            "users": [m.user.id for m in items],
        },
    )
    rows = {row["place"]: row for row in await cur.fetchall()}
    found: list[Difference] = []
    for place, item in enumerate(items, 1):
        row = rows.get(place)
        ours, theirs = _ours(row), f"{item.id} {item.status.value} {item.role}"
        reason = _member_differs(row, item) if ours != theirs or (row and row["wished"]) else None
        if reason is None:
            continue
        subject = subject_of(provider, "membership", pair_of(item.org.id, item.user.id))
        if row is not None and reason == WISHED:
            subject = Subject(f"{provider}.wish", str(row["id"]))  # it is carried there once more
        found.append(Difference(subject=subject, reason=reason, ours=ours, theirs=theirs))
    return found


def _ours(row: DictRow | None) -> str:
    if row is None:
        return "nothing"
    status = "removed" if row["removed_at"] else row["status"]
    return f"{row['external_id']} {status} {row['role']}"


def _member_differs(row: DictRow | None, item: SeenMembership) -> str | None:
    """Say how a row differs from what is shown; None where the page is older than the row."""
    if row is None:
        return "unknown_here"
    if row["removed_at"]:
        return "deleted_here"
    if row["external_id"] is None:
        return "never_seen"
    if row["wished"] and row["external_id"] == item.id:
        return WISHED
    if item.version < row["version"]:
        return None
    return "other_generation" if row["external_id"] != item.id else "changed"


async def missing_people(
    tx: Tx, provider: str, run: UUID, kind: PersonKind, *, before: datetime
) -> list[Difference]:
    """List users or organizations that we know and a whole walk has not met.

    EXCEPT, because it costs the same whatever Postgres believes about the tables: of those just
    filled it knows nothing, and NOT EXISTS would compare everybody with everybody.
    """
    cur = await tx.execute(
        """
        SELECT i.external_id FROM tenure.identities i
          LEFT JOIN tenure.users u ON u.id = i.user_id
          LEFT JOIN tenure.organizations o ON o.id = i.org_id
         WHERE i.provider = %(provider)s AND i.created_at < %(before)s
           AND (i.user_id IS NOT NULL) = (%(kind)s = 'user')
           AND u.deleted_at IS NULL AND o.deleted_at IS NULL
        EXCEPT
        SELECT external_id FROM tenure.walk_seen
         WHERE provider = %(provider)s AND run = %(run)s AND kind = %(kind)s
         ORDER BY external_id
        """,
        {"provider": provider, "run": run, "kind": kind, "before": before},
    )
    return [
        Difference(
            subject=subject_of(provider, kind, row["external_id"]),
            reason="missing_there",
            ours="there",
            theirs="nothing",
        )
        for row in await cur.fetchall()
    ]


async def missing_members(
    tx: Tx, provider: str, run: UUID, *, before: datetime
) -> list[Difference]:
    """List memberships that stand here and that a whole walk has not met; EXCEPT, as above."""
    cur = await tx.execute(
        """
        WITH missing AS MATERIALIZED (
            SELECT external_id FROM tenure.memberships
             WHERE provider = %(provider)s AND external_id IS NOT NULL AND removed_at IS NULL
               AND updated_at < %(before)s
            EXCEPT
            SELECT external_id FROM tenure.walk_seen
             WHERE provider = %(provider)s AND run = %(run)s AND kind = 'membership')
        SELECT o.external_id AS org, u.external_id AS person, m.external_id, m.status, m.role
          FROM missing
          JOIN tenure.memberships m
            ON m.provider = %(provider)s AND m.external_id = missing.external_id
          JOIN tenure.identities o ON o.org_id = m.org_id AND o.provider = m.provider
          JOIN tenure.identities u ON u.user_id = m.user_id AND u.provider = m.provider
        UNION ALL
        SELECT o.external_id, u.external_id, m.external_id, m.status, m.role
          FROM tenure.memberships m
          JOIN tenure.identities o ON o.org_id = m.org_id AND o.provider = %(provider)s
          JOIN tenure.identities u ON u.user_id = m.user_id AND u.provider = %(provider)s
         WHERE m.external_id IS NULL AND coalesce(m.provider, %(provider)s) = %(provider)s
           AND m.removed_at IS NULL AND m.updated_at < %(before)s  -- only a token told of it
         ORDER BY 1, 2
        """,
        {"provider": provider, "run": run, "before": before},
    )
    return [
        Difference(
            subject=subject_of(provider, "membership", pair_of(row["org"], row["person"])),
            reason="missing_there",
            ours=f"{row['external_id']} {row['status']} {row['role']}",
            theirs="nothing",
        )
        for row in await cur.fetchall()
    ]


async def next_organization(tx: Tx, provider: str, after: str | None) -> str | None:
    """Name the next of our organizations, in the order of the provider's ids."""
    cur = await tx.execute(
        """
        SELECT i.external_id FROM tenure.identities i JOIN tenure.organizations o ON o.id = i.org_id
         WHERE i.provider = %s AND o.deleted_at IS NULL AND i.external_id > %s
         ORDER BY i.external_id LIMIT 1
        """,
        (provider, after or ""),
    )
    row = await cur.fetchone()
    return row["external_id"] if row else None
