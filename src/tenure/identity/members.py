"""The one write path of memberships.

Whatever tells of one (a look, an event, a walk, a token, our own API) ends here: it is judged,
given a seat or not, written with its history, and told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tenure.identity import graves, roster, rules, store, telling
from tenure.identity.act import Act, Cause, decided
from tenure.identity.directory import pair_of, split_pair
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
    Wish,
)
from tenure.identity.named import Page, Pair, locked_page, named
from tenure.identity.roster import Change
from tenure.identity.rules import Fate
from tenure.journal.model import Subject

MEANWHILE = "joined_meanwhile"
Generation = tuple[int, str | None]  # its number and its provider's id


async def put(
    act: Act, org: SeenOrganization, seen: Sequence[SeenMembership]
) -> list[tuple[Subject, Decision]]:
    """Make our rows follow memberships of one organization, as `put_all` does."""
    return await put_all(act, [replace(one, org=org) for one in seen])


async def put_all(act: Act, seen: Sequence[SeenMembership]) -> list[tuple[Subject, Decision]]:
    """Make our rows follow memberships of any number of organizations, each judged for itself.

    Promise: who is deleted, or was removed later than what is shown, stays so; `seats.used` never
             passes the limit: who comes beyond it is kept, without a seat. Every lock is taken
             before anything is written, always in the same order; news comes last.
    """
    page = await locked_page(act, seen)
    told: list[tuple[Subject, Decision]] = []
    changes: dict[Pair, Change] = {}  # a page may show somebody twice
    for one in seen:
        found, change = _judged(act, page, one)
        told.append((_subject(act, one), found))
        if change is not None:
            pair = change.after.org_id, change.after.user_id
            earlier = changes.get(pair)
            changes[pair] = replace(change, before=earlier.before) if earlier else change
            page.rows[pair] = change.after
    await _lift(act, page, list(changes.values()), seen)
    await _write_all(act, page.seats, list(changes.values()))
    return told


def _judged(act: Act, page: Page, one: SeenMembership) -> tuple[Decision, Change | None]:
    org, user = page.orgs.get(one.org.id), page.users.get(one.user.id)
    if org is None:
        return decided("org_deleted", verdict="ignored"), None
    if user is None:
        return decided("user_deleted", verdict="ignored"), None
    row = page.rows.get((org.id, user.id))
    grave, pair = page.buried.get(one.id), page.pairs.get(pair_of(one.org.id, one.user.id))
    if grave is not None and grave.holds(asked=act.asked, now=act.now):
        fate = Fate.BURIED
    else:
        fate = rules.judge_membership(row, one, provider=act.provider, asked=act.asked, pair=pair)
    details = {"id": one.id, "status": one.status.value, "role": one.role}
    found = decided(fate, org_id=org.id, user_id=user.id, details=details)
    if not fate.writes:
        return found, None
    base = row or _new(act, org.id, user.id, one)
    after = rules.followed(base, one, fate, provider=act.provider, now=act.now)
    return found, Change(
        before=row, after=after, cause=act.cause, reason=fate.value, provider_at=one.version
    )


async def _lift(
    act: Act, page: Page, changes: Sequence[Change], seen: Sequence[SeenMembership]
) -> None:
    """Take away the tombstones of those who are members again."""
    written = {change.after.external_id for change in changes if change.after.removed_at is None}
    again = [m for m in seen if m.id in written]
    if page.buried:
        await graves.lift(act.tx, act.provider, "membership", [m.id for m in again])
    if page.pairs:
        pairs = [pair_of(m.org.id, m.user.id) for m in again]
        await graves.lift_pairs(act.tx, act.provider, pairs)


async def admit(
    act: Act, org: SeenOrganization, user: SeenUser, *, role: str
) -> tuple[OrgId, UserId] | None:
    """Let somebody in of whom only a token tells; None where she, or the organization, is deleted.

    Promise: a membership that stands, or was removed, is left exactly as it is.
    """
    known, users = await named(act, org, [user])
    if known is None or user.id not in users:
        return None
    user_id = users[user.id].id
    act = replace(act, actor=f"user:{user_id}")  # she comes by herself
    await roster.lock_seats(act.tx, known.id)
    rows = await roster.list_of_pairs(act.tx, known.id, [user_id])
    pair = pair_of(org.id, user.id)
    left = await graves.get_graves(act.tx, act.provider, "pair", [pair])
    if user_id in rows or pair in left:
        return known.id, user_id
    new = Membership(
        id=act.ids.uuid(),
        org_id=known.id,
        user_id=user_id,
        role=role,
        status=Status.ACTIVE,
        holds_seat=False,
        provider=act.provider,
        created_at=act.now,
        updated_at=act.now,
    )
    await write(
        act, known.id, [Change(before=None, after=new, cause=act.cause, reason=Fate.JOINED)]
    )
    return known.id, user_id


async def drop(act: Act, pair: str, gone: Gone) -> Decision:
    """Bury a membership that a signed event says is deleted; another generation is not touched."""
    grave = act.grave(gone.at)
    org_id, row = await _locked_pair(act, pair)
    await graves.bury(act.tx, act.provider, "membership", gone.id, grave)
    stands = row is not None and row.removed_at is None
    if row is not None and stands and not _may_be(act, row, gone):
        return decided("other_generation", verdict="ignored", org_id=org_id, user_id=row.user_id)
    await graves.bury(act.tx, act.provider, "pair", pair, grave)
    if row is None:
        return decided("deleted_before_seen", verdict="applied")
    if not stands:
        return decided(Fate.SAME, org_id=org_id, user_id=row.user_id)
    await end(act, [row], cause=act.cause, at=gone.at)
    return decided("deleted", verdict="applied", org_id=org_id, user_id=row.user_id)


def _may_be(act: Act, row: Membership, gone: Gone) -> bool:
    """Say whether a row is what was deleted; one that only a token told of may be any."""
    return row.external_id is None or (row.provider, row.external_id) == (act.provider, gone.id)


async def drop_missing(act: Act, pair: str, *, known: Generation | None = None) -> Decision:
    """Bury the membership of a pair for which the provider, asked in two ways, has none.

    `known`: what stood here before the provider was asked. It said nothing of who joined meanwhile.
    """
    org_id, row = await _locked_pair(act, pair)
    if row is None or row.removed_at is not None or org_id is None:
        return decided(Fate.SAME, org_id=org_id, user_id=row.user_id if row else None)
    if known is not None and known != generation_of(row):
        return decided(MEANWHILE, verdict="ignored", org_id=org_id, user_id=row.user_id)
    if row.provider not in (None, act.provider):
        return decided("of_another_provider", verdict="ignored", org_id=org_id, user_id=row.user_id)
    grave = act.grave()
    await graves.bury(act.tx, act.provider, "pair", pair, grave)
    if row.external_id is not None:
        await graves.bury(act.tx, act.provider, "membership", row.external_id, grave)
    await end(act, [row], cause=act.cause, at=None)
    why = "removed_as_wished" if row.wish == "removed" else "missing_at_provider"
    return decided(why, verdict="applied", org_id=org_id, user_id=row.user_id)


def generation_of(row: Membership | None) -> Generation:
    """Say which generation of a membership stands; the one before the first for none."""
    return (row.generation, row.external_id) if row else (0, None)


async def _locked_pair(act: Act, pair: str) -> tuple[OrgId | None, Membership | None]:
    """Find a pair's membership, under every lock that `put` may need after the news of its end."""
    org, user = split_pair(pair)
    org_id, user_id = await roster.find_pair(act.tx, act.provider, pair)
    if org_id is None or user_id is None:  # whoever makes them just now may add the membership
        await store.lock_names(act.tx, act.provider, [org, user])
        org_id, user_id = await roster.find_pair(act.tx, act.provider, pair)
    if org_id is None or user_id is None:
        return org_id, None
    await store.list_organizations(act.tx, act.provider, [org])
    await store.list_users(act.tx, act.provider, [user])
    await roster.lock_seats(act.tx, org_id)
    return org_id, (await roster.list_of_pairs(act.tx, org_id, [user_id])).get(user_id)


async def end(
    act: Act, standing: Sequence[Membership], *, cause: Cause, at: datetime | None
) -> None:
    """End memberships, of any number of organizations.

    Promise: every lock is taken before anything is written, always in the same order; news comes
             last, so that nobody who waits to tell something holds what we still need.
    """
    orgs = sorted({m.org_id for m in standing})
    for org_id in orgs:
        await roster.lock_seats(act.tx, org_id)
    ended = {
        org_id: await _seat(act, org_id, await _ends(act, org_id, standing, cause=cause, at=at))
        for org_id in orgs
    }
    for seated in ended.values():
        await _put(act, seated)
    for org_id, seated in ended.items():
        await telling.tell(act, org_id, seated)


async def _ends(
    act: Act, org_id: OrgId, standing: Sequence[Membership], *, cause: Cause, at: datetime | None
) -> list[Change]:
    users = [m.user_id for m in standing if m.org_id == org_id]
    rows = await roster.list_of_pairs(act.tx, org_id, users)
    return [
        Change(
            before=row,
            after=rules.removed(row, now=act.now),
            cause=cause,
            reason="left",
            provider_at=at,
        )
        for row in rows.values()
        if row.removed_at is None
    ]


async def write(act: Act, org_id: OrgId, changes: Sequence[Change]) -> list[Change]:
    """Give and take seats, then write everything and tell of it; only under `lock_seats`."""
    seated = await _seat(act, org_id, changes)
    await write_as_seated(act, org_id, seated)
    return seated


async def write_as_seated(act: Act, org_id: OrgId, seated: Sequence[Change]) -> None:
    """Write changes whose seats are settled, and tell of them; only under `lock_seats`."""
    await _put(act, seated)
    await telling.tell(act, org_id, seated)


async def _write_all(act: Act, seats: Mapping[OrgId, Seats], changes: Sequence[Change]) -> None:
    """Write changes in any number of organizations; only with a locked page."""
    of_org: dict[OrgId, list[Change]] = {}
    for change in changes:
        of_org.setdefault(change.after.org_id, []).append(change)
    async with act.tx.pipeline():  # most of these statements have no answer to wait for
        seated = {
            org_id: await _seat(act, org_id, of_org[org_id], seats[org_id])
            for org_id in sorted(of_org)
        }
        await _put(act, [change for some in seated.values() for change in some])
        for org_id, some in seated.items():
            await telling.tell(act, org_id, some)


async def _put(act: Act, seated: Sequence[Change]) -> None:
    await roster.put_changes(act.tx, seated, at=act.now)
    await act.tell(*telling.entries_of(act, seated))


async def _seat(
    act: Act, org_id: OrgId, changes: Sequence[Change], seats: Seats | None = None
) -> list[Change]:
    """Seats first go to those who wait, in the order in which they came, then to the newcomers."""
    if not changes:
        return []
    seats = seats or await roster.lock_seats(act.tx, org_id)
    count = _Count(limit=seats.seat_limit, used=seats.used)
    for change in changes:
        held = change.before is not None and change.before.holds_seat
        count.used -= held and not change.after.is_here
    touched = {change.after.id for change in changes}
    ahead: list[Change] = []
    if count.is_free and seats.seat_limit is not None:
        waiting = await roster.list_waiting(act.tx, org_id, limit=count.free + len(touched))
        ahead = [_promoted(act, m) for m in waiting if m.id not in touched]
    seated: list[Change] = []
    for change in sorted([*ahead, *changes], key=_turn):
        if change.after.id in touched:
            seated.append(_seated(act, change, count))
        elif count.take():
            seated.append(change)
    if count.used != seats.used or len(seated) > len(changes):
        await roster.put_used(act.tx, org_id, count.used)
    return seated


@dataclass(slots=True, kw_only=True)
class _Count:
    limit: int | None
    used: int

    @property
    def is_free(self) -> bool:
        return self.limit is None or self.used < self.limit

    @property
    def free(self) -> int:
        return max(0, (self.limit or 0) - self.used)

    def take(self) -> bool:
        if not self.is_free:
            return False
        self.used += 1
        return True


def _seated(act: Act, change: Change, count: _Count) -> Change:
    after = change.after
    held = change.before is not None and change.before.holds_seat
    holds = after.is_here and (held or count.take())
    after = replace(after, holds_seat=holds)
    if holds and after.wish is None and after.wished_by == rules.SEAT_LIMIT:
        after = replace(after, wished_by=None)
    over = after.is_here and not holds and act.policy.over_limit == "deactivate"
    shut = over and not _was_refused(change.before)
    return replace(change, after=_shut_out(act, after) if shut else after)


def _was_refused(before: Membership | None) -> bool:
    """Say whether the provider has just refused to shut her out: she is kept, beyond the limit."""
    return before is not None and before.wish is None and before.wished_by == rules.SEAT_LIMIT


def _shut_out(act: Act, member: Membership) -> Membership:
    """Shut out whom the provider let in beyond the limit: here at once, there as soon as can be."""
    wish: Wish = shutting(act.provider, member.status)
    return replace(
        member,
        status=Status.INACTIVE,
        wish=wish,
        wished_at=act.now,
        wished_by=rules.SEAT_LIMIT,
    )


def shutting(provider: str, status: Status) -> Wish:
    """Say how a provider shuts somebody out: only WorkOS can deactivate, and only the active."""
    return "inactive" if provider == "workos" and status is Status.ACTIVE else "removed"


def _promoted(act: Act, member: Membership) -> Change:
    after = replace(member, holds_seat=True, updated_at=act.now)
    return Change(before=member, after=after, cause="seats", reason="seat_became_free")


def _turn(change: Change) -> tuple[bool, datetime, str]:
    """Order by right: who is here already, then who came first."""
    is_new = change.before is None or not change.before.is_here
    return is_new, change.after.joined_at or change.after.created_at, str(change.after.id)


def _new(act: Act, org_id: OrgId, user_id: UserId, seen: SeenMembership) -> Membership:
    return Membership(
        id=act.ids.uuid(),
        org_id=org_id,
        user_id=user_id,
        role=seen.role,
        status=seen.status,
        holds_seat=False,
        created_at=act.now,
        updated_at=act.now,
    )


def _subject(act: Act, seen: SeenMembership) -> Subject:
    return Subject(f"{act.provider}.membership", pair_of(seen.org.id, seen.user.id))
