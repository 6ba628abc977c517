"""A `sub` of Clerk or WorkOS is no uuid: what Supabase's functions choke on, ours never call."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from tenure.sandbox.supabase.database import prepare
from tests.conftest import recreate
from tests.tenancy.guard import Conn, tenant_tables
from tests.tenancy.rows import ADA, A, seed

ROOT = Path(__file__).parents[2]
SUBJECTS = ["user_2abcDEF", "user_01HZZZ", "", "11111111-1111-1111-1111-111111111111"]


@pytest.fixture(scope="module")
def project(admin: str, template: str) -> str:
    """A database with two tenants' rows and the `auth` schema of Supabase."""
    url = recreate(admin, f"{template}_policies", template)
    prepare(url)
    with psycopg.connect(url, row_factory=dict_row) as conn:
        seed(conn)
    return url


@pytest.fixture
def conn(project: str) -> Iterator[Conn]:
    with psycopg.connect(project, row_factory=dict_row) as opened:
        yield opened
        opened.rollback()


def as_tenant(conn: Conn, sub: str) -> None:
    conn.execute(
        """
        SELECT set_config('role', 'tenure_app', true),
               set_config('tenure.org_id', %s, true), set_config('tenure.user_id', %s, true),
               set_config('request.jwt.claims', %s, true)
        """,
        (str(A), str(ADA), json.dumps({"sub": sub, "role": "authenticated"})),
    )


@pytest.mark.parametrize("sub", SUBJECTS)
def test_no_policy_of_ours_minds_whose_token_it_is(conn: Conn, sub: str) -> None:
    """supabase#29609, supabase#29135: every tenant table is read and written with such a token."""
    tables = tenant_tables(conn)
    as_tenant(conn, sub)
    read = 0
    for table in tables:
        name = sql.Identifier("tenure", table)
        may = conn.execute(
            "SELECT has_table_privilege('tenure_app', %s, 'SELECT') AS may", (f"tenure.{table}",)
        ).fetchone()
        assert may is not None
        if may["may"]:
            read += len(conn.execute(sql.SQL("SELECT * FROM {}").format(name)).fetchall())
    assert read > len(tables) / 2, "and there was something to judge"


def test_what_others_build_on_does_choke_on_it(conn: Conn) -> None:
    """The test above can fail: with `auth.uid()` in a policy it would."""
    conn.execute(
        "CREATE POLICY chokes ON tenure.users AS RESTRICTIVE TO tenure_app USING (auth.uid() = id);"
        "GRANT USAGE ON SCHEMA auth TO tenure_app"
    )
    as_tenant(conn, "user_2abcDEF")
    with pytest.raises(psycopg.errors.InvalidTextRepresentation, match="uuid"):
        conn.execute("SELECT * FROM tenure.users")


def test_no_sql_of_ours_asks_supabase_who_is_asking() -> None:
    ours = list((ROOT / "db").rglob("*.sql"))
    assert ours
    assert [path.name for path in ours if "auth.uid" in path.read_text(encoding="utf-8")] == []
