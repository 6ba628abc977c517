"""Pages of members, of their history, and of somebody's organizations."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from psycopg.rows import DictRow

from tenure.base.db import Tx
from tenure.base.errors import TenureError
from tenure.identity.model import Membership, OrgId, UserId
from tenure.identity.roster import read_member

ToldStatus = Literal["pending", "active", "inactive", "removed"]
HERE: tuple[ToldStatus, ...] = ("pending", "active", "inactive")  # everybody but the removed


class BadPlace(TenureError):
    """A page is asked for from a place that no earlier page gave."""

    code = "identity.bad_place"
    hint = "Give `next` of the page before, as it came; leave it out for the first page."


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page ended: a row, so that whoever joins meanwhile shifts nothing."""

    at: datetime
    id: UUID

    @property
    def text(self) -> str:
        """Write it for a client, who need not understand it."""
        return base64.urlsafe_b64encode(f"{self.at.isoformat()} {self.id}".encode()).decode()

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `text` wrote.

        Errors: BadPlace.
        """
        try:
            at, _, name = base64.b64decode(text, b"-_", validate=True).decode().partition(" ")
            place = cls(at=datetime.fromisoformat(at), id=UUID(name))
        except (binascii.Error, UnicodeError, ValueError) as exc:
            raise BadPlace("this is not the end of a page") from exc
        if place.at.tzinfo is None:
            raise BadPlace("this is not the end of a page")
        return place


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedMember:
    """A membership, and who the person is."""

    member: Membership
    email: str | None
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedOrganization:
    """A membership, and what the organization is called."""

    member: Membership
    name: str
    slug: str | None
    external_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """One line of a membership's history."""

    id: int
    at: datetime
    provider: str | None
    external_id: str | None
    generation: int
    status_from: str | None
    status_to: str
    role_from: str | None
    role_to: str
    seat_from: bool | None
    seat_to: bool
    cause: str
    provider_at: datetime | None


async def list_members(
    tx: Tx,
    org_id: OrgId,
    *,
    statuses: Sequence[ToldStatus] = HERE,
    after: Place | None = None,
    limit: int = 100,
) -> list[ListedMember]:
    """List who belongs to an organization, those who came first before the others."""
    cur = await tx.execute(
        """
        SELECT m.*, u.email, u.name
          FROM tenure.memberships m JOIN tenure.users u ON u.id = m.user_id
         WHERE m.org_id = %(org)s
           AND CASE WHEN m.removed_at IS NULL THEN m.status ELSE 'removed' END = ANY (%(statuses)s)
           AND (%(at)s::timestamptz IS NULL
                OR (m.created_at, m.id) > (%(at)s::timestamptz, %(id)s::uuid))
         ORDER BY m.created_at, m.id LIMIT %(limit)s
        """,
        {"org": org_id, "statuses": list(statuses), "limit": limit, **_place(after)},
    )
    return [_member(row) for row in await cur.fetchall()]


async def get_member(tx: Tx, org_id: OrgId, user_id: UserId) -> ListedMember | None:
    """Read one of them, a removed one too."""
    cur = await tx.execute(
        """
        SELECT m.*, u.email, u.name
          FROM tenure.memberships m JOIN tenure.users u ON u.id = m.user_id
         WHERE m.org_id = %s AND m.user_id = %s
        """,
        (org_id, user_id),
    )
    row = await cur.fetchone()
    return _member(row) if row else None


async def find_member(tx: Tx, org_id: OrgId, name: str, *, provider: str) -> UserId | None:
    """Find who is, or was, a member by our key or by the provider's id."""
    cur = await tx.execute(
        """
        SELECT m.user_id FROM tenure.memberships m
         WHERE m.org_id = %(org)s
           AND m.user_id IN (SELECT i.user_id FROM tenure.identities i
                              WHERE i.provider = %(provider)s AND i.external_id = %(name)s
                              UNION ALL SELECT %(key)s::uuid)
        """,
        {"org": org_id, "provider": provider, "name": name, "key": key_of(name)},
    )
    row = await cur.fetchone()
    return row["user_id"] if row else None


async def list_history(
    tx: Tx, membership_id: UUID, *, after: int = 0, limit: int = 100
) -> list[Lived]:
    """List what happened to a membership, oldest first."""
    cur = await tx.execute(
        """
        SELECT id, at, provider, external_id, generation, status_from, status_to, role_from,
               role_to, seat_from, seat_to, cause, provider_at
          FROM tenure.membership_history
         WHERE membership_id = %s AND id > %s ORDER BY id LIMIT %s
        """,
        (membership_id, after, limit),
    )
    return [Lived(**row) for row in await cur.fetchall()]


async def list_organizations(
    tx: Tx, user_id: UserId, *, after: Place | None = None, limit: int = 100
) -> list[ListedOrganization]:
    """List the organizations that somebody belongs to, across all tenants: only for herself."""
    cur = await tx.execute(
        """
        SELECT m.*, o.name, o.slug,
               (SELECT i.external_id FROM tenure.identities i
                 WHERE i.org_id = o.id AND i.provider = m.provider LIMIT 1) AS org_external_id
          FROM tenure.memberships m JOIN tenure.organizations o ON o.id = m.org_id
         WHERE m.user_id = %(user)s AND m.removed_at IS NULL AND o.deleted_at IS NULL
           AND (%(at)s::timestamptz IS NULL
                OR (m.created_at, m.id) > (%(at)s::timestamptz, %(id)s::uuid))
         ORDER BY m.created_at, m.id LIMIT %(limit)s
        """,
        {"user": user_id, "limit": limit, **_place(after)},
    )
    return [_organization(row) for row in await cur.fetchall()]


async def list_invited(tx: Tx, org_id: OrgId) -> set[str]:
    """List the addresses of invited members who hold a seat already: WorkOS makes them members."""
    cur = await tx.execute(
        """
        SELECT lower(u.email) AS email
          FROM tenure.memberships m JOIN tenure.users u ON u.id = m.user_id
         WHERE m.org_id = %s AND m.status = 'pending' AND m.holds_seat AND u.email IS NOT NULL
        """,
        (org_id,),
    )
    return {row["email"] for row in await cur.fetchall()}


async def count_waiting(tx: Tx, org_id: OrgId) -> int:
    """Count who is here without a seat, beyond the limit."""
    cur = await tx.execute(
        """
        SELECT count(*) AS n FROM tenure.memberships
         WHERE org_id = %s AND NOT holds_seat AND status IN ('pending', 'active')
        """,
        (org_id,),
    )
    row = await cur.fetchone()
    return row["n"] if row else 0


def key_of(name: str) -> UUID | None:
    """Read a name as a key of ours, if it can be one."""
    try:
        return UUID(name)
    except ValueError:
        return None


def _place(after: Place | None) -> dict[str, object]:
    return {"at": after.at if after else None, "id": after.id if after else None}


def _member(row: DictRow) -> ListedMember:
    return ListedMember(member=read_member(row), email=row["email"], name=row["name"])


def _organization(row: DictRow) -> ListedOrganization:
    found: dict[str, Any] = {"name": row["name"], "slug": row["slug"]}
    return ListedOrganization(member=read_member(row), external_id=row["org_external_id"], **found)
