"""SQL of the sessions that we keep.

Every time is the database's. A new pair is stored where the row still holds the token that it was
given for; everything else that a process concludes from an answer is written under its fence.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tenure.base.db import Tx
from tenure.identity.rotation import Session, Why


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to talk to the provider about one session, for a while."""

    key: bytes
    refresh_hash: bytes
    fence: int
    was_in_doubt: bool  # before
    in_doubt_for: timedelta  # since the first use of the token, this one included
    failures: int  # series in a row, before


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A pair as it is stored."""

    external_id: str | None
    user_id: str
    org_id: str | None
    access_token: str
    refresh_token: str
    refresh_hash: bytes
    expires_at: datetime


async def put_session(tx: Tx, key: bytes, pair: Sealed, *, provider: str = "workos") -> None:
    """Add a session that has just begun."""
    await tx.execute(
        """
        INSERT INTO tenure.sessions (handle_hash, provider, external_id, user_external_id,
               org_external_id, access_token, refresh_token, refresh_hash, expires_at)
        VALUES (%(key)s, %(provider)s, %(external)s, %(user)s, %(org)s, %(access)s, %(refresh)s,
                %(hash)s, %(expires)s)
        """,
        {"key": key, "provider": provider} | _params(pair),
    )


async def get_session(tx: Tx, key: bytes) -> Session | None:
    """Read a session as it is now."""
    cur = await tx.execute(
        """
        SELECT s.handle_hash AS key, s.external_id, s.user_external_id AS user_id,
               s.org_external_id AS org_id, s.access_token, s.refresh_token, s.refresh_hash,
               s.expires_at, s.fence, s.failures, s.ended_why,
               t.now - s.rotated_at AS since_rotation,
               t.now - s.sent_at AS in_doubt_for,
               CASE WHEN s.lease_until > t.now THEN s.lease_until - t.now END AS held_for,
               CASE WHEN s.retry_at > t.now THEN s.retry_at - t.now END AS pause,
               EXISTS (SELECT FROM tenure.revoked_sessions r WHERE r.provider = s.provider
                          AND r.session_id = s.external_id) AS is_revoked
          FROM tenure.sessions s CROSS JOIN (SELECT clock_timestamp() AS now) t
         WHERE s.handle_hash = %s
        """,
        (key,),
    )
    row = await cur.fetchone()
    return Session(**row) if row else None


async def claim(tx: Tx, session: Session, *, lease: timedelta) -> Claim | None:
    """Take a session that is free and still as it was read; None where another was quicker."""
    cur = await tx.execute(
        """
        UPDATE tenure.sessions s
           SET fence = fence + 1, lease_until = clock_timestamp() + %(lease)s,
               sent_at = coalesce(sent_at, clock_timestamp()), updated_at = clock_timestamp()
         WHERE handle_hash = %(key)s AND fence = %(fence)s AND ended_at IS NULL
           AND (lease_until IS NULL OR lease_until <= clock_timestamp())
        RETURNING fence, greatest(clock_timestamp() - sent_at, interval '0') AS in_doubt_for
        """,
        {"key": session.key, "fence": session.fence, "lease": lease},
    )
    row = await cur.fetchone()
    if row is None:
        return None
    return Claim(
        key=session.key,
        refresh_hash=session.refresh_hash,
        was_in_doubt=session.in_doubt_for is not None,  # the fence says that it still holds
        failures=session.failures,
        **row,
    )


async def renew(tx: Tx, held: Claim, *, lease: timedelta) -> bool:
    """Hold on to a session for another try; False where it is somebody else's by now."""
    cur = await tx.execute(
        """
        UPDATE tenure.sessions SET lease_until = clock_timestamp() + %s
         WHERE handle_hash = %s AND fence = %s
        """,
        (lease, held.key, held.fence),
    )
    return cur.rowcount == 1


async def put_pair(tx: Tx, held: Claim, pair: Sealed) -> bool:
    """Store what the provider gave for the token that was sent; False where the row has moved on.

    No fence: only one pair ever follows a token, so whoever has it may store it, however late. It
    even revives a session that was ended because this very pair seemed lost.
    """
    cur = await tx.execute(
        """
        UPDATE tenure.sessions
           SET external_id = coalesce(%(external)s, external_id), org_external_id = %(org)s,
               access_token = %(access)s, refresh_token = %(refresh)s, refresh_hash = %(hash)s,
               expires_at = %(expires)s, rotated_at = clock_timestamp(), fence = fence + 1,
               sent_at = NULL, lease_until = NULL, retry_at = NULL, failures = 0,
               last_error = NULL, ended_at = NULL, ended_why = NULL,
               updated_at = clock_timestamp()
         WHERE handle_hash = %(key)s AND refresh_hash = %(sent)s
           AND user_external_id = %(user)s
           AND (ended_at IS NULL OR ended_why = 'answer_lost')
        """,
        {"key": held.key, "sent": held.refresh_hash} | _params(pair),
    )
    return cur.rowcount == 1


async def give_back(
    tx: Tx, held: Claim, *, is_spent: bool, pause: timedelta | None = None, error: str | None = None
) -> None:
    """Let go of a session that stays as it was; `is_spent`: its token may be, from now on."""
    await tx.execute(
        """
        UPDATE tenure.sessions
           SET lease_until = NULL, fence = fence + 1, updated_at = clock_timestamp(),
               sent_at = CASE WHEN %(spent)s THEN sent_at END,
               retry_at = clock_timestamp() + %(pause)s::interval,
               failures = CASE WHEN %(error)s::text IS NULL THEN 0 ELSE failures + 1 END,
               last_error = %(error)s
         WHERE handle_hash = %(key)s AND fence = %(fence)s
        """,
        {
            "key": held.key,
            "fence": held.fence,
            "spent": is_spent,
            "pause": pause,
            "error": error,
        },
    )


async def end_session(
    tx: Tx, key: bytes, why: Why, *, fence: int | None = None, revoke: bool = False
) -> bool:
    """End a session, if given only while it is as `fence` says; its tokens go.

    `revoke`: the provider still has to be told.
    """
    cur = await tx.execute(
        """
        UPDATE tenure.sessions
           SET ended_at = clock_timestamp(), ended_why = %(why)s, revoke_due = %(revoke)s,
               access_token = NULL, refresh_token = NULL, sent_at = NULL, lease_until = NULL,
               retry_at = NULL, fence = fence + 1, updated_at = clock_timestamp()
         WHERE handle_hash = %(key)s AND ended_at IS NULL
           AND (%(fence)s::bigint IS NULL OR fence = %(fence)s)
        """,
        {"key": key, "why": why, "fence": fence, "revoke": revoke},
    )
    return cur.rowcount == 1


async def list_in_doubt(tx: Tx, *, within: timedelta, limit: int) -> list[bytes]:
    """Find sessions that somebody left between the provider's answer and the row, the oldest first.

    `within`: of the token's first use; what is older cannot be rescued any more.
    """
    cur = await tx.execute(
        """
        SELECT handle_hash FROM tenure.sessions
         WHERE sent_at > clock_timestamp() - %s
           AND (lease_until IS NULL OR lease_until <= clock_timestamp())
           AND (retry_at IS NULL OR retry_at <= clock_timestamp())
         ORDER BY sent_at LIMIT %s
        """,
        (within, limit),
    )
    return [row["handle_hash"] for row in await cur.fetchall()]


async def list_to_revoke(tx: Tx, *, limit: int) -> list[tuple[bytes, str]]:
    """Find sessions that ended here while the provider could not be told."""
    cur = await tx.execute(
        """
        SELECT handle_hash, external_id FROM tenure.sessions
         WHERE revoke_due AND external_id IS NOT NULL ORDER BY ended_at LIMIT %s
        """,
        (limit,),
    )
    return [(row["handle_hash"], row["external_id"]) for row in await cur.fetchall()]


async def put_revoked(tx: Tx, key: bytes) -> None:
    """Note that the provider has been told."""
    await tx.execute("UPDATE tenure.sessions SET revoke_due = false WHERE handle_hash = %s", (key,))


async def drop_ended(tx: Tx, *, kept: timedelta, limit: int) -> int:
    """Forget sessions that ended so long ago; say how many. Those still to be revoked stay."""
    cur = await tx.execute(
        """
        DELETE FROM tenure.sessions WHERE handle_hash IN (
            SELECT handle_hash FROM tenure.sessions
             WHERE ended_at < clock_timestamp() - %s AND NOT revoke_due LIMIT %s)
        """,
        (kept, limit),
    )
    return cur.rowcount


async def drop_unused(tx: Tx, *, kept: timedelta, limit: int) -> int:
    """Forget sessions that nobody has refreshed for so long; say how many."""
    cur = await tx.execute(
        """
        DELETE FROM tenure.sessions WHERE handle_hash IN (
            SELECT handle_hash FROM tenure.sessions
             WHERE rotated_at < clock_timestamp() - %s AND ended_at IS NULL LIMIT %s)
        """,
        (kept, limit),
    )
    return cur.rowcount


async def drop_of_user(tx: Tx, user_external_id: str, *, provider: str = "workos") -> int:
    """Forget every session of a user, who is to be forgotten; say how many."""
    cur = await tx.execute(
        "DELETE FROM tenure.sessions WHERE provider = %s AND user_external_id = %s",
        (provider, user_external_id),
    )
    return cur.rowcount


def _params(pair: Sealed) -> dict[str, object]:
    return {
        "external": pair.external_id,
        "user": pair.user_id,
        "org": pair.org_id,
        "access": pair.access_token,
        "refresh": pair.refresh_token,
        "hash": pair.refresh_hash,
        "expires": pair.expires_at,
    }
