"""All facts of a decision in one SELECT. It reads across steps, and writes nothing."""

from datetime import datetime

from psycopg.rows import DictRow

from tenure.base.db import Tx
from tenure.billing.model import Status
from tenure.gate.model import Bought, Facts
from tenure.identity.claims import Principal


async def get_facts(tx: Tx, who: Principal, *, livemode: bool, at: datetime) -> Facts:
    """Read who somebody is to us, and what her organization, or she herself, has bought.

    The subscription that speaks is chosen as by `billing.rules.chosen`; a test holds them equal.
    """
    cur = await tx.execute(
        """
        SELECT u.user_id, o.org_id, CASE WHEN m.status = 'active' THEN m.role END AS role, s.*,
               greatest(p.valid_after, (
                   SELECT r.revoked_at FROM tenure.revoked_sessions r
                    WHERE r.provider = %(provider)s AND r.user_id = %(user)s
                    ORDER BY r.revoked_at DESC OFFSET 500 LIMIT 1)) AS valid_after,
               p.deleted_at IS NOT NULL
               OR (u.user_id IS NULL
                   AND EXISTS (SELECT FROM tenure.tombstones t
                                WHERE t.provider = %(provider)s AND t.kind = 'user'
                                  AND t.external_id = %(user)s)) AS is_deleted,
               p.blocked_until IS NOT NULL AND p.blocked_until > %(at)s AS is_blocked,
               ARRAY(SELECT r.session_id FROM tenure.revoked_sessions r
                      WHERE r.provider = %(provider)s AND r.user_id = %(user)s
                      ORDER BY r.revoked_at DESC LIMIT 500) AS ended_sessions,
               ARRAY(SELECT e.lookup_key
                       FROM tenure.entitlements e
                       JOIN tenure.stripe_customers c USING (stripe_customer_id)
                      WHERE (e.org_id = o.org_id OR (o.org_id IS NULL AND e.user_id = u.user_id))
                        AND c.livemode = %(livemode)s) AS features
          FROM (SELECT 1) AS one
          LEFT JOIN tenure.identities u ON u.provider = %(provider)s AND u.external_id = %(user)s
          LEFT JOIN tenure.identities o ON o.provider = %(provider)s AND o.external_id = %(org)s
          LEFT JOIN tenure.users p ON p.id = u.user_id
          LEFT JOIN tenure.memberships m ON m.user_id = u.user_id AND m.org_id = o.org_id
          LEFT JOIN LATERAL (
               SELECT s.id, s.status, s.created_at, s.current_period_end, s.trial_end,
                      s.past_due_since, s.ended_at, s.collection_paused, s.look_fence,
                      coalesce(c.synced_at, s.looked_at) AS looked_at,
                      coalesce(s.cancel_at, CASE WHEN s.cancel_at_period_end
                                                 THEN s.current_period_end END) AS ends_at
                 FROM tenure.subscriptions s
                 JOIN tenure.stripe_customers c USING (stripe_customer_id)
                WHERE (s.org_id = o.org_id OR (o.org_id IS NULL AND s.user_id = u.user_id))
                  AND c.livemode = %(livemode)s
                ORDER BY array_position(ARRAY['active', 'trialing', 'past_due', 'unpaid', 'paused',
                                              'incomplete', 'canceled', 'incomplete_expired'],
                                        s.status), s.created_at DESC, s.id COLLATE "C"
                LIMIT 1) s ON true
        """,
        {
            "provider": who.provider,
            "user": who.user_id,
            "org": who.org_id,
            "livemode": livemode,
            "at": at,
        },
    )
    row = await cur.fetchone()
    if row is None:
        raise AssertionError("a SELECT without WHERE gives one row")
    return _facts(row, at)


def _facts(row: DictRow, at: datetime) -> Facts:
    return Facts(
        user_id=row["user_id"],
        org_id=row["org_id"],
        role=row["role"],
        bought=_bought(row) if row["id"] else None,
        features=frozenset(row["features"]),
        read_at=at,
        is_deleted=row["is_deleted"],
        is_blocked=bool(row["is_blocked"]),
        valid_after=row["valid_after"],
        ended_sessions=frozenset(row["ended_sessions"]),
    )


def _bought(row: DictRow) -> Bought:
    return Bought(
        id=row["id"],
        status=Status(row["status"]),
        created_at=row["created_at"],
        current_period_end=row["current_period_end"],
        trial_end=row["trial_end"],
        past_due_since=row["past_due_since"],
        ends_at=row["ends_at"],
        ended_at=row["ended_at"],
        collection_paused=row["collection_paused"],
        looked_at=row["looked_at"],
        look_fence=row["look_fence"],
    )
