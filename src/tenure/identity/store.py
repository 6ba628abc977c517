"""SQL of users, organizations, identities and memberships."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tenure.base.db import Tx
from tenure.identity.claims import Principal
from tenure.identity.model import Organization, OrgId, User, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What our tables know of whom a token speaks for."""

    user_id: UserId | None
    org_id: OrgId | None
    role: str | None  # of the membership, while it is active
    member: bool  # there is a membership row, whatever its status


async def get_known(tx: Tx, who: Principal) -> Known:
    """Find the user, the organization and the membership that a token names."""
    cur = await tx.execute(
        """
        SELECT u.user_id, o.org_id, m.id IS NOT NULL AS member,
               CASE WHEN m.status = 'active' THEN m.role END AS role
          FROM (SELECT 1) AS one
          LEFT JOIN tenure.identities u ON u.provider = %(provider)s AND u.external_id = %(user)s
          LEFT JOIN tenure.identities o ON o.provider = %(provider)s AND o.external_id = %(org)s
          LEFT JOIN tenure.memberships m ON m.user_id = u.user_id AND m.org_id = o.org_id
        """,
        {"provider": who.provider, "user": who.user_id, "org": who.org_id},
    )
    row = await cur.fetchone()
    return Known(**row) if row else Known(user_id=None, org_id=None, role=None, member=False)


async def lock_arrival(tx: Tx, who: Principal) -> None:
    """Let one transaction at a time make the rows that a token names."""
    for name in sorted(filter(None, (who.user_id, who.org_id))):
        await tx.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{who.provider}:{name}",)
        )


async def put_user(tx: Tx, user: User, who: Principal, *, at: datetime) -> None:
    """Add a user under the provider's name for her."""
    await tx.execute(
        """
        WITH made AS (
            INSERT INTO tenure.users (id, email, name, created_at, updated_at)
            VALUES (%(id)s, %(email)s, %(name)s, %(at)s, %(at)s) RETURNING id)
        INSERT INTO tenure.identities (provider, external_id, user_id, created_at)
        SELECT %(provider)s, %(external)s, id, %(at)s FROM made
        """,
        {
            "id": user.id,
            "email": user.email,
            "name": user.name,
            "at": at,
            "provider": who.provider,
            "external": who.user_id,
        },
    )


async def put_organization(tx: Tx, org: Organization, who: Principal, *, at: datetime) -> None:
    """Add an organization under the provider's name for it."""
    await tx.execute(
        """
        WITH made AS (
            INSERT INTO tenure.organizations (id, name, slug, created_at, updated_at)
            VALUES (%(id)s, %(name)s, %(slug)s, %(at)s, %(at)s) RETURNING id)
        INSERT INTO tenure.identities (provider, external_id, org_id, created_at)
        SELECT %(provider)s, %(external)s, id, %(at)s FROM made
        """,
        {
            "id": org.id,
            "name": org.name,
            "slug": org.slug,
            "at": at,
            "provider": who.provider,
            "external": who.org_id,
        },
    )


async def put_membership(
    tx: Tx, membership_id: UUID, org_id: OrgId, user_id: UserId, *, role: str, at: datetime
) -> None:
    """Add an active membership; one that stands is left as it is."""
    await tx.execute(
        """
        INSERT INTO tenure.memberships (id, org_id, user_id, role, status, created_at, updated_at)
        VALUES (%(id)s, %(org)s, %(user)s, %(role)s, 'active', %(at)s, %(at)s)
        ON CONFLICT (org_id, user_id) DO NOTHING
        """,
        {"id": membership_id, "org": org_id, "user": user_id, "role": role, "at": at},
    )


async def get_user(tx: Tx, user_id: UserId) -> User | None:
    """Read one user."""
    cur = await tx.execute("SELECT id, email, name FROM tenure.users WHERE id = %s", (user_id,))
    row = await cur.fetchone()
    return User(**row) if row else None


async def get_organization(tx: Tx, org_id: OrgId) -> Organization | None:
    """Read one organization."""
    cur = await tx.execute(
        "SELECT id, name, slug FROM tenure.organizations WHERE id = %s", (org_id,)
    )
    row = await cur.fetchone()
    return Organization(**row) if row else None
