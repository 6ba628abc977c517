"""How many seats an organization has, who holds them, and why."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from tenure.base.clock import Clock
from tenure.base.db import Db, Tx
from tenure.base.ids import Ids
from tenure.identity import members, roster
from tenure.identity.act import Act, Policy
from tenure.identity.errors import NoFreeSeat
from tenure.identity.model import Membership, OrgId, Seats
from tenure.identity.roster import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """Who holds a seat, who waits for one, and whether the count is right."""

    seats: Seats
    holders: tuple[Membership, ...]
    waiting: tuple[Membership, ...]  # here, beyond the limit

    @property
    def is_right(self) -> bool:
        """Whether the counter says what the rows say."""
        return self.seats.used == len(self.holders)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatDesk:
    """Sets limits and explains them."""

    db: Db
    clock: Clock
    ids: Ids
    policy: Policy = field(default_factory=Policy)

    async def fix(self, org_id: OrgId, limit: int | None, *, actor: str) -> Seats:
        """Set the limit by hand, or with None let what was bought decide again."""
        async with self.db.transaction() as tx:
            seats = await roster.lock_seats(tx, org_id)
            act = self._act(tx, actor)
            await set_limits(act, seats, fixed=limit, bought=seats.bought)
            await act.tell(
                act.entry("seats.limited", str(org_id), org_id=org_id, details={"limit": limit})
            )
            return await roster.lock_seats(tx, org_id)

    async def explain(self, org_id: OrgId) -> Explained | None:
        """Say who holds the seats; None where there is no such organization."""
        async with self.db.transaction() as tx:
            seats = await roster.get_seats(tx, org_id)
            here = await roster.list_here(tx, org_id)
        if seats is None:
            return None
        return Explained(
            seats=seats,
            holders=tuple(m for m in here if m.holds_seat),
            waiting=tuple(m for m in here if not m.holds_seat),
        )

    def _act(self, tx: Tx, actor: str) -> Act:
        return Act(
            tx=tx,
            ids=self.ids,
            provider="tenure",
            now=self.clock.now(),
            cause="seats",
            asked=False,
            policy=self.policy,
            actor=actor,
        )


async def set_limits(act: Act, seats: Seats, *, fixed: int | None, bought: int | None) -> None:
    """Write new limits: who came first keeps or gets a seat; only under `lock_seats`.

    Members who lose theirs stay, beyond the limit, as those do whom a provider adds.
    """
    limit = fixed if fixed is not None else bought
    here = await roster.list_here(act.tx, seats.org_id)
    by_right = sorted(here, key=_first)
    seated = {m.id for m in (by_right if limit is None else by_right[:limit])}
    changes = [
        Change(
            before=m,
            after=replace(m, holds_seat=m.id in seated, updated_at=act.now),
            cause="seats",
            reason="limit_changed",
        )
        for m in here
        if m.holds_seat != (m.id in seated)
    ]
    await roster.put_limits(act.tx, seats.org_id, fixed=fixed, bought=bought, used=len(seated))
    await members.write_as_seated(act, seats.org_id, changes)


def refuse_full(seats: Seats, *, invited: int = 0) -> None:
    """Refuse where nobody can join any more.

    Errors: NoFreeSeat, with the figures.
    """
    if seats.free is not None and seats.free - invited <= 0:
        raise NoFreeSeat(
            f"{seats.used} of {seats.seat_limit} seats are taken"
            + (f" and {invited} invitations are open" if invited else ""),
            used=seats.used,
            limit=seats.seat_limit,
            invited=invited,
        )


def _first(member: Membership) -> tuple[bool, datetime, str]:
    """Order by right: who holds a seat, then who came first."""
    return not member.holds_seat, member.joined_at or member.created_at, str(member.id)
