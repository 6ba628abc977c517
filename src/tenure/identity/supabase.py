"""Supabase Auth: its users stand in our own database, so no network is between us and the truth.

    SupabaseReader()               # it sends no events: a trigger on auth.users marks instead
    SupabaseDirectory(db, clock)   # reads auth.users, through what `tenure db supabase` puts up

It knows no organizations and no memberships, and there is nothing that it could be told to do.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NoReturn
from uuid import UUID

from psycopg import errors as pg
from psycopg.rows import DictRow

from tenure.base.clock import Clock
from tenure.base.db import DatabaseAway, Db, Tx
from tenure.identity.directory import Member, Page
from tenure.identity.errors import BadEvent, NotOffered, ProviderAway, UsersHidden
from tenure.identity.model import (
    Invitation,
    SeenMembership,
    SeenOrganization,
    SeenUser,
    Status,
    Told,
)
from tenure.journal.model import Knock

PROVIDER = "supabase"
PAGE = 500
FIRST, LAST = UUID(int=0), UUID(int=2**128 - 1)
LATER = timedelta(microseconds=1)
HIDDEN = (
    pg.InsufficientPrivilege,  # also where row-level security would leave rows out
    pg.InvalidSchemaName,
    pg.UndefinedFunction,
    pg.UndefinedTable,
    pg.UndefinedColumn,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What our row shows of a user."""

    email: str | None
    name: str | None
    blocked: bool
    version: datetime | None


class SupabaseReader:
    """Reads Supabase Auth's events, of which there are none."""

    provider = PROVIDER

    def knock_of(self, raw: bytes, *, event_id: str | None = None) -> Knock:
        """Refuse.

        Errors: BadEvent: a database webhook is unsigned, and lost without a word where it fails.
        """
        del raw, event_id
        raise BadEvent("Supabase Auth sends no signed events; a trigger on auth.users marks")

    def told(self, event_id: str, kind: str, body: bytes) -> Told | None:
        """Read nothing out of an event."""
        del event_id, kind, body
        return None


class SupabaseDirectory(SupabaseReader):
    """Asks auth.users, in the database that `db` leads to."""

    def __init__(self, db: Db, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def user(self, user_id: str) -> SeenUser | None:
        """Ask for a user; None where she is deleted, softly too, or has not said who she is.

        Errors: UsersHidden, ProviderAway.
        """
        wanted = _uuid(user_id)
        if wanted is None:
            return None
        found = await self._between(wanted, wanted, most=1)
        return found[0] if found else None

    async def users(self, place: str | None) -> Page[SeenUser]:
        """List users in the order of their ids, the one order that has an index.

        Whoever joins behind the place is met by no page, and has marked herself.
        Errors: UsersHidden, ProviderAway.
        """
        first = UUID(int=UUID(place).int + 1) if place else FIRST
        found = await self._between(first, LAST, most=PAGE)
        return Page(items=found, next=found[-1].id if len(found) == PAGE else None)

    async def organization(self, org_id: str) -> SeenOrganization | None:
        """Ask for an organization: there is none."""
        del org_id

    async def organizations(self, place: str | None) -> Page[SeenOrganization]:
        """List organizations: there are none."""
        del place
        return Page(items=(), next=None)

    async def membership(
        self, org_id: str, user_id: str, *, known: str | None
    ) -> SeenMembership | None:
        """Ask for a membership: there is none."""
        del org_id, user_id, known

    @property
    def lists_everywhere(self) -> bool:
        """Whether memberships can be listed together: all none of them."""
        return True

    async def memberships(self, org_id: str | None, place: str | None) -> Page[SeenMembership]:
        """List memberships: there are none."""
        del org_id, place
        return Page(items=(), next=None)

    async def set_status(self, member: Member, status: Status) -> None:
        """Refuse.

        Errors: NotOffered.
        """
        _refuse(member, status)

    async def set_role(self, member: Member, role: str) -> None:
        """Refuse.

        Errors: NotOffered.
        """
        _refuse(member, role)

    async def remove(self, member: Member) -> None:
        """Refuse.

        Errors: NotOffered.
        """
        _refuse(member)

    async def invite(
        self, org_id: str, *, email: str, role: str, inviter: str | None
    ) -> Invitation:
        """Refuse.

        Errors: NotOffered.
        """
        _refuse(org_id, email, role, inviter)

    async def invitations(self, org_id: str) -> Sequence[Invitation]:
        """List invitations: there are none."""
        del org_id
        return ()

    async def _between(self, first: UUID, last: UUID, *, most: int) -> list[SeenUser]:
        """Read users by their ids, both ends included, and hold them against our rows."""
        async with self._asking() as tx:
            cur = await tx.execute(
                "SELECT * FROM tenure_supabase.users_between(%s, %s, %s)", (first, last, most)
            )
            now = self._clock.now()
            found = [_seen(row, now) for row in await cur.fetchall()]
            known = await _known(tx, [user.id for user in found])
        return [_as_listed(user, known.get(user.id)) for user in found]

    @asynccontextmanager
    async def _asking(self) -> AsyncGenerator[Tx]:
        try:
            async with self._db.statement() as tx:
                yield tx
        except HIDDEN as exc:
            why = exc.diag.message_primary or type(exc).__name__
            wait = timedelta(minutes=5)  # somebody has to do something about it
            raise UsersHidden(f"auth.users cannot be read: {why}", retry_after=wait) from exc
        except DatabaseAway as exc:
            raise ProviderAway(str(exc)) from exc


async def holds_users(db: Db) -> bool:
    """Say whether this is the database of a Supabase project; where nobody answers, assume so."""
    try:
        async with db.statement() as tx:
            cur = await tx.execute(
                """
                SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = 'auth' AND c.relname = 'users'
                """
            )
            return await cur.fetchone() is not None
    except DatabaseAway:
        return True


async def _known(tx: Tx, external_ids: Sequence[str]) -> dict[str, _Known]:
    """Read what our rows show of some users."""
    cur = await tx.execute(
        """
        SELECT i.external_id, u.email, u.name, u.blocked_until IS NOT NULL AS blocked, i.version
          FROM tenure.identities i JOIN tenure.users u ON u.id = i.user_id
         WHERE i.provider = %s AND i.external_id = ANY (%s)
        """,
        (PROVIDER, list(external_ids)),
    )
    return {row.pop("external_id"): _Known(**row) for row in await cur.fetchall()}


def _seen(row: DictRow, now: datetime) -> SeenUser:
    """Read a row; a ban is no deletion, and ends by itself."""
    banned: datetime | None = row["banned_until"]
    return SeenUser(
        id=str(row["id"]),
        email=row["email"],
        name=row["name"],
        blocked=banned is not None and banned > now,
        version=row["updated_at"],
        created_at=row["created_at"],
    )


def _as_listed(user: SeenUser, known: _Known | None) -> SeenUser:
    """Let the version tell what `updated_at` does not: whether anything that we read is new.

    `updated_at` moves at every sign-in, stays where a ban ends, and a statement of somebody's own
    may leave it alone. What we read is the truth itself and never late, so a difference is newer.
    """
    if known is None or known.version is None or user.version is None:
        return user
    if (user.email, user.name, user.blocked) == (known.email, known.name, known.blocked):
        return replace(user, version=known.version)
    return replace(user, version=max(user.version, known.version + LATER))


def _uuid(text: str) -> UUID | None:
    """Read an id as auth.users writes it; None for any other spelling."""
    try:
        read = UUID(text)
    except ValueError:
        return None
    return read if str(read) == text else None


def _refuse(*wished: object) -> NoReturn:
    del wished
    raise NotOffered("Supabase Auth knows no organizations, so there is nothing to change in them")
