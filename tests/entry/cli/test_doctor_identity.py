"""What `tenure doctor` says about who is known."""

from collections.abc import Iterator

import httpx
import pytest

from tenure.sandbox.clerk.app import running_clerk
from tenure.sandbox.workos.app import running_workos
from tests.entry.cli.conftest import Run
from tests.entry.cli.identity_scene import Scene, a_scene


@pytest.fixture
def scene(run: Run, url: str) -> Iterator[Scene]:
    with a_scene(run, url) as made:
        made.environ.update(
            STRIPE_SECRET_KEY="sk_test_x",
            STRIPE_API_BASE="http://127.0.0.1:1",
            STRIPE_WEBHOOK_SECRET="whsec_x",
            CLERK_ISSUER=made.environ["CLERK_API_BASE"],
        )
        yield made


@pytest.fixture
def filled(scene: Scene) -> Scene:
    scene.an_org(scene.a_user())
    assert scene.tenure("sync", "backfill", "--json").status == 0
    return scene


def found(scene: Scene, name: str, **more: str) -> tuple[str, str]:
    said = scene.tenure("doctor", "--json", **more)
    one = next(check for check in said.json["checks"] if check["name"] == name)
    assert one["state"] == "ok" or one["fix"], one
    return one["state"], one["what"]


def test_a_provider_without_a_key_is_told_what_is_weaker(scene: Scene) -> None:
    """S8: without an API key events are believed; what that costs is said."""
    state, what = found(scene, "clerk key", CLERK_SECRET_KEY="")

    assert (state, "events are believed" in what) == ("warn", True)
    assert found(scene, "clerk key")[0] == "ok"


def test_a_missing_webhook_secret_is_bad_and_without_a_key_worse(scene: Scene) -> None:
    """S8: the webhook secret."""
    state, what = found(scene, "clerk webhook secret")
    assert (state, "0:15:00" in what) == ("warn", True)
    assert found(scene, "clerk webhook secret", CLERK_SECRET_KEY="")[0] == "fail"
    given = {"CLERK_WEBHOOK_SECRET": "whsec_ZXhhbXBsZQ=="}
    assert found(scene, "clerk webhook secret", **given)[0] == "ok"


def test_a_walk_that_never_was_or_is_late_is_seen(filled: Scene) -> None:
    assert found(filled, "clerk walk")[0] == "ok"
    filled.sql("UPDATE tenure.walks SET moved_at = now() - interval '1 hour'")
    assert found(filled, "clerk walk")[0] == "warn"
    filled.sql("DELETE FROM tenure.walks")
    assert "never" in found(filled, "clerk walk")[1]


def test_the_age_of_workos_s_cursor_is_watched(scene: Scene) -> None:
    """M7: WorkOS forgets events after 30 days; at 20 somebody is told."""
    key = {
        "WORKOS_API_KEY": "sk_test_w",
        "WORKOS_CLIENT_ID": "client_1",
        "WORKOS_API_BASE": "http://127.0.0.1:1",
    }
    assert found(scene, "workos cursor", **key)[0] == "warn"
    scene.sql(
        "INSERT INTO tenure.event_cursors (provider, cursor, event_at, moved_at)"
        " VALUES ('workos', 'event_1', now() - interval '1 minute', now())"
    )
    assert found(scene, "workos cursor", **key)[0] == "ok"
    scene.sql("UPDATE tenure.event_cursors SET lost_at = now()")
    assert found(scene, "workos cursor", **key)[0] == "warn"
    scene.sql("UPDATE tenure.event_cursors SET event_at = now() - interval '21 days'")
    assert found(scene, "workos cursor", **key)[0] == "fail"


def test_events_in_quarantine_are_named(scene: Scene) -> None:
    """Pain 2: a poison event does not stop the sync, and does not hide either."""
    scene.sql(
        "INSERT INTO tenure.inbox (source, livemode, event_id, kind, note, body)"
        " VALUES ('workos', false, 'event_1', 'user.updated', 'quarantined: no id', '')"
    )

    state, what = found(scene, "quarantine")

    assert (state, "workos event_1 (user.updated)" in what) == ("warn", True)


def test_members_beyond_a_limit_and_wrong_counters_are_seen(filled: Scene) -> None:
    """M7: seats equal memberships; where they do not, somebody is told."""
    filled.sql("UPDATE tenure.memberships SET holds_seat = false")

    assert found(filled, "seats")[0] == "fail"
    assert found(filled, "seat limits")[0] == "warn"
    filled.sql("UPDATE tenure.seats SET used = 0")
    assert found(filled, "seats")[0] == "ok"


def test_a_wish_that_nobody_carries_out_is_seen(filled: Scene) -> None:
    filled.sql(
        "UPDATE tenure.memberships SET wish = 'removed', wished_at = now() - interval '2 hours'"
    )

    state, what = found(filled, "wishes")

    assert (state, "removed at clerk: no try" in what) == ("warn", True)


def test_many_that_go_missing_are_told_before_it_stops(scene: Scene) -> None:
    """A key of another instance lacks everybody."""
    scene.sql(
        "INSERT INTO tenure.decisions (subject_kind, subject_id, verdict, reason, at)"
        " SELECT 'clerk.user', n::text, 'applied', 'missing_at_provider', now()"
        " FROM generate_series(1, 30) n"
    )

    assert found(scene, "absences")[0] == "warn"
    assert found(scene, "absences", TENURE_ABSENCE_LIMIT="30")[0] == "fail"
    assert found(scene, "absences", TENURE_ABSENCE_LIMIT="500")[0] == "ok"


def test_keys_that_forbid_to_delete_a_user_are_a_warning(scene: Scene) -> None:
    """M10: supabase#1948."""
    assert found(scene, "references")[0] == "ok"
    scene.sql("CREATE SCHEMA auth")
    scene.sql("CREATE TABLE auth.users (id uuid PRIMARY KEY)")
    scene.sql("CREATE TABLE public.messages (author uuid REFERENCES auth.users)")

    assert found(scene, "references")[0] == "warn"


def test_a_key_that_the_provider_refuses_is_a_failure(scene: Scene) -> None:
    """S8: a wrong key is found before it is needed."""
    with running_workos() as workos:
        other = {
            "WORKOS_API_KEY": "sk_wrong",
            "WORKOS_CLIENT_ID": workos.client_id,
            "WORKOS_API_BASE": workos.url,
        }
        assert found(scene, "workos key", **other)[0] == "fail"
        other["WORKOS_API_KEY"] = workos.api_key
        assert found(scene, "workos key", **other)[0] == "ok"
    state, what = found(scene, "clerk key", CLERK_SECRET_KEY="sk_test_wrong")
    assert (state, "does not accept our key" in what) == ("fail", True)
    assert found(scene, "clerk key", CLERK_API_BASE="http://127.0.0.1:1")[0] == "fail"


def test_a_key_of_another_instance_is_a_warning(filled: Scene) -> None:
    """It is taken, and lists users, none of whom is ours."""
    assert found(filled, "clerk key")[0] == "ok"
    with running_clerk() as other:
        headers = {"authorization": f"Bearer {other.secret_key}"}
        httpx.post(f"{other.url}/v1/users", headers=headers, json={"first_name": "Eve"})
        key = {"CLERK_SECRET_KEY": other.secret_key, "CLERK_API_BASE": other.url}
        state, what = found(filled, "clerk key", **key)

    assert (state, "none of the first 1" in what) == ("warn", True)


def test_one_process_is_one_worker(scene: Scene) -> None:
    """It beats with two hearts: one for chores, one for looks."""
    hearts = "INSERT INTO procrastinate.procrastinate_workers DEFAULT VALUES"
    for count in ("1 running", "1 running", "2 running"):
        scene.sql(hearts)
        assert found(scene, "workers") == ("ok", count)


def test_what_needs_no_stripe_is_looked_at_without_its_keys(scene: Scene) -> None:
    said = scene.tenure("doctor", "--json", STRIPE_SECRET_KEY="", STRIPE_WEBHOOK_SECRET="")

    by_name = {one["name"]: one["state"] for one in said.json["checks"]}
    assert (said.status, by_name["settings: STRIPE_SECRET_KEY"]) == (1, "fail")
    assert (by_name["schema"], by_name["clerk key"]) == ("ok", "ok")
    assert "stripe" not in by_name
    assert said.err == ""
