"""One session's turn: claim it, ask the provider, store the pair before anything else."""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta

from tenure.base.db import DatabaseAway, Db
from tenure.base.ids import Ids
from tenure.base.log import log
from tenure.identity import rotation
from tenure.identity import session_rows as rows
from tenure.identity.rotation import Answer, Denied, Failed, Pair, Series, Session, Step
from tenure.identity.session_rows import Claim
from tenure.identity.vault import Vault, name_of
from tenure.identity.workos_tokens import Door

LONGEST = 30.0  # seconds for a whole turn, waiting for other processes included
ASK_AGAIN = (0.03, 0.25)  # seconds between looks at a row that another process holds; grows
STORE_FOR = 60.0  # seconds in which the database may come back before a pair is given up
STORE_AGAIN = 0.5  # seconds
ROTATIONS = 2  # in one turn: a replayed token may lead to another organization first


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotor:
    """Rotates sessions, each by one process at a time."""

    db: Db
    door: Door
    vault: Vault
    ids: Ids

    async def turn(
        self, key: bytes, *, org_id: str | None = None, rescue: bool = False
    ) -> Failed | Denied | None:
        """Go on until nothing is left to do now; tell of the provider's trouble with it, if any.

        `rescue`: only if the session was left in doubt.
        """
        ends, wait = time.monotonic() + LONGEST, ASK_AGAIN[0]
        for_org, rotations = org_id, 0
        while time.monotonic() < ends:
            async with self.db.statement() as tx:
                session = await rows.get_session(tx, key)
            if session is None or (rescue and session.in_doubt_for is None):
                return None
            step = rotation.next_step(session, org_id=for_org)
            if step is Step.ROTATE:
                if rotations == ROTATIONS:
                    return Denied(code="not_switched", message="the provider stayed elsewhere")
                said = await self._claimed(session, for_org)
                if isinstance(said, Failed | Denied):
                    return said
                rotations += isinstance(said, Pair)
            elif step is not Step.WAIT:
                return None
            else:
                await asyncio.sleep(wait * (0.5 + self.ids.jitter()))
                wait = min(wait * 1.5, ASK_AGAIN[1])
        return None

    async def _claimed(self, session: Session, org_id: str | None) -> Answer | None:
        """Rotate, if nobody is quicker; None: look again."""
        token = self.vault.refresh_token(session)  # a claim that cannot be used is not made
        async with self.db.statement() as tx:
            held = await rows.claim(tx, session, lease=rotation.TRY + rotation.SLACK)
        return None if held is None else await self._series(held, token, org_id)

    async def _series(self, held: Claim, token: str, org_id: str | None) -> Answer | None:
        """Send one token until a clear answer comes, as often and as long as the grace allows."""
        series, began = Series(in_doubt_for=held.in_doubt_for), time.monotonic()
        is_spent, number = held.was_in_doubt, 0
        while True:
            number += 1
            within = series.within(_since(began))
            said = await self.door.refresh(token, org_id=org_id, within=within)
            if isinstance(said, Pair):
                await self._store(held, said)
                return said
            in_doubt_for = held.in_doubt_for + _since(began)
            if isinstance(said, Denied):
                return await self._denied(
                    held, said, switching=org_id is not None, is_spent=is_spent, since=in_doubt_for
                )
            is_spent = is_spent or said.is_spent
            wait = series.wait_before(number + 1, said, elapsed=_since(began))
            if wait is None:
                return await self._give_up(held, said, is_spent=is_spent, since=in_doubt_for)
            if not await self._renewed(held, wait + series.within(_since(began) + wait)):
                return None  # it took too long, and somebody else goes on
            await asyncio.sleep(wait.total_seconds() * (0.5 + self.ids.jitter() / 2))

    async def _renewed(self, held: Claim, needed: timedelta) -> bool:
        async with self.db.statement() as tx:
            return await rows.renew(tx, held, lease=needed + rotation.SLACK)

    async def _store(self, held: Claim, pair: Pair) -> None:
        """Store the pair, waiting for a database that is away: nobody else has it.

        Errors: DatabaseAway.
        """
        packed, ends = self.vault.pack(held.key, pair), time.monotonic() + STORE_FOR
        while True:
            try:
                async with self.db.statement() as tx:
                    stored = await rows.put_pair(tx, held, packed)
                break
            except DatabaseAway:
                log.warning("identity.session.pair_waits", session=name_of(held.key))
                if time.monotonic() > ends:
                    raise
            await asyncio.sleep(STORE_AGAIN)
        log.info("identity.session.rotated", session=name_of(held.key), stored=stored)

    async def _denied(
        self, held: Claim, said: Denied, *, switching: bool, is_spent: bool, since: timedelta
    ) -> Denied | None:
        """End the session if that is what the refusal means, or else keep it."""
        why = rotation.verdict(said, switching=switching, in_doubt_for=since)
        if why is None:
            error, pause = (None, None) if switching else (said.code, rotation.FIRST_PAUSE)
            async with self.db.statement() as tx:
                await rows.give_back(tx, held, is_spent=is_spent, pause=pause, error=error)
            log.warning("identity.session.denied", session=name_of(held.key), why=said.code)
            return said
        async with self.db.statement() as tx:
            ended = await rows.end_session(tx, held.key, why, fence=held.fence)
        if ended:
            log.info("identity.session.ended", session=name_of(held.key), why=why)
        return None

    async def _give_up(
        self, held: Claim, said: Failed, *, is_spent: bool, since: timedelta
    ) -> Failed:
        """Keep the session as it is, for a later series."""
        told = Failed(why=said.why, is_spent=is_spent, retry_after=said.retry_after)
        pause = rotation.pause_after(held.failures, told, in_doubt_for=since)
        async with self.db.statement() as tx:
            await rows.give_back(tx, held, is_spent=is_spent, pause=pause, error=said.why)
        log.warning("identity.session.kept", session=name_of(held.key), why=said.why)
        return told


def _since(began: float) -> timedelta:
    return timedelta(seconds=time.monotonic() - began)
