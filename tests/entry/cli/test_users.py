"""Deleting a user at a shell, and what hangs on one."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.entry.cli.conftest import Run
from tests.entry.cli.identity_scene import Scene, a_scene

APP = """
    CREATE SCHEMA app;
    CREATE TABLE app.notes (id bigint PRIMARY KEY,
                            owner uuid REFERENCES tenure.users ON DELETE CASCADE);
    """


@pytest.fixture
def scene(run: Run, url: str) -> Iterator[Scene]:
    with a_scene(run, url) as made:
        yield made


@pytest.fixture
def ada(scene: Scene) -> str:
    """The one admin of an organization."""
    made = scene.a_user()
    scene.an_org(made)
    assert scene.tenure("sync", "backfill", "--json").status == 0
    return made


def test_a_dry_run_names_every_row_and_changes_nothing(scene: Scene, ada: str) -> None:
    """M10: what would happen, to which rows, and why what stays does."""
    said = scene.tenure("users", "delete", "ada@example.com", "--dry-run")

    assert said.status == 0
    for line in (
        "ada <ada@example.com>; policy anonymise",
        f"at clerk: {ada} is deleted there",
        "memberships that end: 1",
        "WITHOUT AN ADMIN afterwards: Engines",
        "tenure.memberships(user_id) → tenure.users ON DELETE RESTRICT: 1 row: ends",
        "tenure.audit_log: 1 row stays (who did what is never changed",
    ):
        assert line in said.out, said.out
    assert scene.sql("SELECT email, deleted_at FROM tenure.users") == [
        {"email": "ada@example.com", "deleted_at": None}
    ]
    assert scene.api.get(f"/v1/users/{ada}").status_code == 200


def test_she_is_deleted_at_the_provider_and_here(scene: Scene, ada: str) -> None:
    """M10: one command; running it again is no trouble."""
    unasked = scene.tenure("users", "delete", ada)
    assert (unasked.status, "cli.not_confirmed" in unasked.err) == (2, True)
    assert "memberships that end: 1" in unasked.out, "whoever pipes it sees the plan as well"

    said = scene.tenure("users", "delete", ada, "--yes", "--json")

    assert (said.status, said.json["deleted"]) == (0, True)
    assert scene.api.get(f"/v1/users/{ada}").status_code == 404
    (row,) = scene.sql("SELECT email, name, deleted_at IS NOT NULL AS gone FROM tenure.users")
    assert row == {"email": None, "name": None, "gone": True}
    again = scene.tenure("users", "delete", ada, "--dry-run").out
    assert "memberships that end: 0" in again
    assert "1 row: ended before" in again
    why = scene.tenure("sync", "explain", ada).out
    assert "a signed event or `tenure users delete` said so" in why
    assert "applied, deleted_by_command (actor tenure:cli)" in why
    assert scene.tenure("users", "delete", ada, "--yes").status == 0
    assert scene.tenure("sync", "drift", "identity", "--repair").status == 0


def test_who_still_pays_is_not_deleted(scene: Scene, ada: str) -> None:
    """Nobody could cancel her subscription afterwards."""
    scene.sql(
        "INSERT INTO tenure.stripe_customers (user_id, stripe_customer_id, livemode)"
        " SELECT id, 'cus_1', false FROM tenure.users"
    )
    scene.sql(
        "INSERT INTO tenure.subscriptions (id, stripe_customer_id, user_id, status, created_at,"
        " looked_at, look_fence) SELECT 'sub_1', 'cus_1', id, 'active', now(), now(), 1"
        " FROM tenure.users"
    )

    said = scene.tenure("users", "delete", ada, "--yes")

    assert said.status == 1
    assert "IN THE WAY: she pays for sub_1 (active)" in said.out
    assert scene.api.get(f"/v1/users/{ada}").status_code == 200


def test_cascade_takes_rows_of_the_app_along_but_no_bills(scene: Scene, ada: str) -> None:
    """M10: TENURE_USER_DELETION=cascade: refused by name, then done."""
    scene.sql(APP)
    scene.sql("INSERT INTO app.notes SELECT 1, id FROM tenure.users")
    scene.sql("CREATE TABLE app.invoices (note bigint REFERENCES app.notes ON DELETE CASCADE)")
    scene.sql("INSERT INTO app.invoices VALUES (1)")
    cascade = {"TENURE_USER_DELETION": "cascade"}

    refused = scene.tenure("users", "delete", ada, "--yes", **cascade)
    scene.sql("DELETE FROM app.invoices")
    done = scene.tenure("users", "delete", ada, "--yes", **cascade)

    assert refused.status == 1
    assert "IN THE WAY: app.invoices(note) → app.notes: looks like bills" in refused.out
    assert done.status == 0, done.out + done.err
    assert "app.notes(owner) → tenure.users ON DELETE CASCADE: 1 row: deleted" in done.out
    assert scene.sql("SELECT count(*) AS n FROM app.notes") == [{"n": 0}]


def test_lint_names_what_will_make_trouble(scene: Scene) -> None:
    """M10: supabase#30879: the key that forbids it is named before anybody needs it."""
    assert scene.tenure("users", "lint").out == "0 wrong, 0 doubtful\n"
    scene.sql("CREATE SCHEMA auth")
    scene.sql("CREATE TABLE auth.users (id uuid PRIMARY KEY)")
    scene.sql("CREATE TABLE public.messages (author uuid REFERENCES auth.users)")

    said = scene.tenure("users", "lint")

    assert said.status == 1
    assert "wrong    blocks: public.messages(author) → auth.users" in said.out
    assert (
        "ALTER TABLE public.messages DROP CONSTRAINT messages_author_fkey, ADD CONSTRAINT"
        " messages_author_fkey FOREIGN KEY (author) REFERENCES auth.users (id) ON DELETE SET NULL;"
    ) in said.out
    assert scene.tenure("users", "lint", "--json").json["wrong"] == 1


def test_nobody_is_said(scene: Scene) -> None:
    said = scene.tenure("users", "delete", "nobody@example.com", "--dry-run")

    assert (said.status, "identity.unknown_user" in said.err) == (2, True)


@pytest.fixture
def login(admin: str, url: str) -> Iterator[str]:
    """The address of a role that is what production grants, and no more."""
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS tenure_test_users")
        conn.execute(
            "CREATE ROLE tenure_test_users LOGIN PASSWORD 'users' IN ROLE tenure_app, tenure_worker"
        )
    yield make_conninfo(url, user="tenure_test_users", password="users")
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute("DROP ROLE tenure_test_users")


def test_the_service_s_own_login_is_enough(scene: Scene, ada: str, login: str) -> None:
    """S9: least privilege: nothing here needs the owner or a superuser."""
    own = {"DATABASE_URL": login}
    org = scene.sql("SELECT external_id FROM tenure.identities WHERE org_id IS NOT NULL")

    for args in (
        ("sync", "backfill"),
        ("sync", "drift", "identity", "--repair"),
        ("sync", "explain", ada),
        ("seats", "explain", org[0]["external_id"]),
        ("seats", "limit", org[0]["external_id"], "5"),
        ("users", "lint"),
        ("users", "delete", ada, "--yes"),
    ):
        said = scene.tenure(*args, **own)
        assert said.status == 0, (args, said.out, said.err)
    assert "seen" in scene.tenure("sync", "explain", ada, **own).out


def test_rows_that_this_role_may_not_count_are_in_the_way_of_a_cascade(
    scene: Scene, ada: str, login: str
) -> None:
    """A dry run that counts less than there is would lie."""
    scene.sql(APP)
    scene.sql("INSERT INTO app.notes SELECT 1, id FROM tenure.users")
    more = {"DATABASE_URL": login, "TENURE_USER_DELETION": "cascade"}

    said = scene.tenure("users", "delete", ada, "--yes", **more)

    assert said.status == 1
    assert (
        "app.notes(owner) → tenure.users ON DELETE CASCADE: ? rows: cannot be counted" in said.out
    )


def test_what_supabase_would_do_to_rows_is_told_without_counting_them(
    scene: Scene, ada: str, login: str
) -> None:
    """A key without ON DELETE forbids it, if there are rows; a cascade takes them along."""
    scene.sql("CREATE SCHEMA auth")
    scene.sql("CREATE TABLE auth.users (id uuid PRIMARY KEY)")
    scene.sql("CREATE TABLE public.messages (author uuid REFERENCES auth.users)")
    scene.sql("CREATE TABLE public.drafts (author uuid REFERENCES auth.users ON DELETE CASCADE)")
    scene.sql(
        "INSERT INTO tenure.identities (provider, external_id, user_id, created_at)"
        " SELECT 'supabase', gen_random_uuid()::text, id, now() FROM tenure.users"
    )

    said = scene.tenure("users", "delete", ada, "--dry-run", DATABASE_URL=login)

    assert said.status == 0
    assert "ON DELETE NO ACTION: ? rows: would forbid it, if there are any" in said.out
    assert "ON DELETE CASCADE: ? rows: deleted with her" in said.out
