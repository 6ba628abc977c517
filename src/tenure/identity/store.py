"""SQL of users, organizations and identities."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tenure.base.db import Tx
from tenure.identity.claims import Principal
from tenure.identity.model import Organization, OrgId, SeenOrganization, SeenUser, User, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What our tables know of whom a token speaks for."""

    user_id: UserId | None
    org_id: OrgId | None
    role: str | None  # of the membership, while it is active
    member: bool  # there is a membership row, whatever its status
    buried: bool = False  # the user, the organization or the pair was deleted at the provider


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownUser:
    """Our row behind a provider's user."""

    id: UserId
    email: str | None
    name: str | None
    blocked: bool
    version: datetime | None
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownOrganization:
    """Our row behind a provider's organization."""

    id: OrgId
    name: str
    slug: str | None
    version: datetime | None
    deleted_at: datetime | None


async def get_known(tx: Tx, who: Principal) -> Known:
    """Find the user, the organization and the membership that a token names."""
    cur = await tx.execute(
        """
        SELECT u.user_id, o.org_id, m.id IS NOT NULL AS member,
               CASE WHEN m.status = 'active' THEN m.role END AS role,
               EXISTS (SELECT FROM tenure.tombstones t
                        WHERE t.provider = %(provider)s
                          AND (t.kind, t.external_id) IN (('user', %(user)s), ('org', %(org)s),
                                                          ('pair', %(pair)s))) AS buried
          FROM (SELECT 1) AS one
          LEFT JOIN tenure.identities u ON u.provider = %(provider)s AND u.external_id = %(user)s
          LEFT JOIN tenure.identities o ON o.provider = %(provider)s AND o.external_id = %(org)s
          LEFT JOIN tenure.memberships m ON m.user_id = u.user_id AND m.org_id = o.org_id
        """,
        {
            "provider": who.provider,
            "user": who.user_id,
            "org": who.org_id,
            "pair": f"{who.org_id}/{who.user_id}",
        },
    )
    row = await cur.fetchone()
    return Known(**row) if row else Known(user_id=None, org_id=None, role=None, member=False)


async def lock_names(tx: Tx, provider: str, names: Sequence[str]) -> None:
    """Let one transaction at a time make the rows behind a provider's names."""
    await tx.execute(
        """
        SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest(%s::text[]) AS t (name)
        """,
        (sorted({f"{provider}:{name}" for name in names}),),  # everybody in one order
    )


async def list_named(tx: Tx, provider: str, names: Sequence[str]) -> set[str]:
    """Say which of a provider's names have a row with us, deleted or not."""
    cur = await tx.execute(
        """
        SELECT external_id FROM tenure.identities WHERE provider = %s AND external_id = ANY (%s)
        """,
        (provider, list(names)),
    )
    return {row["external_id"] for row in await cur.fetchall()}


async def list_users(tx: Tx, provider: str, external_ids: Sequence[str]) -> dict[str, KnownUser]:
    """Find users by a provider's ids; nobody deletes them until we commit."""
    cur = await tx.execute(
        """
        SELECT i.external_id, u.id, u.email, u.name, i.version, u.deleted_at,
               u.blocked_until IS NOT NULL AS blocked
          FROM tenure.identities i JOIN tenure.users u ON u.id = i.user_id
         WHERE i.provider = %s AND i.external_id = ANY (%s) ORDER BY u.id FOR SHARE OF u
        """,
        (provider, list(external_ids)),
    )
    return {row.pop("external_id"): KnownUser(**row) for row in await cur.fetchall()}


async def list_organizations(
    tx: Tx, provider: str, external_ids: Sequence[str]
) -> dict[str, KnownOrganization]:
    """Find organizations by a provider's ids; nobody deletes them until we commit."""
    cur = await tx.execute(
        """
        SELECT i.external_id, o.id, o.name, o.slug, i.version, o.deleted_at
          FROM tenure.identities i JOIN tenure.organizations o ON o.id = i.org_id
         WHERE i.provider = %s AND i.external_id = ANY (%s) ORDER BY o.id FOR SHARE OF o
        """,
        (provider, list(external_ids)),
    )
    return {row.pop("external_id"): KnownOrganization(**row) for row in await cur.fetchall()}


async def knows_any(tx: Tx, provider: str, external_ids: Sequence[str]) -> bool:
    """Say whether we know any of these users, deleted ones too."""
    cur = await tx.execute(
        """
        SELECT EXISTS (SELECT FROM tenure.identities
                        WHERE provider = %s AND external_id = ANY (%s)) AS known
        """,
        (provider, list(external_ids)),
    )
    row = await cur.fetchone()
    return bool(row and row["known"])


async def is_only_named(tx: Tx, provider: str, external_id: str) -> bool:
    """Say whether we have a row for somebody whom the provider itself has never shown us."""
    cur = await tx.execute(
        """
        SELECT EXISTS (SELECT FROM tenure.identities
                        WHERE provider = %s AND external_id = %s AND version IS NULL) AS named
        """,
        (provider, external_id),
    )
    row = await cur.fetchone()
    return bool(row and row["named"])


async def count_living(tx: Tx, provider: str, *, most: int) -> int:
    """Count a provider's users who are not deleted, but no further than `most`."""
    cur = await tx.execute(
        """
        SELECT count(*) AS n FROM (
            SELECT FROM tenure.identities i JOIN tenure.users u ON u.id = i.user_id
             WHERE i.provider = %s AND u.deleted_at IS NULL LIMIT %s) AS living
        """,
        (provider, most),
    )
    row = await cur.fetchone()
    return row["n"] if row else 0


async def put_users(
    tx: Tx, provider: str, made: Sequence[tuple[UserId, SeenUser]], *, at: datetime
) -> None:
    """Add users under the provider's names for them."""
    async with tx.cursor() as cur:
        await cur.executemany(
            """
            WITH made AS (
                INSERT INTO tenure.users (id, email, name, blocked_until, created_at, updated_at)
                VALUES (%(id)s, %(email)s, %(name)s,
                        CASE WHEN %(blocked)s THEN 'infinity'::timestamptz END, %(at)s, %(at)s)
                RETURNING id)
            INSERT INTO tenure.identities
                   (provider, external_id, user_id, version, seen_at, created_at)
            SELECT %(provider)s, %(external)s, id, %(version)s, %(at)s, %(at)s FROM made
            """,
            [
                {
                    "id": user_id,
                    "email": seen.email,
                    "name": seen.name,
                    "blocked": seen.blocked,
                    "version": seen.version,
                    "provider": provider,
                    "external": seen.id,
                    "at": at,
                }
                for user_id, seen in made
            ],
        )


async def change_user(
    tx: Tx, provider: str, user_id: UserId, seen: SeenUser, *, at: datetime
) -> None:
    """Make a user's row follow the provider."""
    await tx.execute(
        """
        WITH moved AS (
            UPDATE tenure.identities SET version = %(version)s, seen_at = %(at)s
             WHERE provider = %(provider)s AND external_id = %(external)s)
        UPDATE tenure.users
           SET email = %(email)s, name = %(name)s, deleted_at = NULL, updated_at = %(at)s,
               blocked_until = CASE WHEN %(blocked)s THEN 'infinity'::timestamptz END
         WHERE id = %(id)s
        """,
        {
            "id": user_id,
            "email": seen.email,
            "name": seen.name,
            "blocked": seen.blocked,
            "version": seen.version,
            "provider": provider,
            "external": seen.id,
            "at": at,
        },
    )


async def put_organization(
    tx: Tx, provider: str, org_id: OrgId, seen: SeenOrganization, *, at: datetime
) -> None:
    """Add an organization under the provider's name for it."""
    await tx.execute(
        """
        WITH made AS (
            INSERT INTO tenure.organizations (id, name, slug, created_at, updated_at)
            VALUES (%(id)s, %(name)s, %(slug)s, %(at)s, %(at)s) RETURNING id)
        INSERT INTO tenure.identities (provider, external_id, org_id, version, seen_at, created_at)
        SELECT %(provider)s, %(external)s, id, %(version)s, %(at)s, %(at)s FROM made
        """,
        {
            "id": org_id,
            "name": seen.name,
            "slug": seen.slug,
            "version": seen.version,
            "provider": provider,
            "external": seen.id,
            "at": at,
        },
    )


async def change_organization(
    tx: Tx, provider: str, org_id: OrgId, seen: SeenOrganization, *, at: datetime
) -> None:
    """Make an organization's row follow the provider."""
    await tx.execute(
        """
        WITH moved AS (
            UPDATE tenure.identities SET version = %(version)s, seen_at = %(at)s
             WHERE provider = %(provider)s AND external_id = %(external)s)
        UPDATE tenure.organizations
           SET name = %(name)s, slug = %(slug)s, deleted_at = NULL, updated_at = %(at)s
         WHERE id = %(id)s
        """,
        {
            "id": org_id,
            "name": seen.name,
            "slug": seen.slug,
            "version": seen.version,
            "provider": provider,
            "external": seen.id,
            "at": at,
        },
    )


async def is_known_elsewhere(tx: Tx, user_id: UserId, *, provider: str) -> bool:
    """Say whether another provider still has a user."""
    cur = await tx.execute(
        """
        SELECT EXISTS (
            SELECT FROM tenure.identities i
             WHERE i.user_id = %(user)s AND i.provider <> %(provider)s
               AND NOT EXISTS (SELECT FROM tenure.tombstones t
                                WHERE t.provider = i.provider AND t.kind = 'user'
                                  AND t.external_id = i.external_id)) AS known
        """,
        {"user": user_id, "provider": provider},
    )
    row = await cur.fetchone()
    return bool(row and row["known"])


async def end_user(tx: Tx, user_id: UserId, *, at: datetime, forget: bool) -> None:
    """Say that a user is deleted; with `forget`, take away what names her."""
    await tx.execute(
        """
        UPDATE tenure.users
           SET deleted_at = %(at)s, valid_after = %(at)s, updated_at = %(at)s,
               email = CASE WHEN NOT %(forget)s THEN email END,
               name  = CASE WHEN NOT %(forget)s THEN name END
         WHERE id = %(id)s
        """,
        {"id": user_id, "at": at, "forget": forget},
    )


async def end_organization(tx: Tx, org_id: OrgId, *, at: datetime) -> None:
    """Say that an organization is deleted."""
    await tx.execute(
        "UPDATE tenure.organizations SET deleted_at = %s, updated_at = %s WHERE id = %s",
        (at, at, org_id),
    )


async def lock_user(tx: Tx, provider: str, external_id: str) -> KnownUser | None:
    """Find a user in order to delete her: nobody adds her to anything until we commit.

    Her key is not locked: whoever has the seats that we wait for may name her in a history.
    """
    cur = await tx.execute(
        """
        SELECT u.id, u.email, u.name, i.version, u.deleted_at,
               u.blocked_until IS NOT NULL AS blocked
          FROM tenure.identities i JOIN tenure.users u ON u.id = i.user_id
         WHERE i.provider = %s AND i.external_id = %s FOR NO KEY UPDATE OF u
        """,
        (provider, external_id),
    )
    row = await cur.fetchone()
    return KnownUser(**row) if row else None


async def lock_organization(tx: Tx, provider: str, external_id: str) -> KnownOrganization | None:
    """Find an organization in order to delete it: nobody joins it until we commit."""
    cur = await tx.execute(
        """
        SELECT o.id, o.name, o.slug, i.version, o.deleted_at
          FROM tenure.identities i JOIN tenure.organizations o ON o.id = i.org_id
         WHERE i.provider = %s AND i.external_id = %s FOR NO KEY UPDATE OF o
        """,
        (provider, external_id),
    )
    row = await cur.fetchone()
    return KnownOrganization(**row) if row else None


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


async def external_ids(
    tx: Tx, provider: str, *, org_id: OrgId, user_id: UserId
) -> tuple[str | None, str | None]:
    """Say how a provider calls an organization and a user."""
    cur = await tx.execute(
        """
        SELECT (SELECT external_id FROM tenure.identities
                 WHERE provider = %(provider)s AND org_id = %(org)s LIMIT 1) AS org,
               (SELECT external_id FROM tenure.identities
                 WHERE provider = %(provider)s AND user_id = %(user)s LIMIT 1) AS person
        """,
        {"provider": provider, "org": org_id, "user": user_id},
    )
    row = await cur.fetchone()
    return (row["org"], row["person"]) if row else (None, None)
