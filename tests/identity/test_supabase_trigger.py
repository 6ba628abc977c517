"""The trigger on auth.users: it marks who changed, and nobody's sign-up ever suffers from it."""

from collections.abc import Iterator
from datetime import timedelta

import httpx
import psycopg
import pytest
from psycopg import sql
from supabase_auth import SyncGoTrueClient
from supabase_auth.errors import AuthApiError

from tenure.base.clock import StoppedClock
from tenure.sandbox.supabase.app import running_supabase
from tenure.schema import supabase as overlay
from tests.identity.supabase_scene import ADA, BOB, CAT, Scene, a_scene, as_auth, opened


@pytest.fixture
def scene(url: str) -> Iterator[Scene]:
    with a_scene(url) as made:
        yield made


def test_who_comes_changes_or_goes_is_marked_and_a_worker_is_woken(scene: Scene) -> None:
    """B1: Supabase Auth as a source."""
    ada = scene.signs_up(ADA)
    assert (scene.marks(), scene.wakes()) == ({ada: 1}, 1)

    scene.changes(ADA, email="lovelace@example.test")
    scene.goes(ADA)
    assert scene.marks() == {ada: 3}
    assert scene.wakes() == 1, "one job that waits is enough"


@pytest.mark.parametrize(
    "change",
    [
        {"email": "new@example.test"},
        {"email": None},
        {"raw_user_meta_data": {"full_name": "Ada King"}},
        {"raw_user_meta_data": {"name": "Ada"}},
        {"banned_until": "2030-01-01T00:00:00Z"},
        {"deleted_at": "2026-03-02T00:00:00Z"},
    ],
    ids=str,
)
def test_a_change_of_what_we_read_marks(scene: Scene, change: dict[str, object]) -> None:
    ada = scene.signs_up(ADA)
    scene.changes(ADA, **change)
    assert scene.marks() == {ada: 2}


@pytest.mark.parametrize(
    "change",
    [
        {"last_sign_in_at": "2026-03-02T00:00:00Z", "updated_at": "2026-03-02T00:00:00Z"},
        {"encrypted_password": "x", "recovery_token": "y"},
        {"raw_app_meta_data": {"provider": "email"}},
        {"raw_user_meta_data": {"full_name": "Ada Lovelace", "theme": "dark"}},
        {"email": "ada@example.test"},  # as it is
    ],
    ids=str,
)
def test_a_sign_in_and_what_we_do_not_read_mark_nobody(
    scene: Scene, change: dict[str, object]
) -> None:
    """A row is updated at every sign-in."""
    ada = scene.signs_up(ADA, email="ada@example.test")
    scene.changes(ADA, **change)
    assert scene.marks() == {ada: 1}


def test_whoever_was_banned_is_looked_at_when_she_signs_in_again(scene: Scene) -> None:
    """A ban ends without a change of the row."""
    ada = scene.signs_up(ADA, banned_until="2026-03-01T11:00:00Z")
    scene.changes(ADA, last_sign_in_at="2026-03-02T00:00:00Z")
    assert scene.marks() == {ada: 2}


def test_an_anonymous_user_is_nobody_until_she_says_who_she_is(scene: Scene) -> None:
    scene.signs_up(ADA, is_anonymous=True, email=None)
    scene.changes(ADA, raw_user_meta_data={"name": "x"})
    scene.signs_up(BOB, is_anonymous=True, email=None)
    scene.goes(BOB)
    assert (scene.marks(), scene.wakes()) == ({}, 0)

    scene.changes(ADA, is_anonymous=False, email="ada@example.test")
    assert scene.marks() == {str(ADA): 1}


def test_a_mark_is_seen_with_the_sign_up_and_not_before(scene: Scene) -> None:
    with scene.auth.transaction():
        scene.signs_up(ADA)
        assert (scene.marks(), scene.wakes()) == ({}, 0)
    assert (scene.marks(), scene.wakes()) == ({str(ADA): 1}, 1)


def test_a_sign_up_that_is_rolled_back_marks_nobody(scene: Scene) -> None:
    with scene.auth.transaction(force_rollback=True):
        scene.signs_up(ADA)
        scene.changes(ADA, email="x@example.test")
    assert (scene.marks(), scene.wakes()) == ({}, 0)


def test_a_user_who_is_due_is_marked_again(scene: Scene) -> None:
    """A look that began before the change was committed has not seen it."""
    ada = scene.signs_up(ADA)
    scene.changes(ADA, email="one@example.test")
    scene.changes(ADA, email="two@example.test")
    assert scene.marks() == {ada: 3}


def test_one_sign_up_does_not_wait_for_another_that_takes_its_time(scene: Scene) -> None:
    """Supabase Auth may send a mail before it commits; both are marked and woken for."""
    with as_auth(scene.url) as other, other.transaction():
        other.execute("SET LOCAL lock_timeout = '1ms'")
        Scene(url=scene.url, auth=other, conn=scene.conn).signs_up(BOB)
        scene.auth.execute("SET lock_timeout = '1ms'")
        scene.signs_up(ADA)
        assert (scene.marks(), scene.wakes()) == ({str(ADA): 1}, 1)
    assert set(scene.marks()) == {str(ADA), str(BOB)}
    assert scene.wakes() == 2


def test_a_sign_up_under_way_holds_up_none_of_our_own_marks(scene: Scene) -> None:
    """Ours share one job by its queueing lock; the trigger's job has none to wait for."""
    with scene.auth.transaction(), scene.conn.transaction():
        scene.signs_up(ADA)
        scene.conn.execute("SET LOCAL lock_timeout = '1ms'")
        scene.conn.execute(
            """
            INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, queueing_lock)
            VALUES ('reconcile:supabase.user', 'reconcile', 'reconcile:supabase.user')
            """
        )


BREAKAGES = {
    "subjects renamed": "ALTER TABLE tenure.subjects RENAME TO elsewhere",
    "subjects refused": "REVOKE ALL ON tenure.subjects FROM tenure_owner",
    "subjects refuse": "ALTER TABLE tenure.subjects ADD CHECK (kind <> 'supabase.user')",
    "a column gone": "ALTER TABLE tenure.subjects DROP COLUMN marked_at",
    "schema renamed": "ALTER SCHEMA tenure RENAME TO elsewhere",
    "schema dropped": "DROP SCHEMA tenure CASCADE",
}


@pytest.mark.parametrize("breakage", BREAKAGES.values(), ids=BREAKAGES)
def test_whatever_breaks_with_us_sign_ups_go_on(scene: Scene, breakage: str) -> None:
    """supabase/auth#271, "Database error saving new user": it cannot be our doing."""
    scene.conn.execute(breakage)  # type: ignore[call-overload]
    ada = scene.signs_up(ADA)
    scene.changes(ADA, email="lovelace@example.test")
    row = scene.auth.execute("SELECT id::text, email FROM auth.users").fetchone()
    assert row == {"id": ada, "email": "lovelace@example.test"}
    scene.goes(ADA)


@pytest.mark.parametrize(
    "breakage",
    [
        "DROP SCHEMA procrastinate CASCADE",
        "REVOKE ALL ON procrastinate.procrastinate_jobs FROM tenure_owner",
        "DROP FUNCTION procrastinate.procrastinate_notify_queue_job_inserted_v1 CASCADE",
    ],
)
def test_where_no_worker_can_be_woken_the_mark_stands(scene: Scene, breakage: str) -> None:
    scene.conn.execute(breakage)  # type: ignore[call-overload]
    ada = scene.signs_up(ADA)
    assert scene.marks() == {ada: 1}


@pytest.mark.parametrize("table", ["tenure.subjects", "procrastinate.procrastinate_jobs"])
def test_a_sign_up_does_not_wait_until_a_table_of_ours_is_free(scene: Scene, table: str) -> None:
    """It would wait for ever: the lock is given back when she is in."""
    with opened(scene.url) as other, other.transaction():
        name = sql.Identifier(*table.split("."))
        other.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(name))
        ada = scene.signs_up(ADA)
    row = scene.auth.execute("SELECT id::text FROM auth.users").fetchone()
    assert row == {"id": ada}
    assert scene.marks() == ({} if table == "tenure.subjects" else {ada: 1})


def test_a_change_does_not_wait_until_a_row_of_ours_is_free(scene: Scene) -> None:
    """A worker that stalls inside a write holds its subject."""
    scene.signs_up(ADA)
    with opened(scene.url) as other, other.transaction():
        other.execute("SELECT FROM tenure.subjects FOR UPDATE")
        scene.changes(ADA, email="lovelace@example.test")
        row = scene.auth.execute("SELECT email FROM auth.users").fetchone()
    assert row == {"email": "lovelace@example.test"}


def test_the_wait_for_locks_ends_with_the_trigger(scene: Scene) -> None:
    """What it sets for itself does not stay in the transaction of Supabase Auth."""
    with scene.auth.transaction():
        before = scene.auth.execute("SHOW lock_timeout").fetchone()
        scene.signs_up(ADA)
        assert scene.auth.execute("SHOW lock_timeout").fetchone() == before


def test_nothing_that_is_marked_can_be_read_or_run_by_supabase_auth(scene: Scene) -> None:
    for statement in (
        "SELECT * FROM tenure.subjects",
        "SELECT * FROM tenure_supabase.users_between(NULL, NULL, 1)",
        "SELECT tenure_supabase.mark_user()",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            scene.auth.execute(statement)


def test_a_user_signs_up_through_supabase_auth_though_our_schema_is_gone(
    scene: Scene, clock: StoppedClock
) -> None:
    """supabase/auth#271, by the official client; and a trigger that fails does break it."""
    with running_supabase(scene.url, clock=clock) as running, httpx.Client() as http:
        client = SyncGoTrueClient(
            url=f"{running.url}/auth/v1", headers={"apikey": running.anon_key}, http_client=http
        )
        clock.tick(timedelta(seconds=1))
        ada = client.sign_up({"email": "ada@example.test", "password": "a long password"})
        assert ada.user is not None
        assert set(scene.marks()) == {ada.user.id}

        scene.conn.execute("DROP SCHEMA tenure CASCADE")
        bob = client.sign_up({"email": "bob@example.test", "password": "a long password"})
        assert bob.user is not None

        scene.conn.execute(
            """
            CREATE FUNCTION public.breaks() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN RAISE 'broken'; END $$;
            CREATE TRIGGER breaks AFTER INSERT ON auth.users
                FOR EACH ROW EXECUTE FUNCTION public.breaks();
            """
        )
        with pytest.raises(AuthApiError, match="Database error"):
            client.sign_up({"email": "cat@example.test", "password": "a long password"})


def test_after_removal_nobody_is_marked(scene: Scene) -> None:
    overlay.remove(scene.url)
    scene.signs_up(CAT)
    assert scene.marks() == {}
