"""SQL of memberships, their history and their seats."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from psycopg.rows import DictRow

from tenure.base.db import Tx
from tenure.identity.model import Membership, OrgId, Seats, Status, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One membership before and after, and why."""

    before: Membership | None
    after: Membership
    cause: str
    reason: str
    provider_at: datetime | None = None


async def lock_seats(tx: Tx, org_id: OrgId) -> Seats:
    """Take the organization's row: nobody else changes its memberships until we commit."""
    cur = await tx.execute(
        """
        SELECT org_id, bought, fixed, seat_limit, used, version FROM tenure.seats
         WHERE org_id = %s FOR UPDATE
        """,
        (org_id,),
    )
    row = await cur.fetchone()
    if row is None:
        raise AssertionError("every organization has a row in tenure.seats: a trigger makes it")
    return Seats(**row)


async def lock_all_seats(tx: Tx, org_ids: Sequence[OrgId]) -> dict[OrgId, Seats]:
    """Take the rows of several organizations, always in the same order."""
    cur = await tx.execute(
        """
        SELECT org_id, bought, fixed, seat_limit, used, version FROM tenure.seats
         WHERE org_id = ANY (%s) ORDER BY org_id FOR UPDATE
        """,
        (list(org_ids),),
    )
    return {row["org_id"]: Seats(**row) for row in await cur.fetchall()}


async def get_seats(tx: Tx, org_id: OrgId) -> Seats | None:
    """Read how many seats an organization has and uses."""
    cur = await tx.execute(
        """
        SELECT org_id, bought, fixed, seat_limit, used, version FROM tenure.seats
         WHERE org_id = %s
        """,
        (org_id,),
    )
    row = await cur.fetchone()
    return Seats(**row) if row else None


async def put_used(tx: Tx, org_id: OrgId, used: int) -> None:
    """Write how many seats are used now; only under `lock_seats`."""
    await tx.execute(
        """
        UPDATE tenure.seats
           SET used = %s, version = version + 1, updated_at = clock_timestamp() WHERE org_id = %s
        """,
        (used, org_id),
    )


async def put_limits(
    tx: Tx, org_id: OrgId, *, fixed: int | None, bought: int | None, used: int
) -> None:
    """Write new limits with the number of seats that are used under them."""
    await tx.execute(
        """
        UPDATE tenure.seats
           SET fixed = %s, bought = %s, used = %s, version = version + 1,
               updated_at = clock_timestamp() WHERE org_id = %s
        """,
        (fixed, bought, used, org_id),
    )


async def find_pair(tx: Tx, provider: str, pair: str) -> tuple[OrgId | None, UserId | None]:
    """Find our keys for an organization and a user that a provider names together."""
    org, _, user = pair.partition("/")
    cur = await tx.execute(
        """
        SELECT (SELECT org_id FROM tenure.identities
                 WHERE provider = %(provider)s AND external_id = %(org)s) AS org_id,
               (SELECT user_id FROM tenure.identities
                 WHERE provider = %(provider)s AND external_id = %(user)s) AS user_id
        """,
        {"provider": provider, "org": org, "user": user},
    )
    row = await cur.fetchone()
    return (row["org_id"], row["user_id"]) if row else (None, None)


async def get_pair(tx: Tx, org_id: OrgId, user_id: UserId) -> Membership | None:
    """Read the membership of a user in an organization."""
    cur = await tx.execute(
        "SELECT * FROM tenure.memberships WHERE org_id = %s AND user_id = %s", (org_id, user_id)
    )
    row = await cur.fetchone()
    return read_member(row) if row else None


async def list_seen(tx: Tx, provider: str, external_ids: Sequence[str]) -> set[str]:
    """Say who of these was seen herself, and not only named inside something else."""
    cur = await tx.execute(
        """
        SELECT external_id FROM tenure.identities
         WHERE provider = %s AND external_id = ANY (%s) AND version IS NOT NULL
        """,
        (provider, list(external_ids)),
    )
    return {row["external_id"] for row in await cur.fetchall()}


async def get_member(tx: Tx, membership_id: UUID) -> Membership | None:
    """Read one membership."""
    cur = await tx.execute("SELECT * FROM tenure.memberships WHERE id = %s", (membership_id,))
    row = await cur.fetchone()
    return read_member(row) if row else None


async def list_of_pairs(
    tx: Tx, org_id: OrgId, user_ids: Sequence[UserId]
) -> dict[UserId, Membership]:
    """Read, and lock, the memberships of some users in one organization."""
    cur = await tx.execute(
        """
        SELECT * FROM tenure.memberships
         WHERE org_id = %s AND user_id = ANY (%s) FOR UPDATE
        """,
        (org_id, list(user_ids)),
    )
    return {m.user_id: m for m in map(read_member, await cur.fetchall())}


async def list_pairs(
    tx: Tx, pairs: Sequence[tuple[OrgId, UserId]]
) -> dict[tuple[OrgId, UserId], Membership]:
    """Read, and lock, the memberships of pairs of any organizations."""
    cur = await tx.execute(
        """
        SELECT m.* FROM tenure.memberships m
          JOIN unnest(%s::uuid[], %s::uuid[]) AS t (org, person)
            ON m.org_id = t.org AND m.user_id = t.person
           FOR UPDATE OF m
        """,
        ([org for org, _ in pairs], [person for _, person in pairs]),
    )
    return {(m.org_id, m.user_id): m for m in map(read_member, await cur.fetchall())}


async def list_here(tx: Tx, org_id: OrgId) -> list[Membership]:
    """Read everybody who counts for seats, those who came first before the others."""
    cur = await tx.execute(
        """
        SELECT * FROM tenure.memberships
         WHERE org_id = %s AND status IN ('pending', 'active')
         ORDER BY coalesce(joined_at, created_at), id
        """,
        (org_id,),
    )
    return [read_member(row) for row in await cur.fetchall()]


async def list_not_removed(
    tx: Tx, *, org_id: OrgId | None = None, user_id: UserId | None = None
) -> list[Membership]:
    """Read the memberships of an organization or of a user that still stand."""
    cur = await tx.execute(
        """
        SELECT * FROM tenure.memberships
         WHERE (org_id = %(org)s OR user_id = %(user)s) AND removed_at IS NULL
         ORDER BY org_id, created_at, id
        """,
        {"org": org_id, "user": user_id},
    )
    return [read_member(row) for row in await cur.fetchall()]


async def count_admins(tx: Tx, org_id: OrgId, *, roles: Sequence[str]) -> int:
    """Count who may administer now and is to keep it; only under `lock_seats`."""
    cur = await tx.execute(
        """
        SELECT count(*) AS n FROM tenure.memberships m JOIN tenure.users u ON u.id = m.user_id
         WHERE m.org_id = %(org)s AND m.status = 'active' AND m.wish IS NULL
           AND m.role = ANY (%(roles)s) AND coalesce(m.wish_role, m.role) = ANY (%(roles)s)
           AND (u.blocked_until IS NULL OR u.blocked_until <= clock_timestamp())
        """,
        {"org": org_id, "roles": list(roles)},
    )
    row = await cur.fetchone()
    return row["n"] if row else 0


async def list_waiting(tx: Tx, org_id: OrgId, *, limit: int) -> list[Membership]:
    """Read who is beyond the limit, those who came first before the others."""
    cur = await tx.execute(
        """
        SELECT * FROM tenure.memberships
         WHERE org_id = %s AND NOT holds_seat AND status IN ('pending', 'active')
         ORDER BY coalesce(joined_at, created_at), id LIMIT %s
        """,
        (org_id, limit),
    )
    return [read_member(row) for row in await cur.fetchall()]


async def put_changes(tx: Tx, changes: Sequence[Change], *, at: datetime) -> None:
    """Write memberships and their history, which is one act."""
    if not changes:
        return
    async with tx.cursor() as cur:
        await cur.executemany(
            """
            INSERT INTO tenure.memberships AS m
                   (id, org_id, user_id, role, status, holds_seat, provider, external_id,
                    generation, version, joined_at, removed_at, wish, wish_role, wished_at,
                    wished_by, created_at, updated_at)
            VALUES (%(id)s, %(org_id)s, %(user_id)s, %(role)s, %(status)s, %(holds_seat)s,
                    %(provider)s, %(external_id)s, %(generation)s, %(version)s, %(joined_at)s,
                    %(removed_at)s, %(wish)s, %(wish_role)s, %(wished_at)s, %(wished_by)s,
                    %(created_at)s, %(updated_at)s)
            ON CONFLICT (org_id, user_id) DO UPDATE SET
                   role = excluded.role, status = excluded.status,
                   holds_seat = excluded.holds_seat, provider = excluded.provider,
                   external_id = excluded.external_id, generation = excluded.generation,
                   version = excluded.version, joined_at = excluded.joined_at,
                   removed_at = excluded.removed_at, wish = excluded.wish,
                   wish_role = excluded.wish_role, wished_at = excluded.wished_at,
                   wished_by = excluded.wished_by, updated_at = excluded.updated_at
            """,
            [_columns(change.after) for change in changes],
        )
        told = [
            line
            for change in changes
            if _is_told(change)
            for line in (*_end(change, at), _history(change, at))
        ]
        await cur.executemany(
            """
            INSERT INTO tenure.membership_history
                   (org_id, user_id, membership_id, provider, external_id, generation, status_from,
                    status_to, role_from, role_to, seat_from, seat_to, cause, provider_at, at)
            VALUES (%(org_id)s, %(user_id)s, %(id)s, %(provider)s, %(external_id)s, %(generation)s,
                    %(status_from)s, %(status_to)s, %(role_from)s, %(role_to)s, %(seat_from)s,
                    %(seat_to)s, %(cause)s, %(provider_at)s, %(at)s)
            """,
            told,
        )


def read_member(row: DictRow) -> Membership:
    """Read a whole row."""
    columns: dict[str, Any] = {name: row[name] for name in Membership.__slots__}
    columns["status"] = Status(row["status"])
    return Membership(**columns)


def _is_told(change: Change) -> bool:
    """Say whether history has something to tell: a version alone is not worth a line."""
    before, after = change.before, change.after
    return before is None or _face(before) != _face(after)


def _face(member: Membership) -> tuple[object, ...]:
    return (
        member.external_id,
        member.generation,
        member.told_status,
        member.role,
        member.holds_seat,
    )


def _columns(m: Membership) -> dict[str, object]:
    return {name: cast("object", getattr(m, name)) for name in Membership.__slots__}


def _end(change: Change, at: datetime) -> Iterator[dict[str, object]]:
    """Tell that a generation is over where the next one is the first that we hear of it."""
    before, after = change.before, change.after
    if before is None or before.removed_at is not None or before.generation == after.generation:
        return
    over = replace(before, status=Status.INACTIVE, holds_seat=False, removed_at=at)
    yield _history(replace(change, after=over, provider_at=None), at)


def _history(change: Change, at: datetime) -> dict[str, object]:
    before, after = change.before, change.after
    goes_on = before if before and before.generation == after.generation else None
    return {
        "org_id": after.org_id,
        "user_id": after.user_id,
        "id": after.id,
        "provider": after.provider,
        "external_id": after.external_id,
        "generation": after.generation,
        "status_from": goes_on.told_status if goes_on else None,
        "status_to": after.told_status,
        "role_from": goes_on.role if goes_on else None,
        "role_to": after.role,
        "seat_from": goes_on.holds_seat if goes_on else None,
        "seat_to": after.holds_seat,
        "cause": change.cause,
        "provider_at": change.provider_at,
        "at": at,
    }


async def list_history(
    tx: Tx, *, org_id: OrgId | None = None, membership_id: UUID | None = None, limit: int = 100
) -> list[DictRow]:
    """Read history, oldest first."""
    cur = await tx.execute(
        """
        SELECT * FROM tenure.membership_history
         WHERE org_id = %(org)s OR membership_id = %(member)s ORDER BY id LIMIT %(limit)s
        """,
        {"org": org_id, "member": membership_id, "limit": limit},
    )
    return await cur.fetchall()
