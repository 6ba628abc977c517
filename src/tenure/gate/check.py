"""The gate: token in, explained decision out."""

import time
from dataclasses import dataclass, field

from tenure.base.clock import Clock
from tenure.base.db import Db
from tenure.base.ids import Ids
from tenure.base.log import log
from tenure.gate import rules, store
from tenure.gate.cache import FactsCache, Key
from tenure.gate.model import Decision, Facts, Needs, Policy, Reason
from tenure.identity.arrive import arrive
from tenure.identity.claims import Principal
from tenure.identity.errors import NotProven
from tenure.identity.session import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Decides for one process. A warm decision touches neither the network nor the database."""

    verifier: Verifier
    db: Db
    clock: Clock
    ids: Ids
    livemode: bool
    cache: FactsCache
    policy: Policy = field(default_factory=Policy)

    def recall(self, token: str, needs: Needs) -> Decision | None:
        """Decide from what this process knows already; None when it must ask."""
        who = self.verifier.recall(token)
        if who is None or needs.fresh:
            return None
        facts = self.cache.get((who.provider, who.user_id, who.org_id))
        if facts is None:
            return None
        if (over := rules.over(facts, who)) is not None:
            return not_signed_in(over)
        return rules.decide(facts, needs, self.clock.now(), self.policy)

    async def check(self, token: str, needs: Needs) -> Decision:
        """Decide, asking for keys and facts where they are not at hand.

        Errors: KeysUnavailable, DatabaseAway: nobody can decide then, and the gate stays shut.
        """
        if (known := self.recall(token, needs)) is not None:
            return known
        try:
            who = await self.verifier.verify(token)
        except NotProven as exc:
            return not_signed_in(exc)
        facts = await self.facts(who, fresh=needs.fresh)
        if (over := rules.over(facts, who)) is not None:
            return not_signed_in(over)
        return rules.decide(facts, needs, self.clock.now(), self.policy)

    async def explain(self, who: Principal) -> Decision:
        """Say how things stand with somebody's subscription, whatever a route may need."""
        return rules.decide(await self.facts(who), Needs(), self.clock.now(), self.policy)

    async def facts(self, who: Principal, *, fresh: bool = False) -> Facts:
        """Read the facts about a verified token's bearer; a new one gets her rows first.

        `fresh`: read them now, whatever is remembered.
        """
        key: Key = (who.provider, who.user_id, who.org_id)
        if not fresh and (kept := self.cache.get(key)) is not None:
            return kept
        facts = await self._read(key, who)
        if _is_new(facts, who):
            await arrive(self.db, self.clock, self.ids, who)
            facts = await self._read(key, who, arrived=True)
        elif who.org_id is not None and facts.role != who.role:
            await arrive(self.db, self.clock, self.ids, who)  # has the provider asked
        if who.org_id is not None and facts.role != who.role:
            log.info("gate.drift.role", org_id=facts.org_id, said=who.role, is_now=facts.role)
        return facts

    async def _read(self, key: Key, who: Principal, *, arrived: bool = False) -> Facts:
        epoch, began = self.cache.epoch, time.monotonic()
        async with self.db.statement() as tx:
            facts = await store.get_facts(tx, who, livemode=self.livemode, at=self.clock.now())
        if arrived or not _is_new(facts, who):  # half a newcomer must not be seen by others
            self.cache.put(key, facts, epoch=epoch, began=began)
        return facts


def _is_new(facts: Facts, who: Principal) -> bool:
    """Say whether rows may be lacking; somebody who was removed looks the same at first."""
    return facts.user_id is None or (who.org_id is not None and facts.role is None)


def not_signed_in(exc: NotProven) -> Decision:
    """Turn a refused token into a decision."""
    return Decision(
        allowed=False,
        reason=Reason.NOT_SIGNED_IN,
        message=str(exc),
        change=exc.hint,
        code=exc.code,
    )
