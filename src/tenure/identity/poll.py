"""Read WorkOS's list of events: what no webhook told us comes through the same door.

The cursor is moved here and nowhere else: a webhook must not, because the list shows an event some
seconds late, and whatever is older than the cursor is never listed again (workos-authkit#75).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tenure.base.clock import Clock
from tenure.base.db import Db, Tx
from tenure.base.log import log
from tenure.identity.directory import Page, Reader
from tenure.identity.errors import BadEvent, Refused
from tenure.identity.workos import PAGE, WorkosDirectory
from tenure.identity.workos_events import NAMELESS, PROVIDER, QUARANTINED
from tenure.journal import store as journal
from tenure.journal.model import Knock, Subject

LIST = "workos:events"  # how journal.sweeps calls the list of events
PAGES = 100  # in one run; whoever is further behind goes on in the next one
OVERLAP = timedelta(minutes=10)  # between our clock and theirs; and for how long a token is good
REACH = timedelta(days=29)  # so far back a list may begin; WorkOS gives 30 days at once
EXPIRY = timedelta(days=30)  # WorkOS keeps events for so long at least
ALARM_AGE = timedelta(days=20)  # of a cursor; ten days are left then to do something
# When to poll after somebody said that there is news: the list shows it some seconds late.
AFTER_A_POKE = (timedelta(0), timedelta(seconds=3), timedelta(seconds=10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What came of one run."""

    kept: int = 0  # events that nobody had told us
    quarantined: int = 0  # those of them that we could not read
    began: bool = False  # there was no cursor: what happened before is for a walk to find
    lost: bool = False  # the cursor was of no use any more; said until a walk has made it good
    behind: bool = False  # there is more: run again at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A kept event that we should have understood."""

    source: str
    event_id: str
    kind: str
    note: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a second reading of a kept event said."""

    subject: Subject | None  # marked, to be looked at; None: still nobody
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """How far the list was read."""

    cursor: str | None
    event_at: datetime | None
    lost_at: datetime | None
    reached: datetime | None  # when the newest run began that came to the end of the list

    @property
    def is_new(self) -> bool:
        """Whether the list was never read."""
        return self.cursor is None and self.reached is None and self.lost_at is None

    @property
    def at(self) -> datetime | None:
        """Up to when we know everything that was listed."""
        return max(filter(None, (self.event_at, self.reached)), default=None)

    def is_expired(self, now: datetime) -> bool:
        """Whether WorkOS may have forgotten events that come after the cursor."""
        return self.cursor is not None and self.at is not None and now - self.at > EXPIRY

    def since(self, now: datetime) -> datetime:
        """Say where to begin without a cursor; what was before the first run is for a walk."""
        if self.lost_at is not None and self.reached is None:
            return now - REACH
        return max((self.reached or now) - OVERLAP, now - REACH)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A page that was read, and where that leads."""

    knocks: Sequence[Knock]
    cursor: str | None
    is_end: bool
    lost: bool

    @property
    def event_at(self) -> datetime | None:
        """Say when the newest event of the page happened."""
        return max(filter(None, (knock.occurred_at for knock in self.knocks)), default=None)


async def poll(db: Db, workos: WorkosDirectory, clock: Clock, *, pages: int = PAGES) -> Polled:
    """Read the list of events from where it was left, page by page, each with its own commit.

    Any number of runs may overlap: whoever is second with a page writes nothing, and goes on from
    where the first one is.
    Errors: those of a Directory, and Refused; what was committed until then stays.
    """
    began = clock.now()
    kept = quarantined = 0
    place = await _find_place(db, began)
    is_first, was_lost = place.is_new, place.lost_at is not None
    for _ in range(pages):
        step = await _read(workos, place, began)
        new = await _keep(db, place, step, began)
        stays = step.cursor == place.cursor and not step.lost
        if new is not None:
            kept += len(new)
            quarantined += _count_quarantined(new)
            was_lost = was_lost or step.lost
            if step.is_end or stays:
                break
        place = await _find_place(db, began)
    else:
        return Polled(
            kept=kept, quarantined=quarantined, began=is_first, lost=was_lost, behind=True
        )
    return Polled(kept=kept, quarantined=quarantined, began=is_first, lost=was_lost)


async def cursor_age(tx: Tx, now: datetime) -> timedelta | None:
    """Say how long ago it is that we knew all of the list; None before the first run.

    Beyond ALARM_AGE somebody must see to it; beyond EXPIRY events are lost, and a walk is needed.
    """
    place = await _get_place(tx)
    return now - place.at if place and place.at else None


async def forget_loss(tx: Tx, *, walked_from: datetime) -> None:
    """Note that a walk, begun at that moment, has made good what was lost before it."""
    await tx.execute(
        """
        UPDATE tenure.event_cursors SET lost_at = NULL WHERE provider = %s AND lost_at <= %s
        """,
        (PROVIDER, walked_from),
    )


async def list_quarantined(tx: Tx, *, limit: int = 100) -> list[Quarantined]:
    """List kept events that we should have understood, the newest first."""
    cur = await tx.execute(
        """
        SELECT source, event_id, kind, note, received_at FROM tenure.inbox
         WHERE starts_with(note, %s) ORDER BY received_at DESC LIMIT %s
        """,
        (QUARANTINED, limit),
    )
    return [Quarantined(**row) for row in await cur.fetchall()]


async def replay(db: Db, reader: Reader, event_id: str) -> Replayed | None:
    """Read a kept event again and mark whom it concerns; None where there is no such event.

    The event counts as new then: the look that comes settles it.
    """
    async with db.transaction() as tx:
        cur = await tx.execute(
            """
            SELECT livemode, account, note, body FROM tenure.inbox
             WHERE source = %s AND event_id = %s
            """,
            (reader.provider, event_id),
        )
        row = await cur.fetchone()
        if row is None:
            return None
        try:
            knock = reader.knock_of(bytes(row["body"]), event_id=event_id)
        except BadEvent as exc:
            return Replayed(subject=None, note=f"{QUARANTINED}{exc}")
        if knock.subject is not None:
            await journal.mark(tx, [knock.subject])
            await _put_subject(tx, knock.subject, event_id, {"source": reader.provider, **row})
    return Replayed(subject=knock.subject, note=knock.note)


async def _read(workos: WorkosDirectory, place: _Place, now: datetime) -> _Step:
    page, lost = await _ask(workos, place, now)
    knocks = [workos.knock_of_any(raw) for raw in page.items]
    named = (k.event_id for k in reversed(knocks) if not k.event_id.startswith(NAMELESS))
    cursor = next(named, page.next) or (None if lost else place.cursor)
    is_end = page.next is None and len(page.items) < PAGE
    if cursor == place.cursor and not (is_end or lost):
        log.error("identity.events.stuck", provider=PROVIDER, cursor=cursor, events=len(knocks))
    once = {knock.event_id: knock for knock in knocks}  # nameless ones may be alike
    return _Step(knocks=list(once.values()), cursor=cursor, is_end=is_end, lost=lost)


async def _ask(workos: WorkosDirectory, place: _Place, now: datetime) -> tuple[Page[bytes], bool]:
    """Ask for the next page; say whether the cursor was of no use for that.

    Errors: Refused, where it is something else that WorkOS does not like.
    """
    why = "expired"
    if not place.is_expired(now):
        try:
            return await workos.events(after=place.cursor, since=place.since(now)), False
        except Refused as exc:
            if place.cursor is None:
                raise
            why = str(exc)
    page = await workos.events(after=None, since=now - REACH)
    log.error("identity.cursor.lost", provider=PROVIDER, cursor=place.cursor, why=why)
    return page, True


async def _keep(db: Db, place: _Place, step: _Step, now: datetime) -> list[Knock] | None:
    """Write a page and move the cursor; say which events were new, None where we were second."""
    async with db.transaction() as tx:
        if (step.lost or step.cursor != place.cursor) and not await _move(tx, place, step, now):
            return None
        new = await journal.list_unknown(tx, step.knocks)
        if new:
            await journal.put_knocks(tx, new)
        if step.is_end:
            await journal.put_sweep(tx, LIST, reached=now)
    return new


def _count_quarantined(new: Sequence[Knock]) -> int:
    bad = [knock for knock in new if (knock.note or "").startswith(QUARANTINED)]
    for knock in bad:
        log.warning(
            "identity.event.quarantined",
            provider=PROVIDER,
            event_id=knock.event_id,
            kind=knock.kind,
            note=knock.note,
        )
    return len(bad)


async def _find_place(db: Db, now: datetime) -> _Place:
    async with db.statement() as tx:
        place = await _get_place(tx)
        if place is not None:
            return place
        await tx.execute(
            """
            INSERT INTO tenure.event_cursors (provider, moved_at) VALUES (%s, %s)
            ON CONFLICT DO NOTHING
            """,
            (PROVIDER, now),
        )
        return await _get_place(tx) or _Place(
            cursor=None, event_at=None, lost_at=None, reached=None
        )


async def _get_place(tx: Tx) -> _Place | None:
    cur = await tx.execute(
        "SELECT cursor, event_at, lost_at FROM tenure.event_cursors WHERE provider = %s",
        (PROVIDER,),
    )
    row = await cur.fetchone()
    return _Place(**row, reached=await journal.last_sweep(tx, LIST)) if row else None


async def _move(tx: Tx, place: _Place, step: _Step, now: datetime) -> bool:
    """Move the cursor if it still is where we found it."""
    cur = await tx.execute(
        """
        UPDATE tenure.event_cursors
           SET cursor = %(new)s, event_at = coalesce(%(event_at)s, event_at), moved_at = %(now)s,
               lost_at = CASE WHEN %(lost)s THEN %(now)s ELSE lost_at END
         WHERE provider = %(provider)s AND cursor IS NOT DISTINCT FROM %(old)s
        """,
        {
            "provider": PROVIDER,
            "old": place.cursor,
            "new": step.cursor,
            "event_at": step.event_at,
            "now": now,
            "lost": step.lost,
        },
    )
    return cur.rowcount == 1


async def _put_subject(tx: Tx, subject: Subject, event_id: str, row: dict[str, object]) -> None:
    await tx.execute(
        """
        UPDATE tenure.inbox i
           SET subject_kind = s.kind, subject_id = s.id, seq = s.dirty_seq, note = NULL
          FROM tenure.subjects s
         WHERE s.kind = %(kind)s AND s.id = %(id)s AND i.source = %(source)s
           AND i.account = %(account)s AND i.livemode = %(livemode)s AND i.event_id = %(event)s
        """,
        {**row, "kind": subject.kind, "id": subject.id, "event": event_id},
    )
