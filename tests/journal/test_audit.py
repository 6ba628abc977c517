import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from tenure.base.clock import StoppedClock
from tenure.base.db import Db, Scope, open_pool
from tenure.journal import audit
from tenure.journal.audit import BrokenLink
from tenure.journal.model import Entry

from .builders import rows

A, B, ADA = UUID(int=0xA), UUID(int=0xB), UUID(int=0xADA)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOBODY = UUID(int=0)
ROLES = ["tenure_owner", "tenure_app", "tenure_worker", "tenure_reader", "none"]


def an_entry(number: int = 1, **changes: object) -> Entry:
    base: dict[str, object] = {
        "org_id": A,
        "user_id": None,
        "at": NOON + timedelta(seconds=number),
        "actor": "tenure",
        "action": "subscription.changed",
        "subject": f"sub_{number}",
        "details": {"n": number, "é": [None, 1.50, {"b": 1, "a": 2}]},
    }
    return Entry(**base | changes)  # type: ignore[arg-type]


async def write(db: Db, *entries: Entry) -> None:
    async with db.transaction() as tx:
        for entry in entries:
            await audit.append(tx, entry)


async def write_scoped(db: Db, scope: Scope, entry: Entry) -> None:
    async with db.scoped(scope) as tx:
        await audit.append(tx, entry)


async def act_as(db: Db, role: str, act: LiteralString) -> None:
    async with db.transaction() as tx:
        await tx.execute("SELECT set_config('role', %s, true)", (role,))
        await tx.execute(act)


async def broken(db: Db, chain: UUID | None = None) -> list[BrokenLink]:
    async with db.transaction() as tx:
        await tx.execute("SET LOCAL ROLE tenure_worker")
        return await audit.broken_links(tx, chain)


async def lines(db: Db, chain: UUID) -> list[audit.Line]:
    async with db.transaction() as tx:
        return await audit.list_lines(tx, chain)


@pytest.fixture
def tamper(url: str) -> Iterator[psycopg.Connection]:
    """A superuser who has turned the guard off."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("ALTER TABLE tenure.audit_log DISABLE TRIGGER audit_refuse")
        yield conn


async def test_what_was_written_reads_back_in_order(db: Db) -> None:
    """A4: every change is in the audit log with time and actor."""
    await write(db, an_entry(1), an_entry(2, actor="stripe"))

    first, second = await lines(db, A)

    assert (first.seq, first.at, first.actor, first.subject) == (
        1,
        NOON + timedelta(seconds=1),
        "tenure",
        "sub_1",
    )
    assert second.actor == "stripe"
    assert second.details == an_entry(2).details


async def test_pages_of_a_chain_follow_each_other(db: Db) -> None:
    await write(db, *(an_entry(n) for n in range(1, 8)))

    async with db.transaction() as tx:
        page = await audit.list_lines(tx, A, after=3, limit=2)

    assert [line.seq for line in page] == [4, 5]


async def test_a_chain_that_nobody_touched_holds(db: Db) -> None:
    """A4: the hash chain verifies, for every kind of owner."""
    owners: list[dict[str, UUID | None]] = [
        {"org_id": A, "user_id": ADA},
        {"org_id": None, "user_id": ADA},
        {"org_id": None, "user_id": None},
        {"org_id": B, "user_id": None},
    ]
    await write(db, *(an_entry(n, **owners[n % 4]) for n in range(20)))

    assert await broken(db) == []
    assert [len(await lines(db, chain)) for chain in (A, ADA, NOBODY, B)] == [5, 5, 5, 5]


async def test_the_hash_does_not_depend_on_the_session(db: Db) -> None:
    await write(db, an_entry())
    async with db.transaction() as tx:
        await tx.execute("SET LOCAL timezone = 'Asia/Kathmandu'")
        await tx.execute("SET LOCAL datestyle = 'German'")
        await tx.execute("SET LOCAL extra_float_digits = -15")
        await tx.execute("SET LOCAL bytea_output = 'escape'")
        assert await audit.broken_links(tx) == []


async def test_nobody_chooses_the_link_or_the_hash(db: Db) -> None:
    await write(db, an_entry(1))
    async with db.transaction() as tx:
        await tx.execute(
            """
            INSERT INTO tenure.audit_log (chain, seq, org_id, at, actor, action, subject, prev_hash,
                                          hash)
            VALUES (%s, 99, %s, now(), 'x', 'x', 'x', 'false', 'false')
            """,
            (B, A),
        )

    assert [line.seq for line in await lines(db, A)] == [1, 2]
    assert await broken(db) == []


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "act",
    [
        "UPDATE tenure.audit_log SET actor = 'nobody'",
        "UPDATE tenure.audit_log SET actor = 'nobody' WHERE false",
        "DELETE FROM tenure.audit_log",
        "TRUNCATE tenure.audit_log",
        """
        INSERT INTO tenure.audit_log SELECT * FROM tenure.audit_log
            ON CONFLICT (chain, seq) DO UPDATE SET actor = 'nobody'
        """,
    ],
    ids=["update", "update of nothing", "delete", "truncate", "upsert"],
)
async def test_a_line_is_never_changed_or_removed(db: Db, role: str, act: LiteralString) -> None:
    """A4: append-only for every role, the owner and the superuser ("none") included."""
    await write(db, an_entry())

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await act_as(db, role, act)

    assert [line.actor for line in await lines(db, A)] == ["tenure"]


@pytest.mark.parametrize("role", ["tenure_app", "tenure_worker", "tenure_reader"])
async def test_the_heads_of_the_chains_cannot_be_written(db: Db, role: str) -> None:
    await write(db, an_entry())
    for act in ("UPDATE tenure.audit_heads SET seq = 9", "DELETE FROM tenure.audit_heads"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await act_as(db, role, act)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("actor", "'x'"),
        ("action", "'x'"),
        ("subject", "'x'"),
        ("details", "'{}'"),
        ("at", "at + interval '1 microsecond'"),
        ("user_id", "gen_random_uuid()"),
        ("prev_hash", "'x'"),
        ("hash", "'x'"),
        ("seq", "77"),
    ],
)
async def test_a_changed_line_is_found(
    db: Db, tamper: psycopg.Connection, column: str, value: LiteralString
) -> None:
    await write(db, *(an_entry(n) for n in range(1, 6)), an_entry(1, org_id=B))

    change = sql.SQL("UPDATE tenure.audit_log SET {} = {} WHERE chain = %s AND seq = 3")
    tamper.execute(change.format(sql.Identifier(column), sql.SQL(value)), (A,))

    found = await broken(db)
    assert BrokenLink(chain=A, seq=77 if column == "seq" else 3, why="changed") in found
    assert {link.chain for link in found} == {A}


async def test_a_line_that_was_rewritten_with_its_hash_is_found(
    db: Db, tamper: psycopg.Connection
) -> None:
    await write(db, *(an_entry(n) for n in range(1, 6)))
    tamper.execute("UPDATE tenure.audit_log SET actor = 'x' WHERE seq = 3")
    tamper.execute(
        "UPDATE tenure.audit_log a SET hash = tenure.audit_digest(prev_hash, a) WHERE seq = 3"
    )

    assert await broken(db) == [BrokenLink(chain=A, seq=4, why="missing before")]


@pytest.mark.parametrize(("gone", "seen"), [(1, 2), (3, 4)])
async def test_a_line_removed_from_the_middle_is_found(
    db: Db, tamper: psycopg.Connection, gone: int, seen: int
) -> None:
    await write(db, *(an_entry(n) for n in range(1, 6)))

    tamper.execute("DELETE FROM tenure.audit_log WHERE seq = %s", (gone,))

    assert await broken(db) == [BrokenLink(chain=A, seq=seen, why="missing before")]


@pytest.mark.parametrize("kept", [0, 3])
async def test_lines_cut_off_at_the_end_are_found(
    db: Db, tamper: psycopg.Connection, kept: int
) -> None:
    await write(db, *(an_entry(n) for n in range(1, 6)), an_entry(1, org_id=B))

    tamper.execute("DELETE FROM tenure.audit_log WHERE chain = %s AND seq > %s", (A, kept))

    assert await broken(db) == [BrokenLink(chain=A, seq=5, why="cut off")]
    assert await broken(db, B) == []


async def test_a_rolled_back_line_leaves_no_gap(db: Db) -> None:
    await write(db, an_entry(1))
    async with db.transaction() as tx:
        await audit.append(tx, an_entry(2))
        raise psycopg.Rollback
    await write(db, an_entry(3))

    assert [(line.seq, line.subject) for line in await lines(db, A)] == [(1, "sub_1"), (2, "sub_3")]
    assert await broken(db) == []


async def test_many_appends_at_once_make_chains_without_gaps(db: Db, url: str) -> None:
    """A4: concurrency neither tears a chain nor mixes two."""
    async with open_pool(url, size=8) as other:
        await asyncio.gather(
            *(
                write(one, an_entry(n, org_id=org))
                for n in range(20)
                for one, org in ((db, A), (Db(other), A), (db, B))
            )
        )

    assert [line.seq for line in await lines(db, A)] == list(range(1, 41))
    assert [line.seq for line in await lines(db, B)] == list(range(1, 21))
    assert await broken(db) == []


async def test_one_owners_transaction_does_not_wait_for_anothers(db: Db, url: str) -> None:
    async with open_pool(url, size=2) as other, Db(other).transaction() as tx:
        await audit.append(tx, an_entry(1, org_id=A))
        async with asyncio.timeout(10):
            await write(db, an_entry(1, org_id=B))

    assert len(await rows(db, "SELECT FROM tenure.audit_log")) == 2


async def test_a_scoped_request_writes_and_reads_its_own_chain_only(
    db: Db, clock: StoppedClock
) -> None:
    """A10: the app's role appends to its own organization's chain."""
    await write(db, an_entry(1, org_id=B))
    async with db.scoped(Scope(org_id=A, user_id=ADA)) as tx:
        await audit.append(tx, an_entry(1, at=clock.now()))
        assert len(await audit.list_lines(tx, A)) == 1
        assert await audit.list_lines(tx, B) == []
        assert await audit.broken_links(tx, A) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await write_scoped(db, Scope(org_id=A, user_id=ADA), an_entry(1, org_id=B))
