"""What hangs on a user: every foreign key of the database, in any schema."""

from typing import LiteralString

import pytest

from tenure.base.db import Db
from tenure.identity.reference_lint import Finding, lint
from tenure.identity.references import (
    AUTH_USERS,
    USERS,
    Action,
    Effect,
    Table,
    effects,
    list_keys,
)

from .builders import Registry, a_membership, a_user

APP: LiteralString = """
    CREATE SCHEMA app;
    CREATE TABLE app.notes (
        id bigint PRIMARY KEY, owner uuid REFERENCES tenure.users ON DELETE CASCADE,
        parent bigint REFERENCES app.notes ON DELETE CASCADE);
    CREATE TABLE app.likes (note bigint REFERENCES app.notes ON DELETE CASCADE,
                            who uuid REFERENCES tenure.users ON DELETE CASCADE);
    CREATE TABLE app.posts (id bigint, author uuid REFERENCES tenure.users ON DELETE SET NULL);
    CREATE TABLE app.orders (id bigint, buyer uuid NOT NULL REFERENCES tenure.users);
    """
SUPABASE: LiteralString = """
    CREATE SCHEMA auth;
    CREATE TABLE auth.users (id uuid PRIMARY KEY, email text);
    CREATE TABLE auth.sessions (id uuid, user_id uuid REFERENCES auth.users ON DELETE CASCADE);
    CREATE TABLE public.profiles (id uuid PRIMARY KEY REFERENCES auth.users ON DELETE CASCADE);
    CREATE TABLE public.messages (id bigint, author uuid REFERENCES auth.users);
    CREATE TABLE public.invoices (id bigint, profile uuid REFERENCES public.profiles
                                             ON DELETE CASCADE);
    """


async def run(db: Db, statements: LiteralString, *params: object) -> None:
    async with db.transaction() as tx:
        await tx.execute(statements, params or None)


@pytest.fixture
async def registry(db: Db) -> Registry:
    made = Registry(db=db)
    await made.put_user(a_user())
    await made.put(a_membership())
    return made


async def found(registry: Registry) -> dict[str, Effect]:
    """Say what hangs on user 1, by table and column."""
    user_id = await registry.user_id()
    async with registry.db.transaction() as tx:
        every = await effects(tx, await list_keys(tx), USERS, str(user_id))
    return {f"{e.key.table}.{e.key.columns[0]}": e for e in every}


async def findings(db: Db) -> list[Finding]:
    async with db.transaction() as tx:
        return await lint(tx)


async def test_every_row_is_counted_once_whatever_way_leads_to_it(
    db: Db, registry: Registry
) -> None:
    """M10: the rows behind every key, through cascades, circles and two ways to one row."""
    user_id = await registry.user_id()
    await run(db, APP)
    # A tree of notes that is hers only at the root; a like that goes with the note and with her.
    await run(
        db,
        """
        WITH her AS (SELECT %s::uuid AS id),
             notes AS (INSERT INTO app.notes SELECT 1, id, NULL FROM her),
             answers AS (INSERT INTO app.notes VALUES (2, NULL, 1), (3, NULL, 2), (4, NULL, NULL)),
             likes AS (INSERT INTO app.likes SELECT n, id FROM her, generate_series(3, 4) n),
             posts AS (INSERT INTO app.posts SELECT n, id FROM her, generate_series(1, 5) n)
        INSERT INTO app.orders SELECT n, id FROM her, generate_series(1, 7) n
        """,
        user_id,
    )

    every = await found(registry)

    counts = {name: (e.rows, e.key.action) for name, e in every.items() if name.startswith("app")}
    assert counts == {
        "app.notes.owner": (1, Action.CASCADE),
        "app.notes.parent": (2, Action.CASCADE),
        "app.likes.note": (1, Action.CASCADE),
        "app.likes.who": (2, Action.CASCADE),
        "app.posts.author": (5, Action.SET_NULL),
        "app.orders.buyer": (7, Action.NO_ACTION),
    }
    assert every["tenure.identities.user_id"].rows == 1
    assert every["tenure.memberships.user_id"].rows == 1
    assert every["tenure.membership_history.user_id"].rows == 1


async def test_rows_of_partitions_are_counted(db: Db, registry: Registry) -> None:
    user_id = await registry.user_id()
    await run(
        db,
        """
        CREATE SCHEMA app;
        CREATE TABLE app.visits (who uuid REFERENCES tenure.users ON DELETE CASCADE, at int,
                                 PRIMARY KEY (who, at)) PARTITION BY RANGE (at);
        CREATE TABLE app.early PARTITION OF app.visits FOR VALUES FROM (0) TO (10);
        CREATE TABLE app.late PARTITION OF app.visits FOR VALUES FROM (10) TO (20);
        CREATE TABLE app.pages (who uuid, at int, FOREIGN KEY (who, at) REFERENCES app.visits
                                                  ON DELETE CASCADE);
        """,
    )
    await run(
        db,
        """
        WITH visits AS (INSERT INTO app.visits SELECT %s, n FROM generate_series(5, 14) n
                        RETURNING who, at)
        SELECT count(*) FROM visits
        """,
        user_id,
    )
    await run(db, "INSERT INTO app.pages SELECT who, at FROM app.visits, generate_series(1, 3)")

    every = await found(registry)

    assert (every["app.visits.who"].rows, every["app.pages.who"].rows) == (10, 30)
    assert {e.key.table for e in every.values()} >= {Table("app", "visits")}


async def test_rows_that_a_policy_hides_are_not_called_none(db: Db, registry: Registry) -> None:
    """A count that row-level security made small would be a lie."""
    user_id = await registry.user_id()
    await run(db, APP)
    await run(db, "INSERT INTO app.notes VALUES (1, %s, NULL)", user_id)
    await run(
        db,
        """
        ALTER TABLE app.notes ENABLE ROW LEVEL SECURITY;
        GRANT USAGE ON SCHEMA app TO tenure_worker;
        GRANT SELECT ON app.notes, app.posts TO tenure_worker;
        """,
    )

    async with db.transaction() as tx:
        await tx.execute("SET LOCAL ROLE tenure_worker")
        every = await effects(tx, await list_keys(tx), USERS, str(user_id))

    rows = {f"{e.key.table}.{e.key.columns[0]}": e.rows for e in every}
    assert rows["app.notes.owner"] is None
    assert rows["app.orders.buyer"] is None
    assert rows["app.posts.author"] == 0
    assert rows["tenure.identities.user_id"] == 1


async def test_nothing_hangs_on_nobody(registry: Registry) -> None:
    async with registry.db.transaction() as tx:
        every = await effects(
            tx, await list_keys(tx), USERS, "00000000-0000-0000-0000-000000000000"
        )

    assert {e.rows for e in every} == {0}


async def test_a_good_database_has_nothing_to_mend(db: Db) -> None:
    assert await findings(db) == []


async def test_deleting_a_user_in_supabase_fails_with_database_error_deleting_user(db: Db) -> None:
    """M10: supabase#30879, supabase#1948 and auth#1033: NO ACTION on auth.users; named before."""
    await run(db, SUPABASE)

    blocking = [one for one in await findings(db) if one.rule == "blocks"]

    assert [one.where for one in blocking] == ["public.messages(author) → auth.users"]
    assert blocking[0].level == "wrong"
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO auth.users VALUES ('00000000-0000-0000-0000-000000000001')")
        await tx.execute(
            "INSERT INTO public.messages VALUES (1, '00000000-0000-0000-0000-000000000001')"
        )
        every = await effects(
            tx, await list_keys(tx), AUTH_USERS, "00000000-0000-0000-0000-000000000001"
        )
    (held,) = [e for e in every if e.key.table.name == "messages"]
    assert (held.rows, held.left) == (1, 1)


async def test_bills_do_not_go_with_a_profile(db: Db) -> None:
    """M10: a cascade that reaches bills by way of another table is found."""
    await run(db, SUPABASE)

    by_rule = {one.rule: one.where for one in await findings(db)}

    assert by_rule["takes_evidence"] == "public.invoices(profile) → public.profiles"
    assert by_rule["takes_along"] == "public.profiles(id) → auth.users"


async def test_supabase_s_own_tables_are_its_own_affair(db: Db) -> None:
    await run(db, SUPABASE)

    assert not [one for one in await findings(db) if "sessions" in one.where]


async def test_records_that_would_go_with_a_user_of_ours_are_named(db: Db) -> None:
    await run(
        db,
        """
        CREATE SCHEMA app;
        CREATE TABLE app.audit_events (who uuid REFERENCES tenure.users ON DELETE CASCADE);
        CREATE TABLE app.blogs (who uuid REFERENCES tenure.users ON DELETE CASCADE);
        """,
    )

    (one,) = await findings(db)

    assert (one.rule, one.level) == ("takes_evidence", "wrong")
    assert "RESTRICT" in one.fix


async def test_what_a_cascade_could_not_delete_is_named(db: Db) -> None:
    await run(db, APP)
    await run(db, "CREATE TABLE app.pins (note bigint REFERENCES app.notes ON DELETE RESTRICT)")

    (one,) = await findings(db)

    assert (one.rule, one.where) == ("blocks", "app.pins(note) → app.notes")


async def test_keys_on_a_provider_s_ids_break_when_the_provider_changes(db: Db) -> None:
    await run(
        db,
        """
        CREATE SCHEMA app;
        CREATE TABLE app.notes (provider text, person text,
            FOREIGN KEY (provider, person) REFERENCES tenure.identities);
        """,
    )

    (one,) = await findings(db)

    assert (one.rule, one.level) == ("on_provider_id", "doubtful")


async def test_invalid_input_syntax_for_type_uuid(db: Db) -> None:
    """M10: supabase#29609 and #29135: a uuid column holds no user_2x, nor can auth.uid()."""
    await run(
        db,
        """
        CREATE SCHEMA auth;
        CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid';
        CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
        CREATE TABLE public.tasks (id uuid, clerk_user_id uuid, owner uuid DEFAULT auth.uid());
        """,
    )

    by_column = {one.where: one for one in await findings(db)}

    assert set(by_column) == {"public.tasks.clerk_user_id", "public.tasks.owner"}
    assert {one.rule for one in by_column.values()} == {"uuid_for_provider_id"}
    assert "auth.jwt()" in by_column["public.tasks.owner"].fix
    for one in by_column.values():
        await run(db, one.fix)  # type: ignore[arg-type]
    assert await findings(db) == []


async def test_a_fix_is_a_statement_that_mends(db: Db) -> None:
    """It can be run as it stands, whatever the tables are called."""
    await run(db, APP)
    await run(
        db,
        """
        CREATE TABLE app.user_history ("by" uuid REFERENCES tenure.users ON DELETE CASCADE);
        CREATE TABLE app."The_Log" (note bigint, CONSTRAINT "it's ""1" FOREIGN KEY (note)
                                                 REFERENCES app.notes ON DELETE CASCADE);
        CREATE TABLE app.pins (note bigint REFERENCES app.notes ON DELETE RESTRICT);
        """,
    )
    wrong = await findings(db)
    assert {one.rule for one in wrong} == {"takes_evidence", "blocks"}

    for one in wrong:
        await run(db, one.fix)  # type: ignore[arg-type]

    assert await findings(db) == []


@pytest.mark.parametrize(
    ("name", "is_evidence"),
    [
        (Table("app", "invoices"), True),
        (Table("billing", "x"), True),
        (Table("app", "audit_log"), True),
        (Table("app", "payment_attempts"), True),
        (Table("app", "blogs"), False),
        (Table("app", "catalogs"), False),
        (Table("public", "taxonomy"), False),
        (Table("tenure", "memberships"), True),
    ],
)
def test_what_looks_like_bills_or_records(name: Table, is_evidence: bool) -> None:  # noqa: FBT001 (a table of cases)
    assert name.is_evidence is is_evidence
