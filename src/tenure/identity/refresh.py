"""Sessions kept for people: they hold a handle, we hold the tokens, and one process rotates them.

    async with Broker(db, door, sealer, verifier=verifier, clock=clock, ids=ids) as broker:
        handle, live = await broker.begin(code)
        live = await broker.refresh(handle)
        await broker.end(handle)

No transaction is open while the provider is asked: a process claims the row for a few seconds
(`fence`, `lease_until`), asks, and stores the pair before anything else is done with it.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from tenure.base.clock import Clock
from tenure.base.db import Db
from tenure.base.errors import TenureError
from tenure.base.ids import Ids
from tenure.base.log import log
from tenure.identity import people, rotation
from tenure.identity import session_rows as rows
from tenure.identity.act import Act
from tenure.identity.claims import Principal
from tenure.identity.errors import (
    KeysUnavailable,
    NotProven,
    ProviderAway,
    ProviderKeyRefused,
    Refused,
)
from tenure.identity.model import SeenSession
from tenure.identity.rotate import Rotor
from tenure.identity.rotation import Denied, Failed, Pair, Session, Step, Why
from tenure.identity.sealed import Sealer
from tenure.identity.session import Verifier
from tenure.identity.vault import Vault, key_of, name_of
from tenure.identity.workos_tokens import Door

PREFIX = "tns_"
PATIENCE = timedelta(seconds=3)  # who has a token that still works is not kept longer
LONG_PATIENCE = timedelta(seconds=25)  # who has none; proxies give up after 30
RESCUE_EVERY = timedelta(seconds=4)

TOLD: dict[Why, str] = {
    "signed_out": "the session was signed out",
    "revoked": "the provider has ended the session",
    "refused": "the provider does not renew the session any more",
    "answer_lost": "the provider renewed the session, and its answer was lost for too long",
    "mfa_enrollment": "the user must set up a second factor",
    "sso_required": "the user must sign in through her organization",
}


class UnknownSession(NotProven):
    """Nobody has such a handle."""

    code = "identity.unknown_session"
    hint = "Send the handle exactly as POST /sessions gave it, or sign in again."


class SessionOver(NotProven):
    """The session has ended, and the message says why."""

    code = "identity.session_over"

    def __init__(self, why: Why) -> None:
        super().__init__(TOLD[why], why=why)


class CodeRefused(NotProven):
    """The provider does not take the code that the sign-in ended with."""

    code = "identity.code_refused"
    hint = "A code is good for one use and a few minutes: start the sign-in again."


class RefreshRefused(NotProven):
    """The provider refuses to refresh for a reason that we do not know; the session is kept."""

    code = "identity.refresh_refused"
    hint = "Sign in again. If everybody must, read the provider's status page and changelog."


class OrganizationRefused(Refused):
    """The provider does not let the session into that organization; it stays where it was."""

    code = "identity.organization_refused"
    hint = "Is the user an active member of it, and does it ask for single sign-on or MFA?"


class RefreshDelayed(ProviderAway):
    """The provider does not answer just now, and there is no access token that would do.

    Nothing is lost: the session is kept, and the next try goes on where this one stopped.
    """

    code = "identity.refresh_delayed"
    hint = "Send the same request again after Retry-After; do not sign the user out."


class SignInDelayed(ProviderAway):
    """The provider does not answer just now, so the sign-in cannot be finished."""

    code = "identity.sign_in_delayed"
    hint = "Send the same code again; if it is refused then, start the sign-in again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A session that can be used."""

    access_token: str
    expires_at: datetime
    user_id: str  # the provider's
    org_id: str | None  # the provider's
    is_fresh: bool  # False: the provider is away, and the token of before still works
    principal: Principal | None  # None: the token cannot be verified yet
    doubt: str | None = None  # the code of what stands in the way of verifying


class Broker:
    """Begins, refreshes and ends sessions. One per event loop."""

    def __init__(
        self, db: Db, door: Door, sealer: Sealer, *, verifier: Verifier, clock: Clock, ids: Ids
    ) -> None:
        self.db = db
        self._door = door
        self._verifier = verifier
        self._clock = clock
        self._ids = ids
        self._vault = Vault(sealer=sealer, clock=clock)
        self._rotor = Rotor(db=db, door=door, vault=self._vault, ids=ids)
        self._flights: dict[tuple[bytes, str | None, bool], asyncio.Task[Failed | Denied | None]]
        self._flights = {}
        self._rescuer: asyncio.Task[None] | None = None

    async def begin(
        self, code: str, *, code_verifier: str | None = None, user_agent: str | None = None
    ) -> tuple[str, Live]:
        """Exchange a sign-in's code; give a handle, which is shown once, and the first token.

        Errors: CodeRefused, SignInDelayed, ProviderKeyRefused.
        """
        said = await self._door.redeem(
            code, within=rotation.TRY, code_verifier=code_verifier, user_agent=user_agent
        )
        if not isinstance(said, Pair):
            raise _not_begun(said)
        handle = self._ids.token(PREFIX, 48)
        key = key_of(handle)
        async with self.db.statement() as tx:
            await rows.put_session(tx, key, self._vault.pack(key, said))
        log.info("identity.session.begun", session=name_of(key), user_id=said.user_id)
        return handle, await self._live(await self._read(key), is_fresh=True)

    async def refresh(self, handle: str, *, org_id: str | None = None) -> Live:
        """Give a fresh access token; `org_id`: for that organization of the provider.

        Errors:  UnknownSession, SessionOver, NotOurSeal, RefreshDelayed, RefreshRefused,
                 OrganizationRefused, ProviderKeyRefused.
        Promise: however many ask, in however many processes, the provider rotates once, and all
                 get the same pair. Nothing but the provider, or the user, ends a session.
        """
        key, said = key_of(handle), None
        session = await self._read(key)
        if rotation.next_step(session, org_id=org_id) in {Step.ROTATE, Step.WAIT}:
            self._vault.refresh_token(session)  # or raise at once
            will_do = self._will_do(session, org_id)
            said = await self._flown(key, org_id, PATIENCE if will_do else LONG_PATIENCE)
            session = await self._read(key)
        return await self._outcome(session, org_id, said)

    async def end(self, handle: str) -> bool:
        """Sign out: here at once, and at the provider; False while the provider does not know.

        Errors: UnknownSession.
        """
        key = key_of(handle)
        session = await self._read(key)
        external_id = session.external_id
        if await self._end(session, "signed_out", revoke=external_id is not None):
            log.info("identity.session.ended", session=name_of(key), why="signed_out")
        return external_id is None or await self._revoke(key, external_id)

    async def revoke_due(self, *, limit: int = 20) -> int:
        """Tell the provider of sessions that ended while it was away; say of how many."""
        async with self.db.statement() as tx:
            due = await rows.list_to_revoke(tx, limit=limit)
        return sum([await self._revoke(key, external_id) for key, external_id in due])

    async def rescue(self, *, limit: int = 20) -> int:
        """Finish what processes that died have left between the answer and the row.

        Promise: where somebody calls this every few seconds, a crash costs no session, even if
                 its user comes by only after the grace.
        """
        async with self.db.statement() as tx:
            left = await rows.list_in_doubt(tx, within=rotation.WINDOW, limit=limit)
        flights = [self._fly(key, None, rescue=True) for key in left]
        await asyncio.gather(*flights, return_exceptions=True)
        return len(left)

    async def close(self) -> None:
        """Wait for what is under way: a pair that came must reach its row."""
        if self._rescuer is not None:
            self._rescuer.cancel()
            await asyncio.gather(self._rescuer, return_exceptions=True)
        await asyncio.gather(*self._flights.values(), return_exceptions=True)

    async def __aenter__(self) -> Self:
        """Rescue sessions, and tell the provider of ended ones, until the block ends."""
        self._rescuer = asyncio.create_task(self._rescue_forever())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def _rescue_forever(self) -> None:
        while True:
            await asyncio.sleep(RESCUE_EVERY.total_seconds() * (0.5 + self._ids.jitter()))
            try:
                await self.rescue()
                await self.revoke_due()
            except TenureError as exc:
                log.warning("identity.session.rescue_failed", why=exc.code)

    async def _read(self, key: bytes) -> Session:
        async with self.db.statement() as tx:
            session = await rows.get_session(tx, key)
        if session is None:
            raise UnknownSession("there is no such session")
        return session

    def _fly(
        self, key: bytes, org_id: str | None, *, rescue: bool = False
    ) -> asyncio.Task[Failed | Denied | None]:
        """Join the turn under way in this process, or start one; it outlives who asked for it."""
        name = (key, org_id, rescue)
        if (flight := self._flights.get(name)) is None:
            turn = self._rotor.turn(key, org_id=org_id, rescue=rescue)
            flight = self._flights[name] = asyncio.create_task(turn)
            flight.add_done_callback(lambda done: self._landed(name, done))
        return flight

    def _landed(
        self, name: tuple[bytes, str | None, bool], flight: asyncio.Task[Failed | Denied | None]
    ) -> None:
        del self._flights[name]
        if flight.cancelled() or (exc := flight.exception()) is None:
            return
        why = exc.code if isinstance(exc, TenureError) else type(exc).__name__
        log.warning("identity.session.turn_failed", session=name_of(name[0]), why=why)

    async def _flown(
        self, key: bytes, org_id: str | None, patience: timedelta
    ) -> Failed | Denied | None:
        flight = self._fly(key, org_id)
        done, _ = await asyncio.wait({flight}, timeout=patience.total_seconds())
        return flight.result() if done else None

    def _will_do(self, session: Session, org_id: str | None) -> bool:
        """Say whether the stored token is a fair answer while the provider is away."""
        usable = rotation.is_usable(session, now=self._clock.now())
        return usable and rotation.is_in(session, org_id)

    async def _outcome(
        self, session: Session, org_id: str | None, said: Failed | Denied | None
    ) -> Live:
        if session.ended_why or session.is_revoked:
            raise await self._over(session)
        if isinstance(said, Denied) and org_id is not None:
            raise _not_switched(said)
        if session.since_rotation < rotation.GRACE and rotation.is_in(session, org_id):
            return await self._live(session, is_fresh=True)
        if self._will_do(session, org_id):
            return await self._live(session, is_fresh=False)
        if isinstance(said, Denied):
            raise _not_refreshed(said)
        wait = session.pause or session.held_for or timedelta(seconds=1)
        raise RefreshDelayed("the identity provider does not answer", retry_after=wait)

    async def _over(self, session: Session) -> SessionOver:
        """Say why it is over; what the provider told in an event is written into the row."""
        if session.ended_why is None:
            await self._end(session, "revoked")
        return SessionOver(session.ended_why or "revoked")

    async def _end(self, session: Session, why: Why, *, revoke: bool = False) -> bool:
        """End a session; False where it had ended before.

        Promise: its access tokens end with it, and in the same transaction every gate is told.
        """
        now = self._clock.now()
        async with self.db.transaction() as tx:
            ended = await rows.end_session(tx, session.key, why, revoke=revoke)
            if ended and session.external_id:
                act = Act(
                    tx=tx, ids=self._ids, provider="workos", now=now, cause="api", asked=False
                )
                seen = SeenSession(id=session.external_id, user_id=session.user_id, ended_at=now)
                await people.end_session(act, seen)
        return ended

    async def _live(self, session: Session, *, is_fresh: bool) -> Live:
        """Make the answer; a token that cannot be verified yet is no reason to lose it.

        WorkOS gave it to us over TLS; whoever is shown it verifies it again.
        """
        token, principal, doubt = self._vault.access_token(session), None, None
        try:
            principal = await self._verifier.verify(token)
        except (NotProven, KeysUnavailable) as exc:
            doubt = exc.code
            log.warning("identity.session.unproven", session=name_of(session.key), why=exc.code)
        return Live(
            access_token=token,
            expires_at=session.expires_at,
            user_id=session.user_id,
            org_id=session.org_id,
            is_fresh=is_fresh,
            principal=principal,
            doubt=doubt,
        )

    async def _revoke(self, key: bytes, external_id: str) -> bool:
        told = await self._door.revoke(external_id, within=rotation.TRY)
        if told:
            async with self.db.statement() as tx:
                await rows.put_revoked(tx, key)
        return told


def _not_begun(said: Failed | Denied) -> TenureError:
    if isinstance(said, Failed):
        wait = said.retry_after or timedelta(seconds=1)
        return SignInDelayed("the identity provider does not answer", retry_after=wait)
    if said.code in rotation.OUR_FAULT:
        return _key_refused(said)
    return CodeRefused(f"the identity provider refuses the sign-in ({said.code})", why=said.code)


def _not_switched(said: Denied) -> TenureError:
    if said.code in rotation.OUR_FAULT:
        return _key_refused(said)
    message = f"the identity provider does not let the session into it ({said.code})"
    return OrganizationRefused(message, why=said.code)


def _not_refreshed(said: Denied) -> TenureError:
    if said.code in rotation.OUR_FAULT:
        return _key_refused(said)
    return RefreshRefused(f"the identity provider refuses ({said.code})", why=said.code)


def _key_refused(said: Denied) -> ProviderKeyRefused:
    return ProviderKeyRefused(f"WorkOS does not accept our key or client id ({said.code})")
