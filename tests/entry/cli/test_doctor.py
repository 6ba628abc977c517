from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tenure.base.settings import load
from tenure.base.variables import frontend
from tenure.entry.cli.checks import modes
from tenure.sandbox.clerk.app import running_clerk
from tenure.sandbox.stripe.model import Policy
from tenure.sandbox.stripe.running import running_stripe
from tests.entry.cli.conftest import Run, Said

GONE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def outside() -> Iterator[dict[str, str]]:
    key = "sk_test_doctor"
    with running_stripe(policy=Policy(secret_key=key)) as stripe, running_clerk() as clerk:
        yield {
            "STRIPE_SECRET_KEY": key,
            "STRIPE_WEBHOOK_SECRET": "whsec_x",
            "STRIPE_API_BASE": stripe.url,
            "CLERK_PUBLISHABLE_KEY": clerk.publishable_key,
            "CLERK_AUTHORIZED_PARTIES": clerk.origin,
            "CLERK_WEBHOOK_SECRET": "whsec_ZXhhbXBsZQ==",
        }


@pytest.fixture
def complete(outside: dict[str, str], url: str) -> dict[str, str]:
    return {**outside, "DATABASE_URL": url}


def states(said: Said) -> dict[str, str]:
    return {one["name"]: one["state"] for one in said.json["checks"]}


def run_sql(url: str, *statements: str) -> None:
    with psycopg.connect(url) as conn:
        for statement in statements:
            conn.execute(statement)


def found(run: Run, environ: dict[str, str], name: str) -> dict[str, str]:
    said = run("doctor", "--json", **environ)
    return next(one for one in said.json["checks"] if one["name"] == name)


def test_a_good_installation_passes_every_check(run: Run, complete: dict[str, str]) -> None:
    """S8: webhook secret, tables, functions, write permission, foreign keys, ids, connectivity."""
    said = run("doctor", "--json", **complete)
    assert said.status == 0, said.out
    assert states(said) == {
        "settings": "ok",
        "database": "ok",
        "roles": "ok",
        "schema": "ok",
        "objects": "ok",
        "writing": "ok",
        "listening": "ok",
        "clocks": "ok",
        "foreign keys": "ok",
        "id mapping": "ok",
        "workers": "warn",
        "backlog": "ok",
        "inbox": "ok",
        "quarantine": "ok",
        "seats": "ok",
        "seat limits": "ok",
        "wishes": "ok",
        "absences": "ok",
        "references": "ok",
        "stripe webhook secret": "ok",
        "key modes": "ok",
        "stripe": "ok",
        "clerk keys": "ok",
        "clerk parties": "ok",
        "clerk key": "warn",
        "clerk webhook secret": "ok",
    }
    text = run("doctor", **complete).out
    assert "fix: Run `tenure work`." in text
    assert "24 ok, 2 warn, 0 fail" in text


def test_doctor_leaves_no_trace(run: Run, complete: dict[str, str]) -> None:
    run("doctor", **complete)
    with psycopg.connect(complete["DATABASE_URL"]) as conn:
        row = conn.execute(
            "SELECT (SELECT count(*) FROM tenure.subjects), (SELECT count(*) FROM tenure.inbox)"
        )
        assert row.fetchone() == (0, 0)


def test_bad_settings_are_named_with_their_fix(run: Run) -> None:
    """S8: the environment is checked, and the fix is said."""
    said = run("doctor", "--json", STRIPE_SECRET_KEY="pk_test_x")
    assert said.status == 1
    fixes = {one["name"]: one["fix"] for one in said.json["checks"]}
    assert fixes["settings: STRIPE_SECRET_KEY"] == "STRIPE_SECRET_KEY=sk_test_example"
    assert "settings: DATABASE_URL" in fixes


def test_a_database_that_does_not_answer_is_one_failure(run: Run, outside: dict[str, str]) -> None:
    said = run("doctor", "--json", **outside, DATABASE_URL="postgresql://a:hunter2@127.0.0.1:1/x")
    assert said.status == 1
    assert states(said)["database"] == "fail"
    assert states(said)["stripe"] == "ok", "what needs no database is still looked at"
    assert "hunter2" not in said.out


def test_an_empty_database_needs_one_command(run: Run, outside: dict[str, str], empty: str) -> None:
    said = run("doctor", "--json", **outside, DATABASE_URL=empty)
    failing = [one for one in said.json["checks"] if one["state"] == "fail"]
    assert {"schema", "writing", "backlog"} <= {one["name"] for one in failing}
    assert (
        next(one["fix"] for one in failing if one["name"] == "schema") == "Run `tenure db apply`."
    )


@pytest.mark.parametrize(
    ("statement", "seen"),
    [
        ("DROP INDEX tenure.subjects_due", ("objects", "fail", "tenure.subjects_due")),
        ("GRANT USAGE ON SCHEMA tenure TO PUBLIC", ("schema", "fail", "PUBLIC may use")),
        ("UPDATE tenure_changes.log SET digest = '' WHERE number = 4", ("schema", "fail", "0004")),
        ("REVOKE INSERT ON tenure.subjects FROM tenure_worker", ("writing", "fail", "denied")),
        (
            (
                "ALTER TABLE tenure.identities ADD CONSTRAINT late"
                " FOREIGN KEY (user_id) REFERENCES tenure.users NOT VALID"
            ),
            ("foreign keys", "fail", "late"),
        ),
        (
            (
                "INSERT INTO tenure.organizations (id, name, created_at, updated_at)"
                " VALUES (gen_random_uuid(), 'a', now(), now())"
            ),
            ("id mapping", "warn", "1 organizations"),
        ),
        (
            (
                "INSERT INTO tenure.subjects (kind, id, marked_at)"
                " VALUES ('customer', 'cus_1', now() - interval '1 hour')"
            ),
            ("backlog", "fail", "1 subjects are due"),
        ),
        (
            (
                "INSERT INTO tenure.subjects (kind, id, attempts, last_error)"
                " VALUES ('customer', 'cus_1', 3, 'Stripe is away')"
            ),
            ("failing", "warn", "cus_1 (3 times): Stripe is away"),
        ),
        (
            (
                "INSERT INTO tenure.inbox (source, livemode, event_id, kind, body, received_at)"
                " VALUES ('stripe', false, 'evt_1', 'x', '', now() - interval '1 year')"
            ),
            ("inbox", "warn", "older than they should be"),
        ),
    ],
)
def test_each_trouble_is_seen_and_has_a_fix(
    run: Run, complete: dict[str, str], statement: str, seen: tuple[str, str, str]
) -> None:
    """S8: every item of the troubleshooting list is checked, and the fix is said."""
    name, state, word = seen
    run_sql(complete["DATABASE_URL"], statement)
    one = found(run, complete, name)
    assert one["state"] == state
    assert word in one["what"]
    assert one["fix"]


def test_a_role_that_is_no_member_is_told_the_grant(
    run: Run, complete: dict[str, str], admin: str
) -> None:
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS tenure_test_login")
        conn.execute("CREATE ROLE tenure_test_login LOGIN PASSWORD 'login'")
    login = make_conninfo(complete["DATABASE_URL"], user="tenure_test_login", password="login")
    try:
        one = found(run, {**complete, "DATABASE_URL": login}, "roles")
    finally:
        with psycopg.connect(admin, autocommit=True) as conn:
            conn.execute("DROP ROLE tenure_test_login")
    assert one["state"] == "fail"
    assert one["fix"] == "GRANT tenure_app, tenure_worker TO tenure_test_login;"


def test_a_login_that_inherits_nothing_is_told_how_to(
    run: Run, complete: dict[str, str], admin: str
) -> None:
    """A member that may SET ROLE, and still reads nothing of ours by itself."""
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS tenure_test_idle")
        conn.execute(
            "CREATE ROLE tenure_test_idle LOGIN NOINHERIT PASSWORD 'idle'"
            " IN ROLE tenure_app, tenure_worker"
        )
    idle = {
        **complete,
        "DATABASE_URL": make_conninfo(
            complete["DATABASE_URL"], user="tenure_test_idle", password="idle"
        ),
    }
    try:
        before = found(run, idle, "roles")
        with psycopg.connect(admin, autocommit=True) as conn:
            conn.execute(before["fix"])
        after = found(run, idle, "roles")
    finally:
        with psycopg.connect(admin, autocommit=True) as conn:
            conn.execute("DROP ROLE tenure_test_idle")
    assert (before["state"], after["state"]) == ("fail", "ok")


def test_a_direct_address_of_another_database_is_seen(
    run: Run, complete: dict[str, str], empty: str
) -> None:
    """B7: news sent through the pooler must arrive at the direct address."""
    one = found(run, {**complete, "DATABASE_DIRECT_URL": empty}, "listening")
    assert one["state"] == "fail"
    assert "does not arrive" in one["what"]


def test_providers_that_refuse_or_are_away_are_seen(run: Run, complete: dict[str, str]) -> None:
    refused = found(run, {**complete, "STRIPE_SECRET_KEY": "sk_test_other"}, "stripe")
    assert (refused["state"], refused["fix"]) == ("fail", "Set a valid STRIPE_SECRET_KEY.")
    assert found(run, {**complete, "STRIPE_API_BASE": GONE}, "stripe")["state"] == "fail"
    assert found(run, {**complete, "CLERK_ISSUER": GONE}, "clerk keys")["state"] == "fail"
    issuer = frontend(complete["CLERK_PUBLISHABLE_KEY"])
    assert found(run, {**complete, "CLERK_ISSUER": f"{issuer}/x"}, "clerk keys")["state"] == "fail"


def test_a_live_clerk_beside_a_test_stripe_is_a_warning() -> None:
    live = load({"CLERK_SECRET_KEY": "sk_live_a", "STRIPE_SECRET_KEY": "sk_test_a"})
    assert [one.state for one in modes(live)] == ["warn"]
