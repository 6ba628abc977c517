"""Walk through everything a provider has: the first filling, and the sweep for what was lost.

Who is unknown here is written at once; whatever else differs is only marked, so that a look asks
for it by name. So nobody is dropped because a list lacked her: absence counts after a second
question.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from tenure.base.clock import Clock
from tenure.base.db import Db, Tx
from tenure.base.ids import Ids
from tenure.base.log import log
from tenure.identity import decisions, members, people, store, walk_store
from tenure.identity.act import UNLIMITED, Act, Policy
from tenure.identity.directory import Directory, pair_of
from tenure.identity.errors import ProviderFailed
from tenure.identity.instance import Instance
from tenure.identity.model import SeenMembership, SeenOrganization, SeenUser
from tenure.identity.named import named_users
from tenure.identity.sync import contradicts
from tenure.identity.walk_store import Difference, Phase, Place
from tenure.journal import store as journal

NEXT: dict[Phase, Phase] = {
    "users": "organizations",
    "organizations": "memberships",
    "memberships": "ended",
}
HERE = "unknown_here"
TOO_OLD = timedelta(days=1)  # then a walk begins anew, whatever stopped the last one
Item = SeenUser | SeenOrganization | SeenMembership


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One page of a walk, and what differed on it."""

    phase: Phase
    met: int
    differences: tuple[Difference, ...]
    counts: dict[str, int]  # since the walk began: by phase, and "differences"


@dataclass(frozen=True, slots=True, kw_only=True)
class Walker:
    """Walks through one provider. A walk that was cut off goes on where it was."""

    directory: Directory
    db: Db
    clock: Clock
    ids: Ids
    policy: Policy = field(default_factory=Policy)
    only_look: bool = False  # tell of differences, change nothing

    async def walk(self) -> AsyncIterator[Step]:
        """Go on with the walk that was begun, or begin one, to its end; tell of every page.

        Errors: ProviderTrouble, WrongInstance; the next walk goes on from here.
        """
        place = await self._begin()
        while place.phase != "ended":
            step, after = await self._step(place)
            if not await self._move(place, after):
                return  # another process walks on
            yield step
            place = after

    async def _begin(self) -> Place:
        new = Place(
            run=self.ids.uuid(), phase="users", place=None, began_at=self.clock.now(), counts={}
        )
        async with self.db.statement() as tx:
            is_first = await store.count_living(tx, self.directory.provider, most=1) == 0
        may_err = self.policy.absence_limit != UNLIMITED
        if may_err and not is_first:  # or strangers would be written as ours, and ours be missing
            await Instance(directory=self.directory, db=self.db, clock=self.clock).check()
        if self.only_look:
            return new
        async with self.db.transaction() as tx:
            under_way = await walk_store.get_place(tx, self.directory.provider)
            if under_way is not None and _goes_on(under_way, new):
                return under_way
            await walk_store.begin(tx, self.directory.provider, new)
        return new

    async def _move(self, before: Place, after: Place) -> bool:
        provider = self.directory.provider
        async with self.db.transaction() as tx:
            if after.phase == "ended":
                await walk_store.forget_seen(tx, provider, before.run)
            if self.only_look:
                return True
            return await walk_store.move(tx, provider, before, after, at=self.clock.now())

    async def _step(self, place: Place) -> tuple[Step, Place]:
        """Read one page, treat what differs, and say where to go on."""
        items, onward, over = await self._read(place)
        found = await self._compare(place, items)
        if over:
            found += await self._missing(place)
        if not self.only_look:
            await self._treat(items, found)
        counts = dict(place.counts)
        counts[place.phase] = counts.get(place.phase, 0) + len(items)
        counts["differences"] = counts.get("differences", 0) + len(found)
        step = Step(phase=place.phase, met=len(items), differences=tuple(found), counts=counts)
        phase = NEXT[place.phase] if over else place.phase
        return step, replace(place, phase=phase, place=None if over else onward, counts=counts)

    async def _read(self, place: Place) -> tuple[Sequence[Item], str | None, bool]:
        """Read the page at a place: what is on it, where to go on, whether the phase is over."""
        if place.phase == "users":
            users = await self.directory.users(place.place)
            return users.items, users.next, users.next is None
        if place.phase == "organizations":
            orgs = await self.directory.organizations(place.place)
            return orgs.items, orgs.next, orgs.next is None
        if self.directory.lists_everywhere:
            everywhere = await self.directory.memberships(None, place.place)
            return everywhere.items, everywhere.next, everywhere.next is None
        return await self._read_organization(place)

    async def _read_organization(self, place: Place) -> tuple[Sequence[Item], str | None, bool]:
        """Read a page of one organization's memberships.

        A place names the organization that is done, or with a tab the one under way and where.
        """
        done, _, where = (place.place or "").partition("\t")
        org = done if where else None
        if org is None:
            async with self.db.statement() as tx:
                org = await walk_store.next_organization(tx, self.directory.provider, done)
        if org is None:
            return (), None, True
        try:
            page = await self.directory.memberships(org, where or None)
        except ProviderFailed as exc:  # one that cannot be read must not hold up all the others
            log.warning("identity.walk.passed_over", organization=org, error=str(exc))
            return (), org, False
        return page.items, f"{org}\t{page.next}" if page.next else org, False

    async def _compare(self, place: Place, items: Sequence[Item]) -> list[Difference]:
        provider, names = self.directory.provider, [item.id for item in items]
        users = [item for item in items if isinstance(item, SeenUser)]
        orgs = [item for item in items if isinstance(item, SeenOrganization)]
        joined = [item for item in items if isinstance(item, SeenMembership)]
        async with self.db.transaction() as tx:
            await walk_store.put_seen(tx, provider, place.run, _met_as(place.phase), names)
            if users:
                return await walk_store.compare_people(tx, provider, "user", users)
            if orgs:
                return await walk_store.compare_people(tx, provider, "org", orgs)
            return await walk_store.compare_members(tx, provider, joined) if joined else []

    async def _missing(self, place: Place) -> list[Difference]:
        provider = self.directory.provider
        async with self.db.statement() as tx:
            found = await self._not_met(tx, place)
            now = None if self.only_look else await walk_store.get_place(tx, provider)
        if now is not None and (now.run, now.phase) != (place.run, place.phase):
            return []  # another process has ended the walk, and forgotten whom it had met
        return found

    async def _not_met(self, tx: Tx, place: Place) -> list[Difference]:
        provider, before = self.directory.provider, place.began_at
        if place.phase == "memberships":
            return await walk_store.missing_members(tx, provider, place.run, before=before)
        kind = "user" if place.phase == "users" else "org"
        return await walk_store.missing_people(tx, provider, place.run, kind, before=before)

    async def _treat(self, items: Sequence[Item], found: Sequence[Difference]) -> None:
        """Write who is unknown here; mark the others, so that they are asked for by name."""
        unknown = {d.subject.id for d in found if d.reason == HERE}
        marked = [d.subject for d in found if d.reason != HERE]
        if marked:
            async with self.db.transaction() as tx:
                await journal.mark(tx, marked)
        people_seen = [i for i in items if isinstance(i, SeenUser) and i.id in unknown]
        if people_seen:
            async with self.db.transaction() as tx:
                await named_users(self._act(tx), people_seen)
        orgs_seen = [i for i in items if isinstance(i, SeenOrganization) and i.id in unknown]
        if orgs_seen:
            await self._put_organizations(orgs_seen)
        joined = [i for i in items if isinstance(i, SeenMembership) and _pair(i) in unknown]
        if joined:
            await self._put_members(joined)

    async def _put_organizations(self, seen: Sequence[SeenOrganization]) -> None:
        async with self.db.transaction() as tx:
            # All names first, as everybody takes them: one at a time would be another order.
            await store.lock_names(tx, self.directory.provider, [org.id for org in seen])
            for org in seen:
                await people.put_organization(self._act(tx), org)

    async def _put_members(self, joined: Sequence[SeenMembership]) -> None:
        async with self.db.transaction() as tx:
            act = self._act(tx)
            made = await members.put_all(act, joined)
            await decisions.append(tx, made, at=act.now)
        doubtful = [subject for subject, one in made if contradicts(act, one)]
        if doubtful:
            async with self.db.transaction() as tx:
                await journal.mark(tx, doubtful)

    def _act(self, tx: Tx) -> Act:
        return Act(
            tx=tx,
            ids=self.ids,
            provider=self.directory.provider,
            now=self.clock.now(),
            cause="walk",
            asked=True,
            policy=self.policy,
        )


def _goes_on(under_way: Place, new: Place) -> bool:
    """Say whether a walk is taken up: not one that has ended, or has stood still for too long."""
    return under_way.phase != "ended" and new.began_at - under_way.began_at < TOO_OLD


def _met_as(phase: Phase) -> str:
    return {"users": "user", "organizations": "org"}.get(phase, "membership")


def _pair(member: SeenMembership) -> str:
    return pair_of(member.org.id, member.user.id)
