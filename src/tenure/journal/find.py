"""What came in about something, and how far its looks are: for those who ask why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tenure.base.db import Tx
from tenure.journal.model import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """An event as it stands in the inbox, without its body."""

    source: str
    event_id: str
    kind: str
    subject_kind: str | None
    subject_id: str | None
    seq: int | None
    note: str | None
    occurred_at: datetime | None
    received_at: datetime

    @property
    def subject(self) -> Subject | None:
        """Whom it concerned."""
        if self.subject_kind is None or self.subject_id is None:
            return None
        return Subject(self.subject_kind, self.subject_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far the looks at a subject are."""

    kind: str
    id: str
    dirty_seq: int
    settled_seq: int
    attempts: int
    marked_at: datetime
    settled_at: datetime | None
    retry_at: datetime | None  # None: at once
    last_error: str | None

    @property
    def is_due(self) -> bool:
        """Whether a look is owed."""
        return self.dirty_seq > self.settled_seq


async def list_events(tx: Tx, event_id: str) -> list[Came]:
    """Find events by their id, of any source."""
    cur = await tx.execute(
        """
        SELECT source, event_id, kind, subject_kind, subject_id, seq, note, occurred_at, received_at
          FROM tenure.inbox WHERE event_id = %s ORDER BY received_at
        """,
        (event_id,),
    )
    return [Came(**row) for row in await cur.fetchall()]


async def list_events_about(tx: Tx, subjects: Sequence[Subject], *, limit: int) -> list[Came]:
    """List the newest events about some subjects of identity providers."""
    cur = await tx.execute(
        """
        SELECT source, event_id, i.kind, subject_kind, subject_id, seq, note, occurred_at,
               received_at
          FROM unnest(%s::text[], %s::text[]) AS w (kind, id)
          JOIN tenure.inbox i ON i.subject_kind = w.kind AND i.subject_id = w.id
                             AND i.source <> 'stripe'
         ORDER BY received_at DESC, event_id LIMIT %s
        """,
        ([s.kind for s in subjects], [s.id for s in subjects], limit),
    )
    return [Came(**row) for row in await cur.fetchall()]


async def list_standing(tx: Tx, subjects: Sequence[Subject]) -> list[Standing]:
    """Say how far the looks at some subjects are; those that were never marked are left out."""
    cur = await tx.execute(
        """
        SELECT s.kind, s.id, dirty_seq, settled_seq, attempts, marked_at, settled_at,
               nullif(retry_at, '-infinity') AS retry_at, last_error
          FROM unnest(%s::text[], %s::text[]) AS w (kind, id)
          JOIN tenure.subjects s ON s.kind = w.kind AND s.id = w.id
         ORDER BY s.kind, s.id
        """,
        ([s.kind for s in subjects], [s.id for s in subjects]),
    )
    return [Standing(**row) for row in await cur.fetchall()]
