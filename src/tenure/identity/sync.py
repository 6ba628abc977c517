"""The reconcilers of users, organizations, memberships and sessions of one provider."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

from tenure.base.clock import Clock
from tenure.base.db import Db, Tx
from tenure.base.ids import Ids
from tenure.identity import decisions, graves, members, people, roster, store
from tenure.identity.act import UNLIMITED, Act, Policy
from tenure.identity.directory import Directory, Reader, split_pair, subject_of
from tenure.identity.errors import StaleAnswer, TooManyMissing
from tenure.identity.instance import Instance
from tenure.identity.model import (
    Decision,
    Kind,
    SeenMembership,
    SeenOrganization,
    SeenSession,
    SeenUser,
    Told,
)
from tenure.identity.rules import Fate, asks_again
from tenure.journal import news
from tenure.journal import store as journal
from tenure.journal.model import Claim, News, Subject

Answer = SeenUser | SeenOrganization | SeenMembership
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MISSING = "missing_at_provider"
PATIENT = 3  # times that an absence is asked for again, where it came too soon to be believed
# A membership of somebody who is deleted: it will go too, or she comes back. One that the provider
# did not have, and that came while we asked.
CONTRADICTIONS = {
    *(fate.value for fate in Fate if fate.contradicts),
    *("org_deleted", "user_deleted", members.MEANWHILE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look has seen: the provider's answer, and what signed events said meanwhile."""

    asked: bool
    answer: Answer | None = None  # None, where we asked: the provider has no such thing
    told: tuple[Told, ...] = ()
    known: members.Generation | None = None  # of a membership, before we asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """Keeps one kind of thing equal to what one provider says.

    With a directory the provider is asked, and of events only what is final is believed: that an
    id, which is never used again, is deleted, and that a session has ended. Without one the events
    themselves are all we have, and versions and tombstones keep them in order.
    """

    which: Kind
    reader: Reader
    directory: Directory | None
    db: Db
    clock: Clock
    ids: Ids
    policy: Policy = field(default_factory=Policy)
    instance: Instance | None = None  # asked before an absence is believed

    @property
    def kind(self) -> str:
        """Name the kind of subject."""
        return f"{self.reader.provider}.{self.which}"

    async def look(self, subject: Subject) -> Look:
        """Read what events said, then ask the provider how things are now.

        Errors: ProviderTrouble, WrongInstance.
        """
        async with self.db.statement() as tx:
            events = await journal.list_events(tx, subject)
        read = (self.reader.told(e.event_id, e.kind, e.body) for e in events)
        told = tuple(sorted(filter(None, read), key=_when))
        if self.directory is None or self.which == "session":
            return Look(asked=False, told=told)
        known = await self._known(subject.id) if self.which == "membership" else None
        answer = await self._ask(self.directory, subject.id, known)
        if answer is None and self.instance and not any(one.gone for one in told):
            await self.instance.check()  # nobody told us of it: perhaps we ask in the wrong place
        return Look(asked=True, answer=answer, told=told, known=known)

    async def _known(self, pair: str) -> members.Generation:
        async with self.db.statement() as tx:
            ours, whose = await roster.find_pair(tx, self.reader.provider, pair)
            row = await roster.get_pair(tx, ours, whose) if ours and whose else None
        return members.generation_of(row)

    async def _ask(
        self, directory: Directory, name: str, known: members.Generation | None
    ) -> Answer | None:
        if self.which == "user":
            return await directory.user(name)
        if self.which == "org":
            return await directory.organization(name)
        org_id, user_id = split_pair(name)
        return await directory.membership(org_id, user_id, known=known[1] if known else None)

    async def write(self, tx: Tx, claim: Claim, seen: Look) -> None:
        """Write the difference: what is final first, then how things are."""
        act = Act(
            tx=tx,
            ids=self.ids,
            provider=self.reader.provider,
            now=self.clock.now(),
            cause="event",
            asked=False,
            policy=self.policy,
        )
        if claim.attempts <= PATIENT and await self._is_hasty(tx, claim.subject, seen):
            raise StaleAnswer("the provider does not show yet what it has just told of")
        if self.which == "org" and any(one.gone for one in seen.told):
            await people.hold_organization(act, claim.subject.id)
        made = [await self._write_told(act, claim.subject, told, seen) for told in seen.told]
        if seen.asked:
            act = replace(act, cause="look", asked=True)
            made.append(await self._write_answer(act, claim.subject, seen))
        decided = [(claim.subject, one) for one in made if one is not None]
        await decisions.append(tx, decided, at=act.now, seq=claim.seq)
        if any(contradicts(act, one) for _, one in decided) or _is_doubtful(seen, made):
            await self._ask_again(act, claim.subject)
        if isinstance(seen.answer, SeenMembership):
            await self._tell_named(tx, seen.answer)

    async def _is_hasty(self, tx: Tx, subject: Subject, look: Look) -> bool:
        """Say whether an absence came before the provider can have shown what is new.

        An event has just told of it, or only a token or a name has so far.
        """
        if not look.asked or look.answer is not None or any(one.gone for one in look.told):
            return False
        if any(one.seen for one in look.told):
            return True
        if look.known is not None:
            generation, its_id = look.known
            return generation > 0 and its_id is None
        return await store.is_only_named(tx, self.reader.provider, subject.id)

    async def _write_told(
        self, act: Act, subject: Subject, told: Told, look: Look
    ) -> Decision | None:
        made = await self._believed(act, subject, told, look)
        if made is None:
            return None
        return replace(made, details={**made.details, "event": told.event_id})

    async def _believed(
        self, act: Act, subject: Subject, told: Told, look: Look
    ) -> Decision | None:
        if told.gone is not None:
            if told.gone.kind == "user":
                return await people.drop_user(act, told.gone.id, act.grave(told.gone.at))
            if told.gone.kind == "org":
                return await people.drop_organization(act, told.gone.id, act.grave(told.gone.at))
            return await members.drop(act, subject.id, told.gone)
        if isinstance(told.seen, SeenSession):
            return await people.end_session(act, told.seen)
        if look.asked or told.seen is None:
            return None  # the answer knows better
        return await _put(act, told.seen)

    async def _write_answer(self, act: Act, subject: Subject, look: Look) -> Decision:
        if look.answer is not None:
            return await _put(act, look.answer)
        if self.which == "user":
            made = await people.drop_user(act, subject.id, act.grave())
        elif self.which == "org":
            made = await people.drop_organization(act, subject.id, act.grave())
        else:
            made = await members.drop_missing(act, subject.id, known=look.known)
        if made.reason == MISSING:
            await self._check_missing(act)
        return made

    async def _check_missing(self, act: Act) -> None:
        """Stop where too many go missing that no event told of: the key may be a stranger's."""
        limit = self.policy.absence_limit
        if limit == UNLIMITED:
            return
        missing = await decisions.count_of(
            act.tx, act.provider, reason=MISSING, since=act.now - DAY
        )
        if missing >= limit:
            raise TooManyMissing(
                f"{act.provider} lacks {missing + 1} that we know, within a day",
                provider=act.provider,
            )

    async def _tell_named(self, tx: Tx, answer: SeenMembership) -> None:
        """Have those asked for whom a membership only names.

        As news, because their subjects may be locked by somebody who waits for what we hold.
        """
        provider, org, user = self.reader.provider, answer.org, answer.user
        seen = await roster.list_seen(tx, provider, [org.id, user.id])
        wanted: list[Subject] = []
        if org.version is None and org.id not in seen:
            wanted.append(subject_of(provider, "org", org.id))
        if user.version is None and user.id not in seen:
            wanted.append(subject_of(provider, "user", user.id))
        wanted += await self._doubtfully_gone(tx, org.id, user.id)
        if wanted:
            await news.append(tx, "identity.named", payload={"subjects": wanted})

    async def _doubtfully_gone(self, tx: Tx, org: str, user: str) -> list[Subject]:
        """Name those whom an absence has buried although a membership shows them."""
        provider = self.reader.provider
        found: list[Subject] = []
        for kind, name in (("org", org), ("user", user)):
            grave = (await graves.get_graves(tx, provider, kind, [name])).get(name)
            if grave is not None and grave.proof == "asked":
                found.append(Subject(f"{provider}.{kind}", name))
        return found

    async def _ask_again(self, act: Act, subject: Subject) -> None:
        """Ask again a little later, because the answer cannot be meant."""
        ignored = await decisions.count_ignored(act.tx, subject, since=act.now - HOUR)
        wait = asks_again(timedelta(seconds=2**ignored if ignored < 16 else 2**16))  # noqa: PLR2004 (far above the longest wait)
        await journal.mark_later(act.tx, subject, wait=wait)


async def _put(act: Act, seen: Answer | SeenSession) -> Decision:
    if isinstance(seen, SeenUser):
        return await people.put_user(act, seen)
    if isinstance(seen, SeenOrganization):
        return await people.put_organization(act, seen)
    if isinstance(seen, SeenSession):
        return await people.end_session(act, seen)
    ((_, made),) = await members.put(act, seen.org, [seen])
    return made


def _is_doubtful(look: Look, made: Sequence[Decision | None]) -> bool:
    """Say whether somebody was dropped by one answer alone, so that another is asked for."""
    return not any(one.gone for one in look.told) and any(
        one is not None and one.reason == MISSING for one in made
    )


def route(told: News) -> tuple[Subject, ...]:
    """Say who must be asked for after news of somebody who was only named."""
    return tuple(Subject(*one) for one in cast("Sequence[list[str]]", told.payload["subjects"]))


def contradicts(act: Act, made: Decision) -> bool:
    """Say whether the provider, asked just now, cannot mean what it shows."""
    return act.asked and made.reason in CONTRADICTIONS


def _when(told: Told) -> tuple[datetime, datetime, str]:
    """Order events by what they are about, then by when they were sent."""
    version = getattr(told.seen, "version", None)
    return version or told.at, told.at, told.event_id
