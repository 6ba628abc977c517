"""B7: the hot queries find their rows by index in tables of 50,000 rows."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from tenure.base.db import Tx
from tenure.identity import store as identity
from tenure.journal import news, store
from tenure.journal.model import Subject
from tests.conftest import at, recreate
from tests.identity.test_arrive import a_principal

from .builders import KIND, LONG, a_knock
from .plans import Explained

FILL = """
    INSERT INTO tenure.subjects (kind, id, dirty_seq, claimed_seq, settled_seq, settled_at)
    SELECT 'stripe.customer', 'cus_' || n, 9, 9, 9 - (n % 1000 = 0)::int, now()
      FROM generate_series(1, 50000) n;

    INSERT INTO tenure.inbox (source, livemode, event_id, kind, subject_kind, subject_id, seq, body)
    SELECT 'stripe', false, 'evt_' || n, 'customer.updated', 'stripe.customer', 'cus_' || n, 1,
           convert_to(repeat('x', 500), 'UTF8') FROM generate_series(1, 50000) n;

    INSERT INTO tenure.news (topic, sent_at)
    SELECT 'changed', CASE WHEN n < 49990 THEN now() END FROM generate_series(1, 50000) n;

    INSERT INTO tenure.users (id, created_at, updated_at)
    SELECT md5('user' || n)::uuid, now(), now() FROM generate_series(1, 50000) n;

    INSERT INTO tenure.organizations (id, name, created_at, updated_at)
    SELECT md5('org' || n)::uuid, 'x', now(), now() FROM generate_series(1, 50000) n;

    INSERT INTO tenure.identities (provider, external_id, user_id, created_at)
    SELECT 'clerk', 'user_' || n, md5('user' || n)::uuid, now() FROM generate_series(1, 50000) n;

    INSERT INTO tenure.identities (provider, external_id, org_id, created_at)
    SELECT 'clerk', 'org_' || n, md5('org' || n)::uuid, now() FROM generate_series(1, 50000) n;

    INSERT INTO tenure.memberships (id, org_id, user_id, role, status, created_at, updated_at)
    SELECT gen_random_uuid(), md5('org' || n)::uuid, md5('user' || n)::uuid, 'admin', 'active',
           now(), now() FROM generate_series(1, 50000) n;

    INSERT INTO tenure.tombstones (provider, kind, external_id, deleted_at, proof, written_at)
    SELECT 'clerk', 'user', 'gone_' || n, now(), 'event', now() FROM generate_series(1, 50000) n;

    INSERT INTO tenure.revoked_sessions (provider, session_id, user_id, revoked_at)
    SELECT 'clerk', 'sess_' || n, 'user_' || n, now() FROM generate_series(1, 50000) n;

    INSERT INTO tenure.audit_heads (chain, seq, hash)
    SELECT md5('org' || n)::uuid, 0, '' FROM generate_series(1, 50000) n;

    INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, status)
    SELECT 'x', 'x', 'succeeded' FROM generate_series(1, 50000) n;

    ANALYZE;
    """


@pytest.fixture(scope="module")
def filled(admin: str, template: str) -> Iterator[str]:
    name = f"{template}_filled"
    url = recreate(admin, name, template)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(FILL)
    yield url
    with psycopg.connect(at(url, "postgres"), autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
async def explained(filled: str) -> AsyncIterator[Explained]:
    async with await Tx.connect(filled, row_factory=dict_row) as conn:
        yield Explained(conn)
        await conn.rollback()


@pytest.mark.parametrize("size", [1, 20, 500])
@pytest.mark.parametrize("fresh", [True, False], ids=["new events", "duplicates"])
async def test_keeping_events_reads_no_table_from_end_to_end(
    explained: Explained, size: int, *, fresh: bool
) -> None:
    """M6: a webhook costs the same whatever the inbox holds."""
    first = 60_000 if fresh else 1
    knocks = [
        a_knock(n, subject=Subject(KIND, f"cus_{n % 50_000}")) for n in range(first, first + size)
    ]

    await explained.look_inside()
    await store.put_knocks(explained, knocks)  # type: ignore[arg-type]

    assert explained.scanned() == set(), explained.shown()
    assert {"inbox_pkey", "subjects_pkey"} <= explained.indexes()


async def test_a_plan_made_while_the_inbox_was_empty_is_still_good_when_it_is_full(tx: Tx) -> None:
    """M6: plans live as long as a connection, and the first events come to empty tables."""
    explained = Explained(tx)
    await explained.look_inside()

    await store.put_knocks(explained, [a_knock(1)])  # type: ignore[arg-type]

    assert explained.scanned() == set(), explained.shown()
    assert {"inbox_pkey", "subjects_pkey"} <= explained.indexes()


async def test_claiming_finds_what_is_due_by_its_index(explained: Explained) -> None:
    claims = await store.take_due(explained, KIND, limit=8, lease=LONG)  # type: ignore[arg-type]

    assert len(claims) == 8
    assert explained.scanned() == set(), explained.shown()
    assert "subjects_due" in explained.indexes()


async def test_what_a_worker_asks_when_it_is_idle_is_found_by_index(explained: Explained) -> None:
    await store.next_due(explained, KIND)  # type: ignore[arg-type]
    await store.wake_due(explained)  # type: ignore[arg-type]
    await store.list_backlog(explained)  # type: ignore[arg-type]
    await news.take_unsent(explained, limit=200)  # type: ignore[arg-type]

    assert explained.scanned() == set(), explained.shown()


async def test_one_subject_is_found_by_its_key(explained: Explained) -> None:
    subject = Subject(KIND, "cus_77")
    claim = await store.take_one(explained, subject, lease=LONG)  # type: ignore[arg-type]
    assert claim is not None
    await store.mark(explained, [subject])  # type: ignore[arg-type]
    await store.put_off(explained, claim, error="x", wait=LONG)  # type: ignore[arg-type]
    await store.settle(explained, claim, pause=timedelta(0))  # type: ignore[arg-type]

    assert explained.scanned() == set(), explained.shown()


async def test_whom_a_token_names_is_found_by_index(explained: Explained) -> None:
    """T6: the rows behind a request."""
    known = await identity.get_known(
        explained,  # type: ignore[arg-type]
        a_principal(user_id="user_7", org_id="org_7"),
    )

    assert known.role == "admin"
    assert explained.scanned() == set(), explained.shown()
    assert "identities_pkey" in explained.indexes()
