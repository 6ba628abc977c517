"""`tenure db supabase`, on the layout of roles that a hosted project has, and what doctor says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tenure.base.settings import Settings
from tenure.entry.cli.checks_supabase import supabase_users
from tenure.sandbox.supabase.database import prepare
from tenure.schema import apply, changes
from tenure.schema import supabase as overlay
from tests.conftest import recreate
from tests.entry.cli.conftest import Run
from tests.identity.supabase_scene import ADA, BOB, Scene, as_auth, opened

POSTGRES, SERVICE = "tenure_test_postgres", "tenure_test_login"
TRUSTED = Settings(supabase_url="https://x.supabase.co")


@dataclass(frozen=True, kw_only=True)
class Project:
    """A hosted project: `url` as `postgres`, no superuser; `root` is nobody's there."""

    url: str
    root: str
    service: str

    def wrong(self) -> dict[str, str]:
        return {one.name: one.wrong for one in overlay.check(self.service) if one.wrong}


@pytest.fixture
def project(admin: str, empty: str, template: str) -> Iterator[Project]:
    """auth belongs to supabase_auth_admin, with row-level security and no policy; postgres has
    CREATEROLE, BYPASSRLS and rights on the table, and is no member of its owner."""
    del template  # the four roles are there
    prepare(empty)
    with psycopg.connect(admin, autocommit=True) as conn:
        new = conn.info.server_version >= 160_000
        for role in (POSTGRES, SERVICE):
            conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
        conn.execute(
            sql.SQL(
                "CREATE ROLE {p} LOGIN CREATEROLE BYPASSRLS PASSWORD 'p';"
                "CREATE ROLE {s} LOGIN PASSWORD 's' IN ROLE tenure_app, tenure_worker;"
                "GRANT tenure_owner, tenure_app, tenure_worker, tenure_reader TO {p} WITH "
                + ("ADMIN TRUE, INHERIT FALSE, SET FALSE" if new else "ADMIN OPTION")  # type: ignore[operator]
                + ";GRANT CREATE ON DATABASE tenure_empty TO {p}"
            ).format(p=sql.Identifier(POSTGRES), s=sql.Identifier(SERVICE))
        )
    with opened(empty) as conn:
        conn.execute(
            sql.SQL(
                "ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;"
                "GRANT USAGE ON SCHEMA auth TO {p};"
                "GRANT SELECT, INSERT, UPDATE, DELETE, REFERENCES, TRIGGER ON auth.users TO {p}"
            ).format(p=sql.Identifier(POSTGRES))
        )
    made = Project(
        url=make_conninfo(empty, user=POSTGRES, password="p"),
        root=empty,
        service=make_conninfo(empty, user=SERVICE, password="s"),
    )
    apply.apply(made.url, changes.load())
    yield made
    recreate(admin, "tenure_empty", "template0")
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(f"DROP ROLE {POSTGRES}")  # type: ignore[call-overload]
        conn.execute(f"DROP ROLE {SERVICE}")  # type: ignore[call-overload]


def test_postgres_of_a_hosted_project_installs_checks_and_removes(
    run: Run, project: Project
) -> None:
    """S1, B7: it owns nothing in auth, and row-level security would hide every user from others."""
    before = run("db", "supabase", "--json", DATABASE_URL=project.url)
    assert before.status == 1
    assert before.json["findings"] == [
        {"name": "installed", "wrong": "nothing is installed", "is_only_old": False}
    ]

    for _ in range(2):  # again after an upgrade
        done = run("db", "supabase", "--install", DATABASE_URL=project.url)
        assert (done.status, done.err) == (0, "")
        assert "installed" in done.out
        assert "set SUPABASE_URL" in done.out

    after = run("db", "supabase", "--check", DATABASE_URL=project.service)
    assert (after.status, after.out.count(": ok\n")) == (0, 6)

    with as_auth(project.root) as auth, opened(project.root) as conn:
        scene = Scene(url=project.root, auth=auth, conn=conn)
        ada = scene.signs_up(ADA)
        assert scene.marks() == {ada: 1}
        with psycopg.connect(project.service) as service:
            row = service.execute(
                "SELECT email FROM tenure_supabase.users_between(%s, %s, 1)", (ADA, ADA)
            ).fetchone()
            assert row == ("ada@example.test",)

        removed = run("db", "supabase", "--remove", "--json", DATABASE_URL=project.url)
        assert (removed.status, removed.json) == (0, {"removed": True})
        again = run("db", "supabase", "--remove", "--json", DATABASE_URL=project.url)
        assert (again.status, again.json) == (0, {"removed": False})
        scene.signs_up(BOB)
        assert scene.marks() == {ada: 1}
        assert project.wrong() == {"installed": "nothing is installed"}


def test_what_postgres_made_somebody_else_of_the_team_renews_and_removes(project: Project) -> None:
    overlay.install(project.url)
    overlay.install(project.root)
    overlay.install(project.url)
    overlay.remove(project.url)
    assert project.wrong() == {"installed": "nothing is installed"}


def test_the_script_for_a_migration_does_the_same(run: Run, project: Project) -> None:
    script = run("db", "supabase", "--sql")
    assert script.status == 0
    assert run("db", "supabase", "--sql", "--json").json == {"sql": script.out.rstrip("\n")}
    with psycopg.connect(project.url, autocommit=True) as conn:
        conn.execute(script.out)  # type: ignore[call-overload]
    assert project.wrong() == {}


def test_the_tables_can_be_taken_back_beside_it(run: Run, project: Project) -> None:
    overlay.install(project.url)
    taken = run("db", "back", "--to", "0", "--yes", DATABASE_URL=project.url)
    assert taken.status == 0
    with as_auth(project.root) as auth, opened(project.root) as conn:
        Scene(url=project.root, auth=auth, conn=conn).signs_up(ADA)
    overlay.remove(project.url)
    assert run("db", "apply", DATABASE_URL=project.url).status == 0


def test_a_database_without_auth_users_is_told_plainly(run: Run, url: str) -> None:
    said = run("db", "supabase", "--install", "--json", DATABASE_URL=url)
    assert said.status == 2
    assert said.json["error"]["code"] == "schema.supabase_not_put_up"
    assert said.json["error"]["message"].startswith("this database has no auth.users; Let ")
    checked = run("db", "supabase", DATABASE_URL=url)
    assert (checked.status, checked.out) == (1, "auth.users: this database has none\n")
    removed = run("db", "supabase", "--remove", DATABASE_URL=url)
    assert (removed.status, removed.out) == (0, "there was nothing to remove\n")


@pytest.mark.parametrize(
    "flags", [("--sql", "--install"), ("--install", "--remove"), ("--check", "--remove")]
)
def test_one_thing_is_done_at_a_time(run: Run, project: Project, flags: tuple[str, ...]) -> None:
    """Whoever wants to read the script has not asked to run it."""
    overlay.install(project.url)
    said = run("db", "supabase", *flags, DATABASE_URL=project.url)
    assert (said.status, said.out) == (2, "")
    assert "exclude one another" in said.err
    assert project.wrong() == {}


def test_tables_come_first(run: Run, empty: str) -> None:
    prepare(empty)
    said = run("db", "supabase", "--install", DATABASE_URL=empty)
    assert said.status == 2
    assert "Run `tenure db apply` first." in said.err


@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ("ALTER ROLE {p} NOBYPASSRLS", "row-level security hides the rows"),
        ("REVOKE TRIGGER ON auth.users FROM {p}", "may not read auth.users and make triggers"),
        ("REVOKE SELECT ON auth.users FROM {p}", "may not read auth.users and make triggers"),
    ],
)
def test_who_lacks_a_right_is_told_which_and_nothing_is_changed(
    run: Run, project: Project, taken: str, said: str
) -> None:
    with opened(project.root) as conn:
        conn.execute(taken.format(p=POSTGRES))  # type: ignore[call-overload]
    done = run("db", "supabase", "--install", DATABASE_URL=project.url)
    assert done.status == 2
    assert said in done.err
    assert project.wrong() == {"installed": "nothing is installed"}


def test_sign_ups_that_hold_the_table_are_not_waited_for_long(run: Run, project: Project) -> None:
    with as_auth(project.root) as auth, auth.transaction():
        auth.execute("LOCK TABLE auth.users IN ROW EXCLUSIVE MODE")
        done = run("db", "supabase", "--install", DATABASE_URL=project.url)
    assert done.status == 2
    assert "lock timeout" in done.err


MISHAPS = {
    "ALTER TABLE auth.users DISABLE TRIGGER tenure_user_changed": (
        "trigger tenure_user_changed",
        "it is disabled",
    ),
    "ALTER TABLE auth.users DISABLE TRIGGER USER": (
        "trigger tenure_user_came_or_went",
        "it is disabled",
    ),
    "DROP TRIGGER tenure_user_came_or_went ON auth.users": (
        "trigger tenure_user_came_or_went",
        "it is missing",
    ),
    "DROP FUNCTION tenure_supabase.mark_user CASCADE": (
        "marking",
        "the function mark_user is missing",
    ),
    "ALTER FUNCTION tenure_supabase.mark_user SECURITY INVOKER": (
        "marking",
        "mark_user does not run as its owner",
    ),
    "GRANT EXECUTE ON FUNCTION tenure_supabase.mark_user TO anon": (
        "marking",
        "mark_user may be called by anon",
    ),
    "REVOKE INSERT ON tenure.subjects FROM tenure_owner": (
        "marking",
        "mark_user cannot write tenure.subjects",
    ),
    "DROP SCHEMA procrastinate CASCADE": (
        "marking",
        "mark_user cannot write procrastinate.procrastinate_jobs",
    ),
    "DROP FUNCTION tenure_supabase.users_between": (
        "reading",
        "the function users_between is missing",
    ),
    "ALTER FUNCTION tenure_supabase.users_between SECURITY INVOKER": (
        "reading",
        "users_between does not run as its owner",
    ),
    "GRANT EXECUTE ON FUNCTION tenure_supabase.users_between TO PUBLIC": (
        "reading",
        "users_between may be called by PUBLIC",
    ),
    "REVOKE ALL ON FUNCTION tenure_supabase.users_between FROM tenure_worker": (
        "reading",
        "tenure_worker may not call users_between",
    ),
    "REVOKE ALL ON SCHEMA tenure_supabase FROM tenure_worker": (
        "reading",
        "tenure_worker may not call users_between",
    ),
    "REVOKE SELECT ON auth.users FROM tenure_test_postgres": (
        "reading",
        "the owner of users_between may not read auth.users",
    ),
    "ALTER ROLE tenure_test_postgres NOBYPASSRLS": (
        "reading",
        "row-level security hides the rows of auth.users from the owner of users_between",
    ),
    "COMMENT ON SCHEMA tenure_supabase IS NULL": (
        "installed",
        "the text is that of another release",
    ),
}


@pytest.mark.parametrize("mishap", MISHAPS)
def test_each_thing_that_is_missing_is_named(project: Project, mishap: str) -> None:
    """S8: what was disabled, dropped, revoked or granted since."""
    overlay.install(project.url)
    assert project.wrong() == {}
    with opened(project.root) as conn:
        conn.execute(mishap)  # type: ignore[call-overload]
    name, wrong = MISHAPS[mishap]
    assert project.wrong()[name] == wrong


def a_superusers(project: Project, *, does: str) -> None:
    with opened(project.root) as conn:
        conn.execute(does)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("before", "state", "said"),
    [
        (lambda _: None, "fail", "installed: nothing is installed"),
        (lambda p: overlay.install(p.url), "ok", "every change of auth.users marks"),
        (
            lambda p: a_superusers(p, does="DROP SCHEMA auth CASCADE"),
            "warn",
            "this database has no auth.users",
        ),
        (
            lambda p: (
                overlay.install(p.url),
                a_superusers(p, does="COMMENT ON SCHEMA tenure_supabase IS 'x 0123'"),
            ),
            "warn",
            "another release",
        ),
        (
            lambda p: (
                overlay.install(p.url),
                a_superusers(p, does="ALTER TABLE auth.users DISABLE TRIGGER ALL"),
            ),
            "fail",
            "trigger tenure_user_came_or_went: it is disabled",
        ),
    ],
    ids=["not installed", "installed", "elsewhere", "old", "disabled"],
)
def test_doctor_says_whether_users_of_supabase_reach_us(
    project: Project, before: Callable[[Project], object], state: str, said: str
) -> None:
    """S8."""
    before(project)
    with opened(project.service) as conn:
        (result,) = supabase_users(conn, TRUSTED)
    assert (result.name, result.state) == ("supabase users", state)
    assert said in result.what
    assert bool(result.fix) == (state != "ok")


def test_doctor_does_not_ask_where_supabase_is_only_a_database(project: Project) -> None:
    """SUPABASE_URL beside Clerk: who people are is Clerk's to say."""
    settings = Settings(supabase_url="https://x.supabase.co", clerk_issuer="https://clerk.test")
    with opened(project.service) as conn:
        assert list(supabase_users(conn, settings)) == []
