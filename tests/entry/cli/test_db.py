import psycopg
import pytest

from tenure.schema import changes
from tests.entry.cli.conftest import Run

EVERY = [change.name for change in changes.load()]


def test_apply_creates_everything_and_status_lists_it(run: Run, empty: str) -> None:
    """S1: one command creates every table, index and function; one lists them."""
    before = run("db", "status", "--json", DATABASE_URL=empty)
    assert before.status == 1
    assert not before.json["is_whole"]

    applied = run("db", "apply", DATABASE_URL=empty)
    assert applied.status == 0
    assert all(name in applied.out for name in EVERY)

    after = run("db", "status", DATABASE_URL=empty)
    assert after.status == 0
    assert "tenure.stripe_customers" in after.out
    assert "0 missing" in after.out
    assert "MISSING" not in after.out

    again = run("db", "apply", "--json", DATABASE_URL=empty)
    assert again.json == {"done": [], "applied": EVERY, "pending": []}


def test_status_says_what_is_missing(run: Run, url: str) -> None:
    """S1: ... and says what is missing."""
    with psycopg.connect(url) as conn:
        conn.execute("DROP INDEX tenure.inbox_received_at")
    said = run("db", "status", DATABASE_URL=url)
    assert said.status == 1
    assert "MISSING index tenure.inbox_received_at" in said.out
    assert "1 missing" in said.out


def test_back_asks_before_data_is_lost(run: Run, url: str) -> None:
    said = run("db", "back", "--to", "3", DATABASE_URL=url)
    assert said.status == 2
    assert "cli.not_confirmed" in said.err
    assert run("db", "status", DATABASE_URL=url).status == 0

    done = run("db", "back", "--to", "3", "--yes", "--json", DATABASE_URL=url)
    assert done.status == 0
    assert done.json["applied"] == EVERY[:3]
    assert [one["change"] for one in done.json["done"]] == EVERY[:2:-1]
    assert run("db", "back", "--to", "3", DATABASE_URL=url).status == 0, "nothing to lose"


def test_apply_stops_where_it_is_told(run: Run, empty: str) -> None:
    said = run("db", "apply", "--to", "2", "--json", DATABASE_URL=empty)
    assert said.json["applied"] == EVERY[:2]


def test_the_direct_address_is_used_where_it_is_set(run: Run, empty: str) -> None:
    """B7: the schema is moved around the pooler."""
    pooler = "postgresql://nobody:nothing@127.0.0.1:1/none"
    said = run("db", "apply", DATABASE_URL=pooler, DATABASE_DIRECT_URL=empty)
    assert said.status == 0


def test_sql_prints_a_script_that_status_knows_of(run: Run, empty: str) -> None:
    """S1: what a Supabase user puts into supabase/migrations."""
    script = run("db", "sql")
    assert script.status == 0
    with psycopg.connect(empty, autocommit=True) as conn:
        conn.execute(script.out)
    assert run("db", "status", DATABASE_URL=empty).status == 0
    rest = run("db", "sql", "--from", "4", "--json").json
    assert rest["changes"] == EVERY[3:]
    assert "0003_jobs" not in rest["sql"]


def test_no_server_is_status_2(run: Run) -> None:
    said = run("db", "status", "--json", DATABASE_URL="postgresql://a:hunter2@127.0.0.1:1/none")
    assert said.status == 2
    assert said.json["error"]["code"] == "schema.cannot_look"
    assert "hunter2" not in said.out


@pytest.fixture
def audited(url: str) -> str:
    with psycopg.connect(url) as conn:
        for org in (1, 1, 1, 2):
            conn.execute(
                "INSERT INTO tenure.audit_log (org_id, at, actor, action, subject)"
                " VALUES (%s, now(), 'test', 'did', 'something')",
                (f"00000000-0000-0000-0000-00000000000{org}",),
            )
    return url


def test_an_untouched_audit_log_holds(run: Run, audited: str) -> None:
    """A4: the hash chain can be verified."""
    said = run("db", "audit", "verify", DATABASE_URL=audited)
    assert (said.status, said.out) == (0, "2 chains hold\n")


@pytest.mark.parametrize("database", ["away", "without our tables"])
def test_an_audit_log_that_cannot_be_read_is_not_a_broken_one(
    run: Run, empty: str, database: str
) -> None:
    """A4: exit status 2, could not look; 1 would say that a chain does not hold."""
    url = "postgresql://127.0.0.1:1/none" if database == "away" else empty
    said = run("db", "audit", "verify", DATABASE_URL=url)
    assert (said.status, said.out) == (2, "")
    code = "schema.cannot_look" if database == "away" else "schema.not_applied"
    assert said.err.startswith(f"{code}: ")


def test_a_changed_audit_line_is_found(run: Run, audited: str) -> None:
    """A4: whoever changes a line is found out."""
    with psycopg.connect(audited) as conn:
        conn.execute("ALTER TABLE tenure.audit_log DISABLE TRIGGER audit_refuse")
        conn.execute("UPDATE tenure.audit_log SET actor = 'other' WHERE seq = 2")
    said = run("db", "audit", "verify", "--json", DATABASE_URL=audited)
    assert said.status == 1
    (link,) = said.json["broken"]
    assert (link["seq"], link["why"]) == (2, "changed")
    other = "00000000-0000-0000-0000-000000000002"
    only = run("db", "audit", "verify", "--org", other, "--json", DATABASE_URL=audited)
    assert (only.status, only.json) == (0, {"chains": 1, "broken": []})
