"""What the tests of members are made from: things as a provider shows them, and our write path."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

from psycopg.rows import DictRow

from tenure.base.clock import Clock, StoppedClock
from tenure.base.db import Db, Scope, Tx
from tenure.base.ids import CountedIds, Ids
from tenure.identity import members, people, roster, seats
from tenure.identity.act import Act, Policy
from tenure.identity.directory import pair_of
from tenure.identity.model import (
    Decision,
    Gone,
    Membership,
    OrgId,
    Seats,
    SeenMembership,
    SeenOrganization,
    SeenUser,
    Status,
    UserId,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DEACTIVATE = Policy(over_limit="deactivate")

WRONG_COUNTS: LiteralString = """
    SELECT s.org_id, s.used, s.seat_limit, count(m.id) AS held
      FROM tenure.seats s LEFT JOIN tenure.memberships m ON m.org_id = s.org_id AND m.holds_seat
     GROUP BY s.org_id HAVING s.used <> count(m.id) OR s.used > s.seat_limit
    """
UNTOLD: LiteralString = """
    SELECT m.id FROM tenure.memberships m
      LEFT JOIN LATERAL (SELECT * FROM tenure.membership_history h WHERE h.membership_id = m.id
                          ORDER BY h.id DESC LIMIT 1) h ON true
     WHERE (h.status_to, h.role_to, h.seat_to, h.generation) IS DISTINCT FROM
           (CASE WHEN m.removed_at IS NULL THEN m.status ELSE 'removed' END, m.role, m.holds_seat,
            m.generation)
    """


def at(seconds: float) -> datetime:
    """A moment by the provider's clock, counted from noon."""
    return NOON + timedelta(seconds=seconds)


def a_user(number: int = 1, **changes: Any) -> SeenUser:
    base: dict[str, Any] = {
        "id": f"user_{number}",
        "email": f"{number}@example.test",
        "name": f"Person {number}",
        "version": NOON,
    }
    return SeenUser(**base | changes)


def an_org(number: int = 1, **changes: Any) -> SeenOrganization:
    base: dict[str, Any] = {
        "id": f"org_{number}",
        "name": f"Org {number}",
        "slug": None,
        "version": NOON,
    }
    return SeenOrganization(**base | changes)


def a_membership(user: int = 1, org: int = 1, *, gen: int = 1, **changes: Any) -> SeenMembership:
    """Make what a provider shows; `gen` gives a later generation another id and a later birth."""
    base: dict[str, Any] = {
        "id": f"mem_{org}_{user}_{gen}",
        "org": an_org(org, version=None),
        "user": a_user(user, version=None),
        "role": "member",
        "status": Status.ACTIVE,
        "version": at(gen * 1000),
        "created_at": at(gen * 1000),
    }
    return SeenMembership(**base | changes)


def gone(user: int = 1, org: int = 1, *, gen: int = 1, at: datetime | None = None) -> Gone:
    """Make the end of a generation, by default well after its birth and before the next one."""
    when = at or NOON + timedelta(seconds=gen * 1000 + 900)
    return Gone(kind="membership", id=f"mem_{org}_{user}_{gen}", at=when)


@dataclass(kw_only=True)
class Told:
    """A line of history, without what every line has."""

    external_id: str | None
    generation: int
    status: tuple[str | None, str]
    role: tuple[str | None, str]
    seat: tuple[bool | None, bool]
    cause: str


@dataclass(kw_only=True)
class Registry:
    """The write path, as looks, events and walks use it; each call is a transaction of its own."""

    db: Db
    clock: Clock = field(default_factory=lambda: StoppedClock(NOON + timedelta(days=30)))
    ids: Ids = field(default_factory=CountedIds)
    provider: str = "clerk"
    policy: Policy = field(default_factory=Policy)
    asked: bool = True

    def act(self, tx: Tx, **changes: Any) -> Act:
        base: dict[str, Any] = {
            "provider": self.provider,
            "now": self.clock.now(),
            "cause": "look" if changes.get("asked", self.asked) else "event",
            "asked": self.asked,
            "policy": self.policy,
        }
        return Act(tx=tx, ids=self.ids, **base | changes)

    @asynccontextmanager
    async def acting(self, **changes: Any) -> AsyncGenerator[Act]:
        async with self.db.transaction() as tx:
            yield self.act(tx, **changes)

    async def put(self, *seen: SeenMembership, **changes: Any) -> list[str]:
        """Put memberships of one organization; say why each was written or not."""
        async with self.acting(**changes) as act:
            return [made.reason for _, made in await members.put(act, seen[0].org, seen)]

    async def drop(self, one: Gone, user: int = 1, org: int = 1, **changes: Any) -> Decision:
        async with self.acting(**{"asked": False, **changes}) as act:
            return await members.drop(act, pair_of(f"org_{org}", f"user_{user}"), one)

    async def miss(self, user: int = 1, org: int = 1, **changes: Any) -> Decision:
        """Tell that the provider, asked, has no such membership."""
        async with self.acting(**changes) as act:
            return await members.drop_missing(act, pair_of(f"org_{org}", f"user_{user}"))

    async def admit(self, user: int = 1, org: int = 1, *, role: str = "member") -> object:
        async with self.acting(asked=False, cause="token") as act:
            return await members.admit(
                act, an_org(org, version=None), a_user(user, version=None), role=role
            )

    async def put_user(self, seen: SeenUser, **changes: Any) -> str:
        async with self.acting(**changes) as act:
            return (await people.put_user(act, seen)).reason

    async def put_org(self, seen: SeenOrganization, **changes: Any) -> str:
        async with self.acting(**changes) as act:
            return (await people.put_organization(act, seen)).reason

    async def drop_user(
        self, user: int = 1, at: datetime | None = None, **changes: Any
    ) -> Decision:
        """Delete a user: by a signed event with `at`, by an answer without."""
        async with self.acting(**changes) as act:
            return await people.drop_user(act, f"user_{user}", act.grave(at))

    async def drop_org(self, org: int = 1, at: datetime | None = None, **changes: Any) -> Decision:
        async with self.acting(**changes) as act:
            return await people.drop_organization(act, f"org_{org}", act.grave(at))

    async def limit(self, limit: int | None, org: int = 1, *, bought: bool = False) -> Seats:
        """Set the limit; with `bought`, as a subscription would."""
        org_id = await self.org_id(org)
        assert org_id is not None
        async with self.acting(cause="seats") as act:
            before = await roster.lock_seats(act.tx, org_id)
            fixed, paid = (before.fixed, limit) if bought else (limit, before.bought)
            await seats.set_limits(act, before, fixed=fixed, bought=paid)
        return await self.seats(org)

    async def org_id(self, org: int = 1) -> OrgId | None:
        return (await self._pair(1, org))[0]

    async def user_id(self, user: int = 1) -> UserId | None:
        return (await self._pair(user, 1))[1]

    async def _pair(self, user: int, org: int) -> tuple[OrgId | None, UserId | None]:
        async with self.db.statement() as tx:
            return await roster.find_pair(tx, self.provider, pair_of(f"org_{org}", f"user_{user}"))

    async def scope(self, org: int = 1) -> Scope:
        return Scope(org_id=await self.org_id(org), user_id=None, role="admin")

    async def member(self, user: int = 1, org: int = 1) -> Membership | None:
        org_id, user_id = await self._pair(user, org)
        if org_id is None or user_id is None:
            return None
        async with self.db.statement() as tx:
            return await roster.get_pair(tx, org_id, user_id)

    async def stands(self, user: int = 1, org: int = 1) -> Membership:
        found = await self.member(user, org)
        assert found is not None
        assert found.removed_at is None, found
        return found

    async def seats(self, org: int = 1) -> Seats:
        org_id = await self.org_id(org)
        assert org_id is not None
        async with self.db.statement() as tx:
            found = await roster.get_seats(tx, org_id)
        assert found is not None
        return found

    async def holders(self, org: int = 1) -> set[str]:
        """Name the users who hold a seat."""
        held = await rows(
            self.db,
            """
            SELECT i.external_id FROM tenure.memberships m
              JOIN tenure.identities i ON i.user_id = m.user_id
             WHERE m.holds_seat AND m.org_id = %s
            """,
            await self.org_id(org),
        )
        return {row["external_id"] for row in held}

    async def history(self, user: int = 1, org: int = 1) -> list[Told]:
        member = await self.member(user, org)
        assert member is not None
        async with self.db.statement() as tx:
            lines = await roster.list_history(tx, membership_id=member.id)
        return [
            Told(
                external_id=line["external_id"],
                generation=line["generation"],
                status=(line["status_from"], line["status_to"]),
                role=(line["role_from"], line["role_to"]),
                seat=(line["seat_from"], line["seat_to"]),
                cause=line["cause"],
            )
            for line in lines
        ]

    async def actions(self) -> list[str]:
        """List what the audit log says was done with members."""
        lines = await rows(
            self.db,
            "SELECT action FROM tenure.audit_log WHERE action LIKE 'member.%%' ORDER BY at, seq",
        )
        return [line["action"] for line in lines]

    async def check(self) -> None:
        """Fail where a counter, a limit or the end of a history is not what the rows say."""
        assert await rows(self.db, WRONG_COUNTS) == []
        assert await rows(self.db, UNTOLD) == []


async def rows(db: Db, query: LiteralString, *params: object) -> list[DictRow]:
    async with db.statement() as tx:
        return await (await tx.execute(query, params)).fetchall()


async def topics(db: Db) -> Sequence[str]:
    """List the news, as it was told."""
    return [row["topic"] for row in await rows(db, "SELECT topic FROM tenure.news ORDER BY id")]
