"""Filling, comparing, repairing, explaining and replaying, as somebody at a shell does it."""

from collections.abc import Iterator

import pytest
from psycopg.conninfo import make_conninfo

from tests.entry.cli.conftest import Run
from tests.entry.cli.identity_scene import Scene, a_scene


@pytest.fixture
def scene(run: Run, url: str) -> Iterator[Scene]:
    with a_scene(run, url) as made:
        yield made


@pytest.fixture
def filled(scene: Scene) -> Scene:
    """Two people in one organization, known on both sides."""
    ada = scene.a_user()
    org = scene.an_org(ada)
    scene.join(org, scene.a_user("grace"))
    assert scene.tenure("sync", "backfill", "--json").status == 0
    return scene


def test_backfill_writes_everybody_and_shows_its_progress(scene: Scene) -> None:
    """A7, M7: the first filling, from the provider's lists."""
    ada = scene.a_user()
    scene.join(scene.an_org(ada), scene.a_user("grace"))

    said = scene.tenure("sync", "backfill", "clerk", "--json")

    (walked,) = said.json
    assert (said.status, walked["ended"], walked["went_on"]) == (0, True, False)
    assert walked["counts"] == {
        "users": 2,
        "organizations": 1,
        "memberships": 2,
        "differences": 5,
    }
    assert "clerk: 2 users" in said.err
    rows = scene.sql("SELECT role, holds_seat FROM tenure.memberships ORDER BY role")
    assert rows == [{"role": "admin", "holds_seat": True}, {"role": "member", "holds_seat": True}]
    assert "ended" in scene.tenure("sync", "backfill").out


def test_a_backfill_that_was_cut_off_is_gone_on_with(scene: Scene) -> None:
    scene.an_org(scene.a_user())
    scene.sql(
        "INSERT INTO tenure.walks (provider, run, phase, counts, began_at, moved_at)"
        " VALUES ('clerk', gen_random_uuid(), 'organizations', '{\"users\": 1}', now(), now())"
    )

    (walked,) = scene.tenure("sync", "backfill", "--json").json

    assert (walked["went_on"], walked["ended"]) == (True, True)
    assert walked["counts"]["users"] == 1


def test_without_a_key_nothing_can_be_asked(scene: Scene) -> None:
    said = scene.run("sync", "backfill", DATABASE_URL=scene.url)

    assert said.status == 2
    assert "cli.nothing_to_ask" in said.err
    nobody = scene.run("sync", "backfill", "supabase", DATABASE_URL=scene.url)
    assert nobody.err.startswith("cli.nothing_to_ask: SUPABASE_URL is not set\n")
    elsewhere = scene.run(
        "sync",
        "backfill",
        "supabase",
        DATABASE_URL=scene.url,
        SUPABASE_URL="https://x.supabase.co",
    )
    assert "the database of DATABASE_URL has no auth.users" in elsewhere.err


def test_a_provider_that_refuses_the_key_could_not_be_looked_at(scene: Scene) -> None:
    said = scene.tenure("sync", "drift", "identity", "--json", CLERK_SECRET_KEY="sk_test_other")

    assert (said.status, said.err) == (2, "")
    assert said.json["error"]["code"] == "identity.provider_key_refused"


def test_no_drift_is_exit_0(filled: Scene) -> None:
    """B3: the report, with nothing in it."""
    said = filled.tenure("sync", "drift", "identity")

    assert (said.status, said.out) == (0, "clerk: 0 differ\n")


def test_every_difference_is_told_with_its_reason_and_changes_nothing(filled: Scene) -> None:
    """B3: unknown here, missing there, changed; ours and theirs side by side."""
    (grace,) = filled.sql(
        "SELECT external_id FROM tenure.identities WHERE user_id IS NOT NULL"
        " ORDER BY created_at DESC, external_id LIMIT 1"
    )
    filled.a_user("new")
    filled.sql("DELETE FROM tenure.decisions")
    filled.sql("UPDATE tenure.memberships SET role = 'viewer' WHERE role = 'member'")
    org = filled.an_org(filled.a_user("other"), "Other")
    filled.sql("UPDATE tenure.walks SET moved_at = now()")

    said = filled.tenure("sync", "drift", "identity", "--json")

    assert said.status == 1
    (clerk,) = said.json["providers"]
    reasons = {tuple(d["subject"]): d["reason"] for d in clerk["differences"]}
    assert ("clerk.org", org) in reasons
    assert set(reasons.values()) == {"unknown_here", "changed"}
    changed = [d for d in clerk["differences"] if d["reason"] == "changed"]
    assert ["viewer" in d["ours"] and "member" in d["theirs"] for d in changed] == [True]
    assert clerk["left"] is None
    assert grace
    assert filled.sql("SELECT count(*) AS n FROM tenure.users") == [{"n": 2}]
    assert filled.sql("SELECT count(*) AS n FROM tenure.subjects") == [{"n": 0}]
    text = filled.tenure("sync", "drift", "identity").out
    assert "changed; ours" in text


def test_repair_writes_looks_and_leaves_an_audit_line(filled: Scene) -> None:
    """B3: an audited repair: lost events, a wrong role, and somebody who is not there any more."""
    (gone,) = filled.sql(
        "SELECT i.external_id AS user, o.external_id AS org FROM tenure.memberships m"
        " JOIN tenure.identities i ON i.user_id = m.user_id"
        " JOIN tenure.identities o ON o.org_id = m.org_id WHERE m.role = 'member'"
    )
    filled.api.delete(f"/v1/organizations/{gone['org']}/memberships/{gone['user']}")
    filled.join(gone["org"], filled.a_user("new"))
    filled.sql("UPDATE tenure.memberships SET updated_at = now() - interval '1 day'")

    said = filled.tenure("sync", "drift", "identity", "--repair", "--json")

    assert said.status == 0, said.out
    (clerk,) = said.json["providers"]
    assert {d["reason"] for d in clerk["differences"]} == {"unknown_here", "missing_there"}
    assert (said.json["same"], clerk["left"]) == (True, [])
    assert clerk["looks"] >= 1
    members = filled.sql("SELECT role, removed_at IS NULL AS stands FROM tenure.memberships")
    assert sorted((m["role"], m["stands"]) for m in members) == [
        ("admin", True),
        ("member", False),
        ("member", True),
    ]
    (line,) = filled.sql("SELECT * FROM tenure.audit_log WHERE action = 'identity.repaired'")
    assert (line["actor"], line["details"]["left"]) == ("tenure:cli", 0)
    assert filled.tenure("sync", "drift", "identity").status == 0


def test_a_user_is_explained_in_plain_words(filled: Scene) -> None:
    """M7: who she is, where she belongs, how she came, what was decided."""
    said = filled.tenure("sync", "explain", "grace@example.com")

    assert said.status == 0
    assert "<grace@example.com>" in said.out
    assert "in Engines: active as member, holds a seat, generation 1" in said.out
    assert "nothing → active as member, seated  (walk orgmem_" in said.out
    assert "applied, joined" in said.out
    (found,) = filled.tenure("sync", "explain", "grace@example.com", "--json").json
    assert found["memberships"][0]["history"][0]["cause"] == "walk"
    assert "T" in found["memberships"][0]["history"][0]["at"]


def test_what_changed_is_told_in_the_order_it_happened(filled: Scene) -> None:
    """M7: seats taken away, a removal, each with its moment; text and JSON say the same."""
    (one,) = filled.sql(
        "SELECT i.external_id AS user, o.external_id AS org FROM tenure.memberships m"
        " JOIN tenure.identities i ON i.user_id = m.user_id"
        " JOIN tenure.identities o ON o.org_id = m.org_id WHERE m.role = 'member'"
    )
    assert filled.tenure("seats", "limit", one["org"], "1").status == 0
    filled.api.delete(f"/v1/organizations/{one['org']}/memberships/{one['user']}")
    filled.sql("UPDATE tenure.memberships SET updated_at = now() - interval '1 day'")
    assert filled.tenure("sync", "drift", "identity", "--repair").status == 0

    said = filled.tenure("sync", "explain", one["user"])
    (found,) = filled.tenure("sync", "explain", one["user"], "--json").json

    assert "active as member, seat given up" in said.out
    assert "in Engines: removed as member" in said.out
    assert found["memberships"][0]["member"]["status"] == "removed"
    moments = [made["at"] for made in found["decisions"]]
    assert moments == sorted(moments)
    assert len(moments) > 1
    assert "[]" not in said.out


def test_an_organization_and_nothing_are_explained(filled: Scene) -> None:
    (org,) = filled.sql("SELECT id FROM tenure.organizations")

    assert "Engines" in filled.tenure("sync", "explain", str(org["id"])).out
    said = filled.tenure("sync", "explain", "user_none")
    assert (said.status, "identity.nothing_known" in said.err) == (2, True)


def quarantined(scene: Scene, body: str) -> None:
    scene.sql(
        "INSERT INTO tenure.inbox (source, livemode, event_id, kind, note, body)"
        " VALUES ('clerk', false, 'msg_1', 'user.updated', 'quarantined: no id', %s)",
        body.encode(),
    )


def test_a_poison_event_is_explained_and_replayed(filled: Scene) -> None:
    """M8: pain 2: once it can be read, one command has it looked at."""
    quarantined(filled, '{"type": "user.updated", "data": {"id": "user_1"}, "timestamp": 1}')

    assert "concerned nobody: quarantined: no id" in filled.tenure("sync", "explain", "msg_1").out
    said = filled.tenure("sync", "replay", "msg_1")

    assert (said.status, said.out) == (0, "marked: clerk.user user_1; a worker looks at it\n")
    assert "not settled yet" in filled.tenure("sync", "explain", "msg_1").out


def test_a_poison_event_that_still_is_one_is_said(filled: Scene) -> None:
    quarantined(filled, '{"type": "user.updated", "data": {}, "timestamp": 1}')

    said = filled.tenure("sync", "replay", "msg_1", "--json")

    assert (said.status, said.json["subject"]) == (1, None)
    assert "quarantined" in said.json["note"]


def test_an_event_that_is_not_kept_cannot_be_replayed(scene: Scene) -> None:
    said = scene.tenure("sync", "replay", "msg_none")

    assert (said.status, "cli.no_such_event" in said.err) == (2, True)


def test_a_database_without_our_tables_is_one_line(scene: Scene, empty: str) -> None:
    said = scene.tenure("sync", "explain", "x", DATABASE_URL=empty)

    assert said.status == 2
    assert "schema.not_applied" in said.err
    assert "Run `tenure db apply`" in said.err


@pytest.mark.parametrize(
    ("more", "words"),
    [({"port": "1"}, "refused"), ({"user": "tenure_nobody", "password": "p"}, "tenure_nobody")],
)
def test_a_database_that_lets_nobody_in_is_told_at_once(
    scene: Scene, more: dict[str, str], words: str
) -> None:
    """The cause on one line, not what a pool makes of it after many tries."""
    said = scene.tenure("sync", "explain", "x", DATABASE_URL=make_conninfo(scene.url, **more))

    assert (said.status, said.out) == (2, "")
    first, hint = said.err.splitlines()
    assert first.startswith("schema.cannot_look: ")
    assert words in first
    assert hint.startswith("  ")
