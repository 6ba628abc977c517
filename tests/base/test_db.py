import asyncio
from uuid import UUID

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from tenure.base.db import DatabaseAway, Db, Scope, Tx, is_away, open_pool
from tests.conftest import Frail, recreate
from tests.journal.builders import until

A, ADA = UUID(int=0xA), UUID(int=0xADA)
TABLE = "CREATE TABLE noted (n int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)"


@pytest.fixture
async def noted(db: Db) -> Db:
    async with db.statement() as tx:
        await tx.execute(TABLE)
    return db


async def note(db: Db, *numbers: int) -> None:
    async with db.transaction() as tx:
        for n in numbers:
            await tx.execute("INSERT INTO noted VALUES (%s)", (n,))


async def read(db: Db) -> list[int]:
    async with db.statement() as tx:
        cur = await tx.execute("SELECT n FROM noted ORDER BY n")
        return [row["n"] for row in await cur.fetchall()]


async def one(tx: Tx) -> object:
    row = await (await tx.execute("SELECT 1 AS one")).fetchone()
    return row and row["one"]


async def ask(db: Db) -> object:
    async with db.statement() as tx:
        return await one(tx)


async def answers(db: Db) -> bool:
    try:
        return await ask(db) == 1
    except DatabaseAway:
        return False


async def test_a_transaction_commits_what_was_written(noted: Db) -> None:
    await note(noted, 1, 2)

    assert await read(noted) == [1, 2]


async def test_any_exception_rolls_everything_back(noted: Db) -> None:
    with pytest.raises(psycopg.errors.NotNullViolation):
        await note(noted, 1, None)  # type: ignore[arg-type]

    assert await read(noted) == []


async def test_a_failure_at_the_commit_is_told_and_nothing_is_written(noted: Db) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):  # the check waits until the commit
        await note(noted, 1, 1)

    assert await read(noted) == []


async def test_each_statement_is_a_transaction_of_its_own(noted: Db) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        await _write_then_break(noted)

    assert await read(noted) == [1]


async def _write_then_break(db: Db) -> None:
    async with db.statement() as tx:
        await tx.execute("INSERT INTO noted VALUES (1)")
        await tx.execute("SELECT FROM nowhere")


async def test_a_scope_is_gone_with_its_transaction(db: Db) -> None:
    """A10: no scope leaks to the next request on the same connection."""
    state = """
        SELECT current_user::text AS role, tenure.current_org() AS org,
               tenure.current_person() AS person
        """
    async with db.transaction() as tx:
        before = await (await tx.execute(state)).fetchone()
    async with db.scoped(Scope(org_id=A, user_id=ADA, role="admin")) as tx:
        inside = await (await tx.execute(state)).fetchone()
    async with db.transaction() as tx:
        after = await (await tx.execute(state)).fetchone()

    assert inside == {"role": "tenure_app", "org": A, "person": ADA}
    assert after == before
    assert before is not None
    assert (before["org"], before["person"]) == (None, None)


async def test_a_scope_of_nobody_sees_nobody(db: Db) -> None:
    async with db.scoped(Scope(org_id=None, user_id=None)) as tx:
        query = "SELECT tenure.is_mine(%s, %s) IS TRUE AS mine"
        row = await (await tx.execute(query, (A, ADA))).fetchone()
    assert row == {"mine": False}


async def test_a_wrong_statement_is_not_mistaken_for_an_absent_database(db: Db) -> None:
    async with db.transaction() as tx:
        await tx.execute("SET LOCAL statement_timeout = '50ms'")
        with pytest.raises(psycopg.errors.QueryCanceled) as slow:
            await tx.execute("SELECT pg_sleep(30)")
        raise psycopg.Rollback
    assert not is_away(slow.value)


@pytest.mark.parametrize("way", ["transaction", "statement"])
async def test_no_free_connection_is_the_database_away(url: str, way: str) -> None:
    async with open_pool(url, size=1, timeout=1) as pool:
        db = Db(pool)
        async with db.statement():
            with pytest.raises(DatabaseAway) as away:
                async with getattr(db, way)():
                    pass
    assert isinstance(away.value.__cause__, PoolTimeout)


async def test_a_closed_pool_is_the_database_away(url: str) -> None:
    async with open_pool(url, size=1) as pool:
        db = Db(pool)
    with pytest.raises(DatabaseAway):
        await ask(db)


async def test_a_session_cut_in_the_middle_is_the_database_away(noted: Db) -> None:
    with pytest.raises(DatabaseAway):
        await _write_and_be_cut(noted)

    assert await read(noted) == []


async def _write_and_be_cut(db: Db) -> None:
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO noted VALUES (1)")
        async with db.statement() as other:
            await other.execute("SELECT pg_terminate_backend(%s)", (tx.info.backend_pid,))
        await one(tx)


async def test_a_session_cut_before_its_commit_is_the_database_away(noted: Db) -> None:
    with pytest.raises(DatabaseAway):
        await _write_and_be_cut_at_the_end(noted)

    assert await read(noted) == []


async def _write_and_be_cut_at_the_end(db: Db) -> None:
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO noted VALUES (1)")
        async with db.statement() as other:
            await other.execute("SELECT pg_terminate_backend(%s)", (tx.info.backend_pid,))


async def test_a_pool_lives_through_a_restart_of_the_server(frail: Frail) -> None:
    """B7: Postgres restarted: an error while it is away, and none afterwards."""
    url = recreate(frail.on(), "frail_db", "template0")
    async with open_pool(url, size=4, timeout=2) as pool:
        db = Db(pool)
        assert await asyncio.gather(*(ask(db) for _ in range(8))) == [1] * 8

        frail.off()
        away = await asyncio.gather(*(ask(db) for _ in range(4)), return_exceptions=True)
        assert {type(one) for one in away} == {DatabaseAway}

        frail.on()
        await until(lambda: answers(db))
        assert await asyncio.gather(*(ask(db) for _ in range(8))) == [1] * 8


async def test_a_restart_nobody_noticed_costs_nobody_an_error(frail: Frail) -> None:
    """B7: connections that died while they lay in the pool are replaced before they are lent."""
    url = recreate(frail.on(), "frail_db", "template0")
    async with open_pool(url, size=4) as pool:
        db = Db(pool)
        await asyncio.gather(*(ask(db) for _ in range(8)))

        frail.off()
        frail.on()

        assert await asyncio.gather(*(ask(db) for _ in range(8))) == [1] * 8


async def test_behind_a_pooler_no_statement_stays_prepared(url: str) -> None:
    """B7: works behind transaction poolers."""
    for pooled, expected in ((True, 0), (False, 1)):
        async with open_pool(url, size=1, pooled=pooled) as pool, Db(pool).statement() as tx:
            for _ in range(10):
                await one(tx)
            cur = await tx.execute(
                "SELECT count(*) AS n FROM pg_prepared_statements WHERE statement ~ '1 AS one'"
            )
            assert await cur.fetchone() == {"n": expected}


@pytest.mark.parametrize("later", range(4))
async def test_a_cancel_counts_though_a_connection_is_handed_over_just_then(
    url: str, later: int
) -> None:
    """T5: a worker told to stop must not go on because the pool forgot it."""
    async with open_pool(url, size=1) as pool:
        db = Db(pool)
        async with db.statement():
            waiting = asyncio.create_task(ask(db))
            await until(lambda: asyncio.sleep(0, pool.get_stats()["requests_waiting"] == 1))
        for _ in range(later):
            await asyncio.sleep(0)

        assert waiting.cancel()

        await asyncio.wait({waiting})
        assert waiting.cancelled()
        assert await answers(db)


async def test_who_cleans_up_after_a_cancel_is_lent_a_connection(noted: Db) -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await note(noted, 1)

    working = asyncio.create_task(work())
    await asyncio.sleep(0)
    working.cancel()
    await asyncio.wait({working})

    assert await read(noted) == [1]
