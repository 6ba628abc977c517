"""What our own side wants of a membership: written down at once, carried to the provider after."""

from dataclasses import dataclass, field, replace

from tenure.base.clock import Clock
from tenure.base.db import Db, Scope, Tx
from tenure.base.ids import Ids
from tenure.identity import members, roster
from tenure.identity.act import Act, Policy
from tenure.identity.errors import (
    LastAdmin,
    NoSuchMember,
    NotInThatState,
    NotOffered,
    OnlyOwners,
)
from tenure.identity.model import Membership, OrgId, Seats, Status, UserId
from tenure.identity.roster import Change
from tenure.identity.rules import ADMINS
from tenure.identity.seats import refuse_full

OWNER, POWERLESS = "owner", "member"
NO_INACTIVE = frozenset({"clerk"})  # providers without inactive members


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Changes members on behalf of somebody who may.

    What takes a right away holds at once, whatever the provider still says; what gives one takes
    its seat at once. The provider is told by a reconciler, and its answer settles the wish.
    """

    db: Db
    clock: Clock
    ids: Ids
    policy: Policy = field(default_factory=Policy)

    async def deactivate(self, scope: Scope, user_id: UserId, *, actor: str) -> Membership:
        """Take a member's access and seat away, and keep her role.

        Errors: NoSuchMember, NotInThatState, LastAdmin, OnlyOwners, NotOffered.
        """
        async with self.db.transaction() as tx:
            row, _ = await self._locked(tx, scope, user_id)
            _refuse_without_inactive(row)
            _refuse_to_others(scope, row)
            if row.status is Status.INACTIVE:
                return row
            if row.status is Status.PENDING:
                raise NotInThatState("an invitation is removed, not deactivated", status="pending")
            await self._keep_an_admin(tx, row)
            return await self._write(
                tx, row, replace(row, status=Status.INACTIVE, wish="inactive"), actor
            )

    async def reactivate(self, scope: Scope, user_id: UserId, *, actor: str) -> Membership:
        """Give a deactivated member her access back, if there is a seat.

        Errors: NoSuchMember, NotInThatState, NoFreeSeat, NotOffered.
        """
        async with self.db.transaction() as tx:
            row, seats = await self._locked(tx, scope, user_id)
            _refuse_without_inactive(row)
            if row.is_here:
                return row
            refuse_full(seats)
            return await self._write(
                tx, row, replace(row, status=Status.ACTIVE, wish="active"), actor
            )

    async def remove(self, scope: Scope, user_id: UserId, *, actor: str) -> Membership:
        """Take a member out of the organization.

        Errors: NoSuchMember, LastAdmin, OnlyOwners.
        """
        async with self.db.transaction() as tx:
            row, _ = await self._locked(tx, scope, user_id)
            if row.wish == "removed":
                return row
            _refuse_to_others(scope, row)
            await self._keep_an_admin(tx, row)
            return await self._write(
                tx, row, replace(row, status=Status.INACTIVE, wish="removed"), actor
            )

    async def set_role(self, scope: Scope, user_id: UserId, role: str, *, actor: str) -> Membership:
        """Give a member another role; it counts once the provider has it.

        Errors: NoSuchMember, LastAdmin, OnlyOwners.
        """
        async with self.db.transaction() as tx:
            row, _ = await self._locked(tx, scope, user_id)
            if role == (row.wish_role or row.role):
                return row
            _refuse_to_others(scope, row, role)
            takes = row.role in ADMINS and role not in ADMINS
            if takes:
                await self._keep_an_admin(tx, row)
            # What is taken is taken now; what is given counts when the provider gives it.
            after = replace(row, role=POWERLESS if takes else row.role, wish_role=role)
            return await self._write(tx, row, after, actor)

    async def _locked(self, tx: Tx, scope: Scope, user_id: UserId) -> tuple[Membership, Seats]:
        org_id = OrgId(scope.org_id) if scope.org_id else None
        if org_id is None:
            raise NoSuchMember("you act for yourself, without an organization")
        seats = await roster.lock_seats(tx, org_id)
        row = (await roster.list_of_pairs(tx, org_id, [user_id])).get(user_id)
        if row is None or row.removed_at is not None:
            raise NoSuchMember("the organization has no such member", user_id=str(user_id))
        return row, seats

    async def _keep_an_admin(self, tx: Tx, row: Membership) -> None:
        """Refuse to take the last admin away; whoever is only to become one does not count yet."""
        if row.status is not Status.ACTIVE or row.role not in ADMINS:
            return
        if await roster.count_admins(tx, row.org_id, roles=ADMINS) <= 1:
            raise LastAdmin("this is the organization's last admin")

    async def _write(self, tx: Tx, before: Membership, after: Membership, actor: str) -> Membership:
        now = self.clock.now()
        act = Act(
            tx=tx,
            ids=self.ids,
            provider=before.provider or "",
            now=now,
            cause="api",
            asked=False,
            policy=self.policy,
            actor=actor,
        )
        after = replace(after, wished_at=now, wished_by=actor, updated_at=now)
        change = Change(before=before, after=after, cause="api", reason="wished")
        written = await members.write(act, before.org_id, [change])
        return next(c.after for c in written if c.after.id == before.id)


def _refuse_to_others(scope: Scope, row: Membership, *roles: str) -> None:
    """Let nobody but an owner make, change or remove one."""
    if OWNER in {row.role, row.wish_role, *roles} and scope.role != OWNER:
        raise OnlyOwners("only an owner gives or takes that role")


def _refuse_without_inactive(row: Membership) -> None:
    if row.provider in NO_INACTIVE:
        raise NotOffered(f"{row.provider} has no inactive members", provider=row.provider)
