"""SQL of what is over: tombstones and ended sessions."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from tenure.base.db import Tx
from tenure.identity.rules import Grave


async def bury(tx: Tx, provider: str, kind: str, external_id: str, grave: Grave) -> None:
    """Put a tombstone. A signed event beats an absence; of two of a kind the later one stands."""
    await tx.execute(
        """
        INSERT INTO tenure.tombstones AS t
               (provider, kind, external_id, deleted_at, proof, written_at)
        VALUES (%(provider)s, %(kind)s, %(id)s, %(at)s, %(proof)s, %(now)s)
        ON CONFLICT (provider, kind, external_id) DO UPDATE
           SET deleted_at = excluded.deleted_at, proof = excluded.proof,
               written_at = excluded.written_at
         WHERE (excluded.proof, t.proof) = ('event', 'asked')
            OR (excluded.proof = t.proof AND excluded.deleted_at > t.deleted_at)
        """,
        {
            "provider": provider,
            "kind": kind,
            "id": external_id,
            "at": grave.deleted_at,
            "proof": grave.proof,
            "now": grave.written_at,
        },
    )


async def get_graves(
    tx: Tx, provider: str, kind: str, external_ids: Sequence[str]
) -> dict[str, Grave]:
    """Find the tombstones of some ids."""
    cur = await tx.execute(
        """
        SELECT external_id, deleted_at, proof, written_at FROM tenure.tombstones
         WHERE provider = %s AND kind = %s AND external_id = ANY (%s)
        """,
        (provider, kind, list(external_ids)),
    )
    return {row.pop("external_id"): Grave(**row) for row in await cur.fetchall()}


async def lift(tx: Tx, provider: str, kind: str, external_ids: Sequence[str]) -> None:
    """Take tombstones away that an absence had put: the provider has them after all."""
    await tx.execute(
        """
        DELETE FROM tenure.tombstones
         WHERE provider = %s AND kind = %s AND external_id = ANY (%s) AND proof = 'asked'
        """,
        (provider, kind, list(external_ids)),
    )


async def lift_pairs(tx: Tx, provider: str, pairs: Sequence[str]) -> None:
    """Take the tombstones of pairs away: the people are members again, under other ids."""
    await tx.execute(
        """
        DELETE FROM tenure.tombstones
         WHERE provider = %s AND kind = 'pair' AND external_id = ANY (%s)
        """,
        (provider, list(pairs)),
    )


async def put_ended_session(
    tx: Tx, provider: str, session_id: str, user_id: str, *, at: datetime
) -> bool:
    """Note that a session has ended; False where it was noted before."""
    cur = await tx.execute(
        """
        INSERT INTO tenure.revoked_sessions (provider, session_id, user_id, revoked_at)
        VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
        """,
        (provider, session_id, user_id, at),
    )
    return cur.rowcount == 1


async def drop_ended_sessions(tx: Tx, *, kept: timedelta, limit: int) -> int:
    """Forget sessions whose tokens have all expired long ago; say how many."""
    cur = await tx.execute(
        """
        DELETE FROM tenure.revoked_sessions WHERE ctid IN (
            SELECT ctid FROM tenure.revoked_sessions
             WHERE revoked_at < clock_timestamp() - %s LIMIT %s)
        """,
        (kept, limit),
    )
    return cur.rowcount
