"""Append-only record of what was done, by whom, when."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from tenure.base.db import Tx
from tenure.journal.model import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One audit line as it stands in the log."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLink:
    """A place where a chain does not hold."""

    chain: UUID
    seq: int
    why: str  # "changed", "missing before", "cut off"


async def append(tx: Tx, *entries: Entry) -> None:
    """Add lines inside the caller's transaction; the database links and hashes them."""
    async with tx.cursor() as cur:
        await cur.executemany(
            """
            INSERT INTO tenure.audit_log (org_id, user_id, at, actor, action, subject, details)
            VALUES (%s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    entry.org_id,
                    entry.user_id,
                    entry.at,
                    entry.actor,
                    entry.action,
                    entry.subject,
                    Jsonb(dict(entry.details)),
                )
                for entry in entries
            ],
        )


async def list_lines(tx: Tx, chain: UUID, *, after: int = 0, limit: int = 100) -> list[Line]:
    """Read a chain in order, from behind line `after`."""
    cur = await tx.execute(
        """
        SELECT seq, at, actor, action, subject, details FROM tenure.audit_log
         WHERE chain = %s AND seq > %s ORDER BY seq LIMIT %s
        """,
        (chain, after, limit),
    )
    return [Line(**row) for row in await cur.fetchall()]


async def broken_links(tx: Tx, chain: UUID | None = None) -> list[BrokenLink]:
    """Recompute every hash of one chain, or of all, and list where they do not hold."""
    cur = await tx.execute(
        """
        WITH linked AS (
            SELECT a.chain, a.seq, a.hash,
                   a.hash = tenure.audit_digest(a.prev_hash, a) AS as_written,
                   lag(a.seq, 1, 0::bigint) OVER w AS before,
                   a.prev_hash = lag(a.hash, 1, ''::bytea) OVER w AS follows
              FROM tenure.audit_log a
             WHERE %(chain)s::uuid IS NULL OR a.chain = %(chain)s
            WINDOW w AS (PARTITION BY a.chain ORDER BY a.seq)
        )
        SELECT chain, seq, 'changed' AS why FROM linked WHERE NOT as_written
        UNION ALL
        SELECT chain, seq, 'missing before' FROM linked
         WHERE as_written AND (before <> seq - 1 OR NOT follows)
        UNION ALL
        SELECT h.chain, h.seq, 'cut off' FROM tenure.audit_heads h
         WHERE (%(chain)s::uuid IS NULL OR h.chain = %(chain)s) AND h.seq > 0
           AND NOT EXISTS (SELECT FROM linked l
                            WHERE l.chain = h.chain AND l.seq = h.seq AND l.hash = h.hash)
        ORDER BY 1, 2
        """,
        {"chain": chain},
    )
    return [BrokenLink(**row) for row in await cur.fetchall()]
