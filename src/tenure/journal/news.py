"""What changed, told once the change is committed, and never before."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from psycopg.types.json import Jsonb

from tenure.base.db import Tx
from tenure.journal.model import News

CHANNEL = "tenure_news"


async def append(
    tx: Tx,
    topic: str,
    *,
    org_id: UUID | None = None,
    user_id: UUID | None = None,
    payload: Mapping[str, object] | None = None,
) -> None:
    """Write news inside the caller's transaction; listeners hear of it at its commit."""
    await tx.execute(
        """
        WITH written AS (
            INSERT INTO tenure.news (topic, org_id, user_id, payload) VALUES (%s, %s, %s, %s)
            RETURNING topic, org_id, user_id
        ), told AS (
            SELECT pg_notify('tenure_news', json_build_object(
                       'topic', topic, 'org_id', org_id, 'user_id', user_id)::text) FROM written
        )
        INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, queueing_lock)
        SELECT 'tenure', 'relay', 'relay' FROM told
        ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING
        """,
        (topic, org_id, user_id, Jsonb(dict(payload or {}))),
    )


async def take_unsent(tx: Tx, *, limit: int) -> list[News]:
    """Lock the oldest news that nobody has passed on; commit what was done with it here."""
    cur = await tx.execute(
        """
        UPDATE tenure.news n SET sent_at = clock_timestamp()
          FROM (SELECT id FROM tenure.news WHERE sent_at IS NULL
                 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED) next
         WHERE n.id = next.id
        RETURNING n.id, n.topic, n.org_id, n.user_id, n.payload
        """,
        (limit,),
    )
    return sorted((News(**row) for row in await cur.fetchall()), key=lambda news: news.id)


async def wake_unsent(tx: Tx) -> None:
    """Defer the relay where news waits: after a crash or a lost wake."""
    await tx.execute(
        """
        INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, queueing_lock)
        SELECT 'tenure', 'relay', 'relay'
         WHERE EXISTS (SELECT FROM tenure.news WHERE sent_at IS NULL)
        ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING
        """
    )


async def drop_sent(tx: Tx, *, kept: timedelta, limit: int) -> int:
    """Forget news that was passed on more than `kept` ago; say how many."""
    cur = await tx.execute(
        """
        DELETE FROM tenure.news WHERE id IN (
            SELECT id FROM tenure.news WHERE sent_at < clock_timestamp() - %s LIMIT %s)
        """,
        (kept, limit),
    )
    return cur.rowcount
