import psycopg
import pytest

from tenure.schema import apply, changes
from tenure.schema.check import check, present
from tests.conftest import recreate


@pytest.fixture
def empty(admin: str) -> str:
    return recreate(admin, "tenure_empty", "template0")


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url) as conn:
        for statement in statements:
            conn.execute(statement)


def missing(url: str) -> set[str]:
    report = check(url, changes.load())
    assert report.is_whole == (
        not any(not o.is_there for o in report.objects)
        and all(c.state == "applied" for c in report.changes)
    )
    return {f"{item.kind} {item.name}" for item in report.objects if not item.is_there}


def test_a_fresh_database_is_whole(url: str) -> None:
    """S1: every table, index and function is listed, and is there."""
    report = check(url, changes.load())
    assert report.is_whole
    assert {item.kind for item in report.objects} >= {"table", "index", "function", "policy"}


def test_every_object_that_stands_is_expected(url: str) -> None:
    """S1: the list is complete: nothing of ours stands that it does not name."""
    listed = {f"{o.kind} {o.name}" for o in check(url, changes.load()).objects}
    with apply.connect(url) as conn:
        there = present(conn)
        by_constraint = {
            f"index {row['name']}"
            for row in conn.execute(
                "SELECT conindid::regclass::text AS name FROM pg_constraint"
                " WHERE connamespace = 'procrastinate'::regnamespace AND conindid <> 0"
            )
        }
    unlisted = there - listed - by_constraint
    assert {name for name in unlisted if not name.startswith("trigger procrastinate.")} == set()
    assert listed <= there


def test_an_empty_database_lacks_everything(empty: str) -> None:
    report = check(empty, changes.load())
    assert {change.state for change in report.changes} == {"pending"}
    assert not any(item.is_there for item in report.objects)


@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        ("DROP INDEX tenure.inbox_received_at", "index tenure.inbox_received_at"),
        (
            "DROP TRIGGER audit_refuse ON tenure.audit_log",
            "trigger tenure.audit_log.audit_refuse",
        ),
        (
            "ALTER TABLE tenure.audit_log DISABLE TRIGGER audit_refuse",
            "trigger tenure.audit_log.audit_refuse",
        ),
        ("DROP TABLE tenure.entitlements", "table tenure.entitlements"),
        (
            "ALTER TABLE tenure.users DISABLE ROW LEVEL SECURITY",
            "row-level security tenure.users",
        ),
        ("DROP POLICY users_own ON tenure.users", "policy tenure.users.users_own"),
        (
            "DROP FUNCTION procrastinate.procrastinate_update_heartbeat_v1",
            "function procrastinate.procrastinate_update_heartbeat_v1",
        ),
    ],
)
def test_what_was_dropped_by_hand_is_missing(url: str, statement: str, lost: str) -> None:
    """S1: the command says what is missing."""
    run(url, statement)
    assert lost in missing(url)


def test_a_change_whose_check_fails_is_broken(url: str) -> None:
    run(url, "GRANT USAGE ON SCHEMA tenure TO PUBLIC")
    report = check(url, changes.load())
    assert report.changes[0].state == "broken"
    assert report.changes[0].why == "0001: PUBLIC may use tenure"
    assert not report.is_whole


def test_an_edited_change_and_one_of_a_newer_release_are_told(url: str) -> None:
    run(
        url,
        "UPDATE tenure_changes.log SET digest = 'other' WHERE number = 2",
        "INSERT INTO tenure_changes.log VALUES (99, '0099_later', 'x', now(), 'me', 1)",
    )
    report = check(url, changes.load())
    assert [c.name for c in report.changes if c.state == "edited"] == ["0002_journal"]
    assert report.ahead == (99,)
    assert not report.is_whole
