"""Every tenant table and every role: nobody else's rows are read or written."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.conftest import at, recreate

from .guard import Conn, tenant_tables, unguarded
from .rows import ADA, BOB, A, B, seed

ROLES = ["tenure_app", "tenure_reader"]
SCOPES = {"organization": (A, ADA), "organization alone": (A, None), "user alone": (None, ADA)}
TABLES = [  # the catalog has the last word: see the first test
    *("audit_log", "customer_intents", "decisions", "entitlements", "identities"),
    *("membership_history", "memberships", "news", "organizations", "payment_methods", "seats"),
    *("stripe_customers", "subscription_items", "subscriptions", "users"),
]
HIDDEN = {("tenure_reader", "news"), ("tenure_app", "decisions")}  # nothing to see there at all


@pytest.fixture(scope="module")
def seeded(admin: str, template: str) -> Iterator[str]:
    """A database with rows of both tenants in every table; tests roll back what they do."""
    url = recreate(admin, f"{template}_tenants", template)
    with psycopg.connect(url, row_factory=dict_row) as conn:
        seed(conn)
    yield url
    with psycopg.connect(at(url, "postgres"), autocommit=True) as conn:
        conn.execute(
            sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(f"{template}_tenants"))
        )


@pytest.fixture
def conn(seeded: str) -> Iterator[Conn]:
    with psycopg.connect(seeded, row_factory=dict_row) as opened:
        yield opened
        opened.rollback()


def enter(conn: Conn, role: str, org: UUID | None, person: UUID | None) -> None:
    conn.execute(
        """
        SELECT set_config('role', %s, true), set_config('tenure.org_id', %s, true),
               set_config('tenure.user_id', %s, true)
        """,
        (role, str(org or ""), str(person or "")),
    )


def query(text: str, table: str, owners: list[str]) -> sql.Composed:
    """Fill in a table and, as {whose}, the test for rows of the other organization or user."""
    of_b = [sql.SQL("{} IN (%(b)s, %(bob)s)").format(sql.Identifier(name)) for name in owners]
    return sql.SQL(text).format(  # type: ignore[arg-type]
        table=sql.Identifier("tenure", table),
        owner=sql.Identifier(owners[0]),
        theirs=sql.SQL(" OR ").join(of_b),
    )


def owners_of(conn: Conn, table: str) -> list[str]:
    return tenant_tables(conn)[table]


PARAMS = {"b": B, "bob": BOB}
SCOPED = pytest.mark.parametrize("scope", list(SCOPES.values()), ids=list(SCOPES))
EVERY_ROLE = pytest.mark.parametrize("role", ROLES)
EVERY_TABLE = pytest.mark.parametrize("table", TABLES)


def test_every_table_that_names_an_owner_is_tested_here(conn: Conn) -> None:
    """A10: a new tenant table fails this test until it is seeded and listed."""
    found = tenant_tables(conn)

    assert list(found) == TABLES
    for table, owners in found.items():
        theirs = query("SELECT FROM {table} WHERE {theirs}", table, owners)
        assert conn.execute(theirs, PARAMS).rowcount > 0, f"seed {table}"


def test_nothing_is_unguarded(conn: Conn) -> None:
    """A10, M4: row-level security on every tenant table, nothing for PUBLIC."""
    assert unguarded(conn) == []


@pytest.mark.parametrize(
    ("hole", "seen"),
    [
        ("CREATE TABLE tenure.leaky (org_id uuid)", "leaky is not guarded"),
        ("CREATE TABLE tenure.leaky (user_id uuid)", "leaky is not guarded"),
        ("ALTER TABLE tenure.users DISABLE ROW LEVEL SECURITY", "users is not guarded"),
        ("CREATE VIEW tenure.leaky AS TABLE tenure.memberships", "leaky is not guarded"),
        (
            "GRANT SELECT ON tenure.revoked_sessions TO tenure_app",
            "revoked_sessions is open, and row-level security cannot guard it",
        ),
        (
            "GRANT UPDATE (user_id) ON tenure.revoked_sessions TO tenure_reader",
            "revoked_sessions is open, and row-level security cannot guard it",
        ),
        (
            "CREATE MATERIALIZED VIEW tenure.leaky AS TABLE tenure.memberships",
            "leaky is not guarded",
        ),
        ("GRANT SELECT ON tenure.budgets TO PUBLIC", "PUBLIC has relation budgets: SELECT"),
        ("GRANT SELECT (body) ON tenure.inbox TO PUBLIC", "PUBLIC has column inbox.body: SELECT"),
        ("GRANT USAGE ON SCHEMA tenure TO PUBLIC", "PUBLIC has schema tenure: USAGE"),
        (
            "CREATE FUNCTION tenure.leaky() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "PUBLIC has function leaky: EXECUTE",
        ),
        (
            """
            ALTER FUNCTION tenure.audit_link SECURITY DEFINER;
            GRANT EXECUTE ON FUNCTION tenure.audit_link TO tenure_app
            """,
            "runs as its owner: tenure.audit_link() by tenure_app",
        ),
    ],
)
def test_a_hole_is_found(conn: Conn, hole: str, seen: str) -> None:
    """A10: the check itself, shown to fail."""
    conn.execute(hole)  # type: ignore[arg-type]

    assert seen in unguarded(conn)


@EVERY_TABLE
@EVERY_ROLE
@SCOPED
def test_rows_of_others_are_not_seen(
    conn: Conn, table: str, role: str, scope: tuple[UUID | None, UUID | None]
) -> None:
    """A10, M6, B7: reading."""
    theirs = query("SELECT * FROM {table} WHERE {theirs}", table, owners_of(conn, table))
    enter(conn, role, *scope)

    if (role, table) in HIDDEN:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(theirs, PARAMS)
    else:
        assert conn.execute(theirs, PARAMS).fetchall() == []


@pytest.mark.parametrize(
    ("role", "table"),
    [(role, name) for role in ROLES for name in TABLES if (role, name) not in HIDDEN],
)
def test_rows_of_ones_own_are_seen(conn: Conn, table: str, role: str) -> None:
    """A10: the guard lets through what it must."""
    enter(conn, role, A, ADA)

    everything = query("SELECT * FROM {table}", table, ["id"])
    assert conn.execute(everything).fetchall() != []


@EVERY_TABLE
@EVERY_ROLE
def test_without_a_scope_nothing_is_seen(conn: Conn, table: str, role: str) -> None:
    """A10: a handler that forgot its scope sees nothing, rather than everything."""
    everything = query("SELECT * FROM {table}", table, ["id"])
    enter(conn, role, None, None)

    if (role, table) in HIDDEN:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(everything)
    else:
        assert conn.execute(everything).fetchall() == []


@EVERY_TABLE
@EVERY_ROLE
@SCOPED
@pytest.mark.parametrize(
    "act",
    ["UPDATE {table} SET {owner} = {owner} WHERE {theirs}", "DELETE FROM {table} WHERE {theirs}"],
    ids=["update", "delete"],
)
def test_rows_of_others_are_not_changed_or_removed(
    conn: Conn, table: str, role: str, scope: tuple[UUID | None, UUID | None], act: str
) -> None:
    """A10, M6: writing."""
    statement = query(act, table, owners_of(conn, table))
    enter(conn, role, *scope)

    assert _touched(conn, statement) == 0


@EVERY_TABLE
@EVERY_ROLE
@SCOPED
def test_rows_for_others_are_not_added(
    conn: Conn, table: str, role: str, scope: tuple[UUID | None, UUID | None]
) -> None:
    """A10, M6: adding; a copy of their own rows is refused before it collides with them."""
    owners = owners_of(conn, table)
    theirs = conn.execute(
        query("SELECT to_jsonb(t) AS row FROM {table} t WHERE {theirs}", table, owners), PARAMS
    ).fetchall()
    add = sql.SQL(
        """
        INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
        SELECT {columns} FROM jsonb_populate_record(NULL::{table}, %(row)s)
        """
    ).format(table=sql.Identifier("tenure", table), columns=_columns(conn, table))
    enter(conn, role, *scope)

    assert theirs
    for row in theirs:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
            conn.execute(add, {"row": Jsonb(row["row"])})


@EVERY_TABLE
@EVERY_ROLE
@SCOPED
def test_rows_of_ones_own_are_not_given_to_others(
    conn: Conn, table: str, role: str, scope: tuple[UUID | None, UUID | None]
) -> None:
    """A10: not even by moving them."""
    owners = owners_of(conn, table)
    give = query(f"UPDATE {{table}} SET {owners[0]} = %(b)s", table, owners)  # noqa: S608 (our own names)
    enter(conn, role, *scope)

    assert _touched(conn, give) == 0


@EVERY_TABLE
@pytest.mark.parametrize("role", [*ROLES, "tenure_worker"])
def test_no_table_can_be_emptied(conn: Conn, table: str, role: str) -> None:
    """A10: TRUNCATE knows no row-level security, so nobody has it."""
    enter(conn, role, A, ADA)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(query("TRUNCATE {table} CASCADE", table, ["id"]))


@EVERY_TABLE
def test_the_worker_sees_both_organizations_on_purpose(conn: Conn, table: str) -> None:
    """M6: reconcilers work for everybody."""
    owners = owners_of(conn, table)
    enter(conn, "tenure_worker", None, None)

    found = conn.execute(query("SELECT * FROM {table}", table, owners)).fetchall()
    named = {row[owner] for row in found for owner in owners}
    assert named & {A, ADA}
    assert named & {B, BOB}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "table",
    [
        *("customer_intents", "stripe_customers", "payment_methods", "subscriptions"),
        *("subscription_items", "entitlements"),
    ],
)
@pytest.mark.parametrize("act", ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"])
def test_only_trusted_server_code_writes_what_was_bought(
    conn: Conn, role: str, table: str, act: str
) -> None:
    """T4: no client role can write the mapping, not even its own rows."""
    asked = conn.execute(
        "SELECT has_table_privilege(%s, %s, %s) AS may", (role, f"tenure.{table}", act)
    )
    assert asked.fetchone() == {"may": False}


@EVERY_ROLE
@pytest.mark.parametrize(
    "act",
    [
        """
        INSERT INTO tenure.stripe_customers (org_id, stripe_customer_id, livemode)
        VALUES ('00000000-0000-0000-0000-00000000000a', 'cus_mine', true)
        """,
        "UPDATE tenure.stripe_customers SET stripe_customer_id = 'cus_orgb'",
        "DELETE FROM tenure.stripe_customers",
    ],
    ids=["insert", "update", "delete"],
)
def test_a_client_role_that_tries_to_write_the_mapping_is_refused(
    conn: Conn, role: str, act: str
) -> None:
    """T4: shown by doing."""
    enter(conn, role, A, ADA)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(act)  # type: ignore[arg-type]


def test_a_colleague_is_seen_and_a_stranger_is_not(conn: Conn) -> None:
    """A10: people are seen by the organization they belong to."""
    enter(conn, "tenure_app", A, None)
    assert [row["id"] for row in conn.execute("SELECT id FROM tenure.users")] == [ADA]

    enter(conn, "tenure_app", None, BOB)
    assert [row["id"] for row in conn.execute("SELECT id FROM tenure.users")] == [BOB]


WHO_BELONGS_WHERE = ("organizations", "users", "memberships", "membership_history", "seats")


@pytest.mark.parametrize("table", WHO_BELONGS_WHERE)
def test_who_belongs_where_is_written_by_no_request(conn: Conn, table: str) -> None:
    """A10, M6: a role, a seat or a ban is no row that a tenant's own request may change."""
    may = conn.execute(
        "SELECT has_any_column_privilege('tenure_app', %s, 'INSERT, UPDATE') AS may,"
        " has_table_privilege('tenure_app', %s, 'DELETE, TRUNCATE') AS more",
        (f"tenure.{table}", f"tenure.{table}"),
    )
    assert may.fetchone() == {"may": False, "more": False}


@pytest.mark.parametrize("column", ["body", "kind", "subject_id", "note"])
@EVERY_ROLE
def test_a_request_reads_no_events(conn: Conn, role: str, column: str) -> None:
    """A10: events carry everybody's data, so no scoped role reads them."""
    asked = conn.execute(
        "SELECT has_column_privilege(%s, 'tenure.inbox', %s, 'SELECT') AS may", (role, column)
    )
    assert asked.fetchone() == {"may": False}


@pytest.mark.parametrize("column", ["last_error", "fence", "settled_seq", "lease_until"])
@EVERY_ROLE
def test_a_request_marks_subjects_and_no_more(conn: Conn, role: str, column: str) -> None:
    """A10: subjects are everybody's: a scoped role cannot settle one, nor take its lease."""
    may = conn.execute(
        """
        SELECT has_column_privilege(%(role)s, 'tenure.subjects', %(column)s, 'UPDATE') AS change,
               has_column_privilege(%(role)s, 'tenure.subjects', 'last_error', 'SELECT') AS read
        """,
        {"role": role, "column": column},
    )
    assert may.fetchone() == {"change": False, "read": False}


@pytest.mark.parametrize(
    "table", ["tombstones", "revoked_sessions", "event_cursors", "walks", "walk_seen", "sessions"]
)
@EVERY_ROLE
def test_what_is_known_of_providers_is_the_workers_alone(conn: Conn, role: str, table: str) -> None:
    """A10: tables without an owner are closed to every scoped role."""
    asked = conn.execute(
        """
        SELECT has_table_privilege(%(role)s, %(table)s,
                                   'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
            OR has_any_column_privilege(%(role)s, %(table)s, 'SELECT, INSERT, UPDATE, REFERENCES')
            AS may
        """,
        {"role": role, "table": f"tenure.{table}"},
    )
    assert asked.fetchone() == {"may": False}


@pytest.mark.parametrize("column", ["bought", "fixed", "org_id"])
def test_a_request_counts_seats_and_sets_no_limit(conn: Conn, column: str) -> None:
    """A10, M6: what was bought, and what was set by hand, no scoped role can write."""
    asked = conn.execute(
        "SELECT has_column_privilege('tenure_app', 'tenure.seats', %s, 'UPDATE') AS may", (column,)
    )
    assert asked.fetchone() == {"may": False}


@pytest.mark.parametrize("role", [*ROLES, "tenure_worker", "tenure_owner"])
@pytest.mark.parametrize(
    "act",
    [
        "UPDATE tenure.membership_history SET cause = 'other'",
        "DELETE FROM tenure.membership_history",
        "TRUNCATE tenure.membership_history",
    ],
)
def test_the_history_of_memberships_is_append_only(conn: Conn, role: str, act: str) -> None:
    """A10, M7: for every role, its owner among them."""
    enter(conn, role, A, ADA)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(act)  # type: ignore[arg-type]


def test_a_request_sees_the_head_of_its_own_chains_only(conn: Conn) -> None:
    """A10: how busy others are is nobody's business."""
    enter(conn, "tenure_app", A, ADA)
    chains = {row["chain"] for row in conn.execute("SELECT chain FROM tenure.audit_heads")}
    assert chains == {A, ADA}


def _columns(conn: Conn, table: str) -> sql.Composed:
    """List the columns that can be given."""
    found = conn.execute(
        """
        SELECT attname::text AS name FROM pg_attribute
         WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
        """,
        (f"tenure.{table}",),
    )
    return sql.SQL(", ").join(sql.Identifier(row["name"]) for row in found)


def _touched(conn: Conn, statement: sql.Composed, **more: Any) -> int:
    """Say how many rows a statement changed; none where it was refused."""
    try:
        with conn.transaction():
            return conn.execute(statement, PARAMS | more).rowcount
    except psycopg.errors.InsufficientPrivilege:
        return 0
