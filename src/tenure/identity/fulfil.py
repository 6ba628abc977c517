"""Carry our wishes to the provider: deactivate, reactivate, remove, another role."""

from dataclasses import dataclass, replace
from uuid import UUID

from tenure.base.clock import Clock
from tenure.base.db import Db, Tx
from tenure.base.ids import Ids
from tenure.identity import decisions, members, roster, store
from tenure.identity.act import Act, decided
from tenure.identity.directory import Directory, Member, pair_of, subject_of
from tenure.identity.errors import Refused
from tenure.identity.model import Membership, Status
from tenure.identity.roster import Change
from tenure.identity.rules import SEAT_LIMIT
from tenure.journal import store as journal
from tenure.journal.model import Claim, News, Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A wish that was carried to the provider, and what it said."""

    member: Membership
    pair: str
    refusal: str | None  # None: it was done, or was so already


@dataclass(frozen=True, slots=True, kw_only=True)
class Fulfilment:
    """The reconciler of wishes at one provider; its subject is one of our memberships."""

    directory: Directory
    db: Db
    clock: Clock
    ids: Ids

    @property
    def kind(self) -> str:
        """Name the kind of subject."""
        return f"{self.directory.provider}.wish"

    async def look(self, subject: Subject) -> Tried | None:
        """Ask the provider for what we want, which it does once however often it is asked.

        Errors: ProviderTrouble.
        """
        async with self.db.statement() as tx:
            row = await roster.get_member(tx, UUID(subject.id))
            if row is None or not (row.wish or row.wish_role):
                return None
            org, user = await store.external_ids(
                tx, self.directory.provider, org_id=row.org_id, user_id=row.user_id
            )
        if org is None or user is None:
            return None
        try:
            await self._ask(row, Member(id=row.external_id, org_id=org, user_id=user))
        except Refused as exc:
            return Tried(member=row, pair=pair_of(org, user), refusal=str(exc))
        return Tried(member=row, pair=pair_of(org, user), refusal=None)

    async def _ask(self, row: Membership, member: Member) -> None:
        if row.wish == "removed":
            await self.directory.remove(await self._with_id(member))
            return
        if row.wish is not None:
            status = Status.ACTIVE if row.wish == "active" else Status.INACTIVE
            await self.directory.set_status(await self._with_id(member), status)
        if row.wish_role is not None:
            await self.directory.set_role(await self._with_id(member), row.wish_role)

    async def _with_id(self, member: Member) -> Member:
        """Find the provider's id of a membership that only a token told us of."""
        if member.id is not None:
            return member
        seen = await self.directory.membership(member.org_id, member.user_id, known=None)
        return replace(member, id=seen.id if seen else None)

    async def write(self, tx: Tx, claim: Claim, seen: Tried | None) -> None:
        """Have the membership looked at, which settles the wish; drop one that was refused."""
        if seen is None:
            return
        now, provider = self.clock.now(), self.directory.provider
        # First, as a look at the membership does: its subject, and then the seats.
        await journal.mark(tx, [subject_of(provider, "membership", seen.pair)])
        if seen.refusal is not None:
            await self._drop(tx, seen)
        made = decided(
            seen.refusal or "carried_out",
            verdict="ignored" if seen.refusal else "applied",
            org_id=seen.member.org_id,
            user_id=seen.member.user_id,
            details={"wish": seen.member.wish, "role": seen.member.wish_role},
        )
        await decisions.append(tx, [(claim.subject, made)], at=now, seq=claim.seq)

    async def _drop(self, tx: Tx, seen: Tried) -> None:
        """Forget a wish that the provider refuses, unless another was made meanwhile."""
        org_id, user_id = seen.member.org_id, seen.member.user_id
        await roster.lock_seats(tx, org_id)
        row = (await roster.list_of_pairs(tx, org_id, [user_id])).get(user_id)
        if row is None or row.wished_at != seen.member.wished_at:
            return
        act = Act(
            tx=tx,
            ids=self.ids,
            provider=self.directory.provider,
            now=self.clock.now(),
            cause="api",
            asked=False,
        )
        by = row.wished_by if row.wished_by == SEAT_LIMIT else None  # not to wish it again
        after = replace(row, wish=None, wish_role=None, wished_at=None, wished_by=by)
        details = {"wish": row.wish, "role": row.wish_role, "why": seen.refusal}
        entry = act.entry(
            "member.wish_refused", seen.pair, org_id=org_id, user_id=user_id, details=details
        )
        await act.tell(entry)
        await members.write(
            act, org_id, [Change(before=row, after=after, cause="api", reason="wish_refused")]
        )


def route(news: News) -> tuple[Subject, ...]:
    """Say which subject must act on the news of a wish."""
    return (Subject(f"{news.payload['provider']}.wish", str(news.payload["membership"])),)
