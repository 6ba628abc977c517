"""Decisions about what a provider shows us: whether it is news, or old, or over."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from tenure.identity.model import Membership, SeenMembership, Status

STALE = timedelta(minutes=1)  # for so long a provider's answer may lag behind its own deletions


ADMINS = ("admin", "owner")
SEAT_LIMIT = "tenure:seat_limit"  # who wished that somebody be shut out
SHORTEST, LONGEST = timedelta(seconds=1), timedelta(minutes=5)  # until a strange answer is checked


class Fate(StrEnum):
    """What becomes of something a provider shows us, and at the same time why."""

    JOINED = "joined"
    REJOINED = "rejoined"  # under a new id: a new generation
    FOUND_AGAIN = "found_again"  # under its old id: we had been told too early that it was gone
    CONFIRMED = "confirmed"  # a token had told of it, now the provider does
    CHANGED = "changed"
    SAME = "unchanged"
    BURIED = "deleted_for_good"
    OLDER = "older_than_known"
    TIED = "as_old_as_known"  # told of the same moment, and less likely than what we have
    OLD_GENERATION = "older_generation"
    BEFORE_REMOVAL = "older_than_removal"

    @property
    def writes(self) -> bool:
        """Whether our row follows."""
        return self in _WRITES

    @property
    def contradicts(self) -> bool:
        """Whether the provider, asked just now, cannot mean it: ask again a little later."""
        return self in {Fate.BURIED, Fate.OLDER, Fate.OLD_GENERATION}


_WRITES = frozenset({Fate.JOINED, Fate.REJOINED, Fate.FOUND_AGAIN, Fate.CONFIRMED, Fate.CHANGED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Grave:
    """A tombstone: what was deleted, when, and how we know."""

    deleted_at: datetime  # the provider's clock; ours where proof is "asked"
    proof: Literal["event", "asked"]
    written_at: datetime

    def holds(self, *, asked: bool, now: datetime) -> bool:
        """Say whether nothing may come out of it any more.

        A signed event is final. An absence that we found by asking may have been the lag of a list:
        it yields to an answer that comes when every lag is over.
        """
        return self.proof == "event" or not asked or now - self.written_at < STALE


def judge_membership(
    row: Membership | None,
    seen: SeenMembership,
    *,
    provider: str,
    asked: bool,
    pair: Grave | None = None,
) -> Fate:
    """Say what becomes of a membership that is not buried under its own id.

    `asked`: the provider answered just now; otherwise an event of any age told us.
    `pair`:  when this person last ceased to be a member of this organization.
    """
    before_removal = not asked and pair is not None and seen.version < pair.deleted_at
    if row is None:
        return Fate.BEFORE_REMOVAL if before_removal else Fate.JOINED
    if (row.provider, row.external_id) == (provider, seen.id):
        return _judge_same(row, seen, asked=asked)
    if row.joined_at is not None and seen.created_at < row.joined_at:
        return Fate.OLD_GENERATION
    if row.removed_at is not None and before_removal:
        return Fate.BEFORE_REMOVAL
    is_first = row.external_id is None and row.removed_at is None
    return Fate.CONFIRMED if is_first else Fate.REJOINED


def _judge_same(row: Membership, seen: SeenMembership, *, asked: bool) -> Fate:
    if row.removed_at is not None:
        return Fate.FOUND_AGAIN
    if row.version is not None and seen.version < row.version:
        return Fate.OLDER
    if not asked and row.version == seen.version and _power(row) < _power(seen):
        return Fate.TIED
    is_same = (row.role, row.status, row.version) == (seen.role, seen.status, seen.version)
    return Fate.SAME if is_same and not _is_fulfilled(row, seen) else Fate.CHANGED


def _power(member: Membership | SeenMembership) -> tuple[bool, bool, str, str]:
    """Order what is told of one moment, whatever order it comes in: who may do less comes first."""
    is_active = member.status is Status.ACTIVE
    return is_active, member.role in ADMINS, member.role, member.status


def _is_fulfilled(row: Membership, seen: SeenMembership) -> bool:
    return (row.wish is not None and row.wish == seen.status) or (
        row.wish_role is not None and row.wish_role == seen.role
    )


def followed(
    row: Membership, seen: SeenMembership, fate: Fate, *, provider: str, now: datetime
) -> Membership:
    """Make our row follow what was seen; the seat is another matter.

    A wish of ours that the provider has not carried out yet stands: whoever was deactivated here
    is not let in again because the provider still shows her active, and the other way round.
    """
    again = fate in {Fate.REJOINED, Fate.FOUND_AGAIN}
    wish = None if again or row.wish == seen.status else row.wish
    role_wish = None if again or row.wish_role == seen.role else row.wish_role
    return replace(
        row,
        provider=provider,
        external_id=seen.id,
        generation=row.generation + (fate is Fate.REJOINED),
        role=row.role if role_wish else seen.role,
        status=row.status if wish else seen.status,
        version=seen.version,
        joined_at=seen.created_at,
        removed_at=None,
        wish=wish,
        wish_role=role_wish,
        wished_at=row.wished_at if wish or role_wish else None,
        wished_by=row.wished_by if wish or role_wish or _is_refused(row) else None,
        updated_at=now,
    )


def _is_refused(row: Membership) -> bool:
    """Say whether the provider has refused to shut out who is beyond the limit: it stays known."""
    return row.wish is None and row.wished_by == SEAT_LIMIT and not row.holds_seat


def removed(row: Membership, *, now: datetime) -> Membership:
    """Make our row say that the person is no member any more."""
    return replace(
        row,
        status=Status.INACTIVE,
        holds_seat=False,
        removed_at=now,
        wish=None,
        wish_role=None,
        wished_at=None,
        wished_by=None,
        updated_at=now,
    )


def judge_person(
    known: datetime | None,
    version: datetime | None,
    *,
    is_known: bool,
    stays: bool = False,
) -> Fate:
    """Say what becomes of a user or an organization that is not buried.

    `known`, `version`: the provider's updated_at of our row and of what was seen; None where only
    its name was ever seen, which tells nothing new of somebody we know.
    `stays`: of two events of one moment, our row shows the one that must win in every order.
    """
    if not is_known:
        return Fate.JOINED
    if version is None:
        return Fate.SAME
    if known is not None and version < known:
        return Fate.OLDER
    return Fate.TIED if stays and version == known else Fate.CHANGED


def asks_again(wait: timedelta) -> timedelta:
    """Say when to ask again after an answer that cannot be meant: in seconds, later in minutes."""
    return min(LONGEST, max(SHORTEST, wait))
