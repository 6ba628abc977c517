import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tenure.schema import apply, changes, check
from tenure.schema.apply import (
    AnotherRunner,
    CannotLook,
    ChangeEdited,
    ChangeFailed,
    DatabaseAhead,
    NotAllowed,
)
from tenure.schema.changes import Change
from tests.conftest import recreate

NOTES = "CREATE TABLE tenure_changes.notes (id integer PRIMARY KEY)"


@pytest.fixture
def empty(admin: str) -> str:
    return recreate(admin, "tenure_empty", "template0")


def change(number: int, up: str, *, verify: str = "SELECT 1", down: str = "SELECT 1") -> Change:
    return Change(
        number=number, name=f"{number:04d}_made", up=up, verify=verify, down=down, written=up
    )


def tables(url: str, schema: str) -> list[str]:
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s)"
            " AND relkind = 'r' ORDER BY 1",
            (schema,),
        )
        return [name for (name,) in rows]


def test_every_change_goes_up_down_and_up_again(empty: str) -> None:
    """S1: one command creates everything; each change can be taken back."""
    all_changes = changes.load()
    assert not apply.apply(empty, all_changes).pending

    for one in reversed(all_changes):
        state = apply.back(empty, all_changes, to=one.number - 1)
        assert [c.number for c in state.applied] == list(range(1, one.number))
    assert tables(empty, "tenure") == []

    assert not apply.apply(empty, all_changes).pending


def test_applying_stops_where_it_is_told_to(empty: str) -> None:
    state = apply.apply(empty, changes.load(), to=2)
    assert [c.number for c in state.applied] == [1, 2]
    assert state.pending[0].number == 3


def test_each_change_is_told_once(empty: str) -> None:
    told: list[tuple[str, int]] = []
    for _ in range(2):
        apply.apply(empty, changes.load(), told=lambda what, c, _ms: told.append((what, c.number)))
    assert told == [("applied", c.number) for c in changes.load()]


@pytest.mark.parametrize(
    "broken",
    [
        change(2, f"{NOTES.replace('notes', 'more')}; SELECT no_such_function()"),
        change(2, NOTES.replace("notes", "more"), verify="DO $$ BEGIN ASSERT false, 'no'; END $$"),
    ],
    ids=["up", "verify"],
)
def test_a_change_that_fails_leaves_the_database_as_before_it(empty: str, broken: Change) -> None:
    """S1: one transaction for each change and its check."""
    with pytest.raises(ChangeFailed, match="0002_made: "):
        apply.apply(empty, [change(1, NOTES), broken])
    assert tables(empty, "tenure_changes") == ["log", "notes"]
    assert [c.number for c in apply.status(empty, [change(1, NOTES), broken]).applied] == [1]


def test_a_change_that_cannot_be_taken_back_stays(empty: str) -> None:
    one = change(1, NOTES, down="DROP TABLE tenure_changes.notes; SELECT no_such_function()")
    apply.apply(empty, [one])
    with pytest.raises(ChangeFailed):
        apply.back(empty, [one], to=0)
    assert tables(empty, "tenure_changes") == ["log", "notes"]


def test_an_applied_change_with_another_text_is_refused(empty: str) -> None:
    apply.apply(empty, [change(1, NOTES)])
    edited = change(1, f"{NOTES} -- edited")
    assert apply.status(empty, [edited]).edited == (edited,)
    with pytest.raises(ChangeEdited, match="0001_made"):
        apply.apply(empty, [edited, change(2, "SELECT 1")])


def test_two_runners_at_once_are_refused(empty: str) -> None:
    """S1: whoever comes second is told so; nothing is applied twice."""
    entered, leave = threading.Event(), threading.Event()

    def hold(_what: str, _change: Change, _ms: int) -> None:
        entered.set()
        assert leave.wait(30)

    first = threading.Thread(
        target=lambda: apply.apply(empty, [change(1, NOTES), change(2, "SELECT 1")], told=hold)
    )
    first.start()
    try:
        assert entered.wait(30)
        with pytest.raises(AnotherRunner):
            apply.apply(empty, [change(1, NOTES)])
        with pytest.raises(AnotherRunner):
            apply.back(empty, [change(1, NOTES)], to=0)
    finally:
        leave.set()
        first.join()
    assert len(apply.status(empty, [change(1, NOTES), change(2, "SELECT 1")]).applied) == 2


def test_a_database_ahead_of_us_is_not_taken_back(empty: str) -> None:
    apply.apply(empty, [change(1, NOTES), change(2, "SELECT 1")])
    state = apply.status(empty, [change(1, NOTES)])
    assert state.ahead == (2,)
    with pytest.raises(DatabaseAhead, match="2"):
        apply.back(empty, [change(1, NOTES)], to=0)


HOSTED = "tenure_test_hosted"
# What CREATE ROLE gives to a maker who is no superuser: on Postgres 16 and newer not even SET ROLE.
MADE_BY_IT = "GRANT tenure_owner, tenure_app, tenure_worker, tenure_reader TO {} WITH "


@pytest.fixture
def hosted(admin: str, empty: str, template: str) -> Iterator[str]:
    """The role that a hosted database gives its customer: it owns the database, and no more."""
    del template  # the four roles are there
    name, database = sql.Identifier(HOSTED), sql.Identifier("tenure_empty")
    with psycopg.connect(admin, autocommit=True) as conn:
        options = "ADMIN TRUE, INHERIT FALSE, SET FALSE"
        if conn.info.server_version < 160_000:
            options = "ADMIN OPTION"
        conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD 'hosted'").format(name))
        conn.execute(sql.SQL(MADE_BY_IT).format(name) + sql.SQL(options))
        conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, name))
        yield make_conninfo(empty, user=HOSTED, password="hosted")
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))
        conn.execute(sql.SQL("DROP ROLE {}").format(name))


def test_the_owner_of_a_hosted_database_needs_no_superuser(hosted: str) -> None:
    """S1: up, checked, back and up again, on Postgres 16 and newer too."""
    assert not apply.apply(hosted, changes.load()).pending
    assert check.check(hosted, changes.load()).is_whole
    assert not apply.back(hosted, changes.load(), to=0).applied
    assert not apply.apply(hosted, changes.load()).pending


def test_a_role_without_rights_is_told_plainly(admin: str, empty: str) -> None:
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS tenure_test_nobody")
        conn.execute("CREATE ROLE tenure_test_nobody LOGIN PASSWORD 'nobody'")
    nobody = make_conninfo(empty, user="tenure_test_nobody", password="nobody")
    try:
        with pytest.raises(NotAllowed):
            apply.apply(nobody, changes.load())
    finally:
        with psycopg.connect(admin, autocommit=True) as conn:
            conn.execute("DROP ROLE tenure_test_nobody")


def test_a_server_that_is_not_there_is_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(CannotLook):
        apply.status(f"host={tmp_path} dbname=x", changes.load())


def test_what_a_change_sets_for_itself_ends_with_it(empty: str) -> None:
    up = "SET LOCAL ROLE pg_monitor; SET LOCAL search_path = pg_temp"
    verify = (
        "DO $$ BEGIN ASSERT current_setting('role') = 'none';"
        " ASSERT current_setting('search_path') <> 'pg_temp'; END $$"
    )
    assert apply.apply(empty, [replace(change(1, up), verify=verify)]).applied
