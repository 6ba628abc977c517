"""SQL of the inbox and of the subjects."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby

from tenure.base.db import Tx
from tenure.journal.errors import StaleFence
from tenure.journal.model import Backlog, Claim, Kept, Knock, Subject


async def put_knocks(tx: Tx, knocks: Sequence[Knock]) -> None:
    """Keep events, mark their subjects and wake a worker: one statement, so one commit.

    Events of several sources, accounts or modes are one statement for each of these.

    Promise: an event already kept changes nothing but wakes the worker again. A subject that is
    due and not yet claimed is not touched: the look to come starts after this event came.
    Source:  the function in db/changes/0003_jobs, which plans without the size of the tables.
    """
    for (source, account, livemode), alike in groupby(sorted(knocks, key=_origin), key=_origin):
        of_one = list(alike)
        await tx.execute(
            """
            SELECT tenure.keep_knocks(%b, %b, %b, %b::text[], %b::text[], %b::text[], %b::text[],
                                      %b::text[], %b::timestamptz[], %b::bytea[])
            """,
            (
                source,
                account,
                livemode,
                [k.event_id for k in of_one],
                [k.kind for k in of_one],
                [k.subject.kind if k.subject else None for k in of_one],
                [k.subject.id if k.subject else None for k in of_one],
                [k.note for k in of_one],
                [k.occurred_at for k in of_one],
                [k.body for k in of_one],
            ),
        )


async def list_unknown(tx: Tx, knocks: Sequence[Knock]) -> list[Knock]:
    """List the events, of one account and mode, that were never kept."""
    cur = await tx.execute(
        """
        SELECT event_id FROM tenure.inbox
         WHERE (source, account, livemode, event_id) IN
               (SELECT * FROM unnest(%s::text[], %s::text[], %s::bool[], %s::text[]))
        """,
        (
            [k.source for k in knocks],
            [k.account for k in knocks],
            [k.livemode for k in knocks],
            [k.event_id for k in knocks],
        ),
    )
    known = {row["event_id"] for row in await cur.fetchall()}
    return [knock for knock in knocks if knock.event_id not in known]


async def mark(tx: Tx, subjects: Sequence[Subject]) -> None:
    """Mark subjects dirty without an event: a sweep or news of our own asks for a look.

    Promise: jobs are locked before subjects, as `put_knocks` does. So a reconciler, which holds its
             own subject, must not mark what events mark too: it tells news, and the relay marks.
    """
    await tx.execute(
        """
        WITH marked AS (
            INSERT INTO tenure.subjects AS s (kind, id)
            SELECT DISTINCT kind, id FROM unnest(%s::text[], %s::text[]) AS t (kind, id)
             ORDER BY kind, id
            ON CONFLICT (kind, id) DO UPDATE
               SET dirty_seq = s.dirty_seq + 1, marked_at = clock_timestamp()
        )
        INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, queueing_lock, args)
        SELECT 'reconcile:' || kind, 'reconcile', 'reconcile:' || kind,
               jsonb_build_object('kind', kind)
          FROM (SELECT DISTINCT kind FROM unnest(%s::text[]) AS t (kind)) kinds
         ORDER BY kind
        ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING
        """,
        ([s.kind for s in subjects], [s.id for s in subjects], [s.kind for s in subjects]),
    )


async def mark_later(tx: Tx, subject: Subject, *, wait: timedelta) -> None:
    """Ask for another look at a subject that was just settled, but not before `wait` is over."""
    await tx.execute(
        """
        UPDATE tenure.subjects
           SET dirty_seq = dirty_seq + 1, marked_at = clock_timestamp(),
               retry_at = clock_timestamp() + %s
         WHERE kind = %s AND id = %s
        """,
        (wait, subject.kind, subject.id),
    )


async def mark_since(tx: Tx, subjects: Sequence[Subject], *, since: datetime) -> None:
    """Mark subjects that are not due and that nobody has looked at `since` then."""
    cur = await tx.execute(
        """
        SELECT w.kind, w.id FROM unnest(%s::text[], %s::text[]) AS w (kind, id)
          LEFT JOIN tenure.subjects s USING (kind, id)
         WHERE s.id IS NULL OR (s.dirty_seq = s.settled_seq AND s.settled_at < %s)
        """,
        ([s.kind for s in subjects], [s.id for s in subjects], since),
    )
    doubtful = [Subject(row["kind"], row["id"]) for row in await cur.fetchall()]
    if doubtful:
        await mark(tx, doubtful)


async def list_events(tx: Tx, subject: Subject) -> list[Kept]:
    """Read the events of a subject that no look has settled yet, as they came."""
    cur = await tx.execute(
        """
        SELECT i.event_id, i.kind, i.body FROM tenure.inbox i
          JOIN tenure.subjects s ON s.kind = i.subject_kind AND s.id = i.subject_id
         WHERE i.subject_kind = %s AND i.subject_id = %s AND i.source <> 'stripe'
           AND i.seq > s.settled_seq
         ORDER BY i.seq, i.event_id
        """,
        (subject.kind, subject.id),
    )
    return [Kept(**row) for row in await cur.fetchall()]


async def wake_due(tx: Tx) -> None:
    """Defer a job for every kind that has something due: after a crash, a back-off, a lost wake."""
    await tx.execute(
        """
        INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, queueing_lock, args)
        SELECT 'reconcile:' || kind, 'reconcile', 'reconcile:' || kind,
               jsonb_build_object('kind', kind)
          FROM (SELECT DISTINCT kind FROM tenure.subjects
                 WHERE dirty_seq > settled_seq AND retry_at <= clock_timestamp()
                   AND (lease_until IS NULL OR lease_until <= clock_timestamp())) due
         ORDER BY kind
        ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING
        """
    )


async def take_due(tx: Tx, kind: str, *, limit: int, lease: timedelta) -> list[Claim]:
    """Claim up to `limit` due subjects: raise their fences and hold them for `lease`."""
    cur = await tx.execute(
        """
        UPDATE tenure.subjects s
           SET fence       = s.fence + 1,
               claimed_seq = s.dirty_seq,
               lease_until = clock_timestamp() + %(lease)s,
               attempts    = s.attempts + 1
          FROM (SELECT kind, id FROM tenure.subjects
                 WHERE kind = %(kind)s AND dirty_seq > settled_seq
                   AND retry_at <= clock_timestamp()
                   AND (lease_until IS NULL OR lease_until <= clock_timestamp())
                 ORDER BY retry_at
                 LIMIT %(limit)s
                   FOR UPDATE SKIP LOCKED) due
         WHERE s.kind = due.kind AND s.id = due.id
        RETURNING s.kind, s.id, s.fence, s.claimed_seq, s.attempts
        """,
        {"kind": kind, "limit": limit, "lease": lease},
    )
    return [
        Claim(
            subject=Subject(row["kind"], row["id"]),
            fence=row["fence"],
            seq=row["claimed_seq"],
            attempts=row["attempts"],
        )
        for row in await cur.fetchall()
    ]


async def take_one(tx: Tx, subject: Subject, *, lease: timedelta) -> Claim | None:
    """Mark and claim one subject for a look right now; None while somebody else looks at it."""
    cur = await tx.execute(
        """
        INSERT INTO tenure.subjects AS s (kind, id, claimed_seq, fence, lease_until, attempts)
        VALUES (%(kind)s, %(id)s, 1, 1, clock_timestamp() + %(lease)s, 1)
        ON CONFLICT (kind, id) DO UPDATE
           SET dirty_seq   = s.dirty_seq + 1,
               claimed_seq = s.dirty_seq + 1,
               fence       = s.fence + 1,
               lease_until = excluded.lease_until,
               attempts    = s.attempts + 1
         WHERE s.lease_until IS NULL OR s.lease_until <= clock_timestamp()
        RETURNING s.fence, s.claimed_seq, s.attempts
        """,
        {"kind": subject.kind, "id": subject.id, "lease": lease},
    )
    row = await cur.fetchone()
    if row is None:
        return None
    return Claim(
        subject=subject, fence=row["fence"], seq=row["claimed_seq"], attempts=row["attempts"]
    )


async def settle(tx: Tx, claim: Claim, *, pause: timedelta) -> None:
    """Say that what was claimed is seen; the next look waits for `pause`, so that a burst is one.

    Errors: StaleFence when the subject was claimed again meanwhile. Write nothing then.
    """
    cur = await tx.execute(
        """
        UPDATE tenure.subjects
           SET settled_seq = %(seq)s, settled_at = clock_timestamp(), lease_until = NULL,
               attempts = 0, last_error = NULL, retry_at = clock_timestamp() + %(pause)s
         WHERE kind = %(kind)s AND id = %(id)s AND fence = %(fence)s
        """,
        {**_key(claim), "seq": claim.seq, "pause": pause},
    )
    if cur.rowcount != 1:
        raise StaleFence(claim)


async def give_back(tx: Tx, claim: Claim) -> None:
    """Give a claim back untried: we were told to stop before the look had ended."""
    await tx.execute(
        """
        UPDATE tenure.subjects SET lease_until = NULL, attempts = greatest(attempts - 1, 0)
         WHERE kind = %(kind)s AND id = %(id)s AND fence = %(fence)s
        """,
        _key(claim),
    )


async def put_off(tx: Tx, claim: Claim, *, error: str, wait: timedelta) -> bool:
    """Give a claim back after a failure, to be tried again after `wait`; False if it was lost."""
    cur = await tx.execute(
        """
        UPDATE tenure.subjects
           SET lease_until = NULL, last_error = %(error)s, retry_at = clock_timestamp() + %(wait)s
         WHERE kind = %(kind)s AND id = %(id)s AND fence = %(fence)s
        """,
        {**_key(claim), "error": _kept(error), "wait": wait},
    )
    return cur.rowcount == 1


async def next_due(tx: Tx, kind: str) -> timedelta | None:
    """Say how long until something of this kind is due: zero or less for now, None for never."""
    cur = await tx.execute(
        """
        SELECT min(greatest(retry_at, lease_until, now())) - clock_timestamp() AS wait
          FROM tenure.subjects WHERE kind = %s AND dirty_seq > settled_seq
        """,
        (kind,),
    )
    row = await cur.fetchone()
    return row["wait"] if row else None


async def list_backlog(tx: Tx) -> list[Backlog]:
    """Count what is due, by kind."""
    cur = await tx.execute(
        """
        SELECT kind, count(*) AS due, count(last_error) AS failing, min(marked_at) AS oldest
          FROM tenure.subjects WHERE dirty_seq > settled_seq GROUP BY kind ORDER BY kind
        """
    )
    return [Backlog(**row) for row in await cur.fetchall()]


async def drop_settled(tx: Tx, *, kept: timedelta, limit: int) -> int:
    """Forget events that are settled and older than `kept`; say how many."""
    cur = await tx.execute(
        """
        DELETE FROM tenure.inbox WHERE ctid IN (
            SELECT i.ctid FROM tenure.inbox i
              LEFT JOIN tenure.subjects s ON s.kind = i.subject_kind AND s.id = i.subject_id
             WHERE i.received_at < clock_timestamp() - %s
               AND (i.seq IS NULL OR i.seq <= s.settled_seq)
             LIMIT %s)
        """,
        (kept, limit),
    )
    return cur.rowcount


async def last_sweep(tx: Tx, source: str) -> datetime | None:
    """Say when the newest sweep that came to its end began; None before the first."""
    cur = await tx.execute("SELECT reached FROM tenure.sweeps WHERE source = %s", (source,))
    row = await cur.fetchone()
    return row["reached"] if row else None


async def put_sweep(tx: Tx, source: str, *, reached: datetime) -> None:
    """Note that a sweep came to its end."""
    await tx.execute(
        """
        INSERT INTO tenure.sweeps AS s (source, reached) VALUES (%s, %s)
        ON CONFLICT (source) DO UPDATE SET reached = greatest(s.reached, excluded.reached)
        """,
        (source, reached),
    )


def _kept(error: str) -> str:
    """Cut an error's text, and take from it what Postgres cannot hold."""
    return error[:500].replace("\0", "?").encode(errors="replace").decode()


def _origin(knock: Knock) -> tuple[str, str, bool]:
    return knock.source, knock.account, knock.livemode


def _key(claim: Claim) -> dict[str, object]:
    return {"kind": claim.subject.kind, "id": claim.subject.id, "fence": claim.fence}
