"""What was made of every look, and why: kept for a time, so that it can be explained."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.types.json import Jsonb

from tenure.base.db import Tx
from tenure.identity.model import Decision
from tenure.journal.model import Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A decision as it stands in the table."""

    subject_kind: str
    subject_id: str
    seq: int | None
    verdict: str
    reason: str
    org_id: UUID | None
    user_id: UUID | None
    details: dict[str, object]
    at: datetime


async def append(
    tx: Tx,
    made: Sequence[tuple[Subject, Decision]],
    *,
    at: datetime,
    seq: int | None = None,
) -> None:
    """Write decisions down inside the caller's transaction."""
    async with tx.cursor() as cur:
        await cur.executemany(
            """
            INSERT INTO tenure.decisions (subject_kind, subject_id, seq, verdict, reason, org_id,
                                          user_id, details, at)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    subject.kind,
                    subject.id,
                    seq,
                    decision.verdict,
                    decision.reason,
                    decision.org_id,
                    decision.user_id,
                    Jsonb(dict(decision.details)),
                    at,
                )
                for subject, decision in made
            ],
        )


async def list_of_subject(
    tx: Tx, subject: Subject, *, from_seq: int = 0, limit: int = 100
) -> list[Kept]:
    """Read what was decided about a subject, oldest first; looks from `from_seq` on, if given."""
    cur = await tx.execute(
        """
        SELECT subject_kind, subject_id, seq, verdict, reason, org_id, user_id, details, at
          FROM tenure.decisions
         WHERE subject_kind = %s AND subject_id = %s AND (%s = 0 OR seq >= %s)
         ORDER BY id LIMIT %s
        """,
        (subject.kind, subject.id, from_seq, from_seq, limit),
    )
    return [Kept(**row) for row in await cur.fetchall()]


async def list_of_owner(
    tx: Tx, *, org_id: UUID | None = None, user_id: UUID | None = None, limit: int = 100
) -> list[Kept]:
    """Read what was decided about an organization or a user, newest first."""
    cur = await tx.execute(
        """
        SELECT subject_kind, subject_id, seq, verdict, reason, org_id, user_id, details, at
          FROM tenure.decisions
         WHERE org_id = %(org)s OR user_id = %(user)s ORDER BY id DESC LIMIT %(limit)s
        """,
        {"org": org_id, "user": user_id, "limit": limit},
    )
    return [Kept(**row) for row in await cur.fetchall()]


async def count_of(tx: Tx, provider: str, *, reason: str, since: datetime) -> int:
    """Count decisions of one reason about one provider's things."""
    cur = await tx.execute(
        """
        SELECT count(*) AS n FROM tenure.decisions
         WHERE at > %s AND reason = %s AND split_part(subject_kind, '.', 1) = %s
        """,
        (since, reason, provider),
    )
    row = await cur.fetchone()
    return row["n"] if row else 0


async def count_ignored(tx: Tx, subject: Subject, *, since: datetime) -> int:
    """Count how often something about a subject was ignored."""
    cur = await tx.execute(
        """
        SELECT count(*) AS n FROM tenure.decisions
         WHERE subject_kind = %s AND subject_id = %s AND verdict = 'ignored' AND at > %s
        """,
        (subject.kind, subject.id, since),
    )
    row = await cur.fetchone()
    return row["n"] if row else 0


async def drop_old(tx: Tx, *, kept: timedelta, limit: int) -> int:
    """Forget decisions older than they are kept; say how many."""
    cur = await tx.execute(
        """
        DELETE FROM tenure.decisions WHERE ctid IN (
            SELECT ctid FROM tenure.decisions WHERE at < clock_timestamp() - %s LIMIT %s)
        """,
        (kept, limit),
    )
    return cur.rowcount
