import json
import os
import re
import signal
import stat
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import psycopg
import pytest

from tenure.entry.local.pids import born
from tenure.sandbox.postgres import free_port
from tests.story.world import BOUND, Run, eventually, is_listened_on, processes_in, started

QUIET = ("--no-story", "--json")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory whose ports are its own, so that other tests do not have them."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: free_port() for name in ("stripe", "identity", "postgres")}
    (home / "ports.json").write_text(json.dumps(kept))
    return home


def up(data: Path, *args: str) -> AbstractContextManager[Run]:
    port = _port_of(data)
    return started(data.parent, "up", "--data", data.name, "--port", str(port), *args)


def _port_of(data: Path) -> int:
    """One port for all runs of a test."""
    path = data / "ports.json"
    kept = json.loads(path.read_text())
    if "service" not in kept:
        path.write_text(json.dumps({**kept, "service": free_port()}))
    return json.loads(path.read_text())["service"]


def ports_of(data: Path) -> list[int]:
    return list(json.loads((data / "ports.json").read_text()).values())


def settings_of(data: Path) -> dict[str, str]:
    lines = (data / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def audit(told: dict, token: str) -> list[dict]:
    answer = httpx.get(
        told["addresses"]["service"] + "/orgs/current/audit",
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    )
    assert answer.is_success, answer.text
    return answer.json()["data"]


def assert_nothing_is_left(data: Path) -> None:
    assert processes_in(data) == {}
    assert [port for port in ports_of(data) if is_listened_on(port)] == []
    assert list((data / "run").iterdir()) == []


def test_up_tells_the_story_serves_and_leaves_nothing(data: Path) -> None:
    """B5, B7: one command runs everything; what it prints to try works; Ctrl-C ends all of it."""
    with up(data) as run:
        said = run.until_it_says("Three things to try")
        run.until_it_says("/stripe/checkout\n")
        assert "16 of 16 steps held" in said, said
        gate, log, checkout = _three_answers(run)
        assert gate["error"]["code"] == "gate.subscription_ended"
        assert gate["decision"]["reason"] == "subscription_ended"
        told = [line["action"] for line in log["data"]]
        assert told[:2] == ["organization.created", "member.joined"]
        assert told.index("member.left") < told.index("customer.created")
        assert httpx.get(checkout["url"], trust_env=False).is_success
        assert run.stop(signal.SIGINT) == 0
    assert "nothing is left running" in run.out.read_text()
    assert_nothing_is_left(data)


def _three_answers(run: Run) -> list[dict]:
    commands = re.findall(r"^  (curl .+)$", run.out.read_text(), re.MULTILINE)
    assert len(commands) == 3
    printed = [
        subprocess.run(  # noqa: S603 (what we print ourselves)
            ["sh", "-c", command],  # noqa: S607 (as a newcomer does)
            cwd=run.out.parent,
            capture_output=True,
            check=True,
        ).stdout
        for command in commands
    ]
    return [json.loads(one) for one in printed]


def test_the_second_run_keeps_the_data(data: Path) -> None:
    """B5: a token, an organization and the keys of the first run are still good in the second."""
    with up(data, *QUIET) as run:
        first = run.until_ready()
        before = audit(first, first["token"])
        with up_again(data) as second:
            assert second.process.wait(BOUND) == 2
            assert "local.already_running" in second.out.read_text()
        secrets = (data / "secrets.json").read_text()
        assert run.stop(signal.SIGTERM) == 0
    assert_nothing_is_left(data)

    with up(data, *QUIET) as run:
        again = run.until_ready()
        assert [line["action"] for line in before][:2] == ["organization.created", "member.joined"]
        assert audit(again, first["token"])[: len(before)] == before
        assert again["addresses"] == first["addresses"]
        assert (data / "secrets.json").read_text() == secrets
        assert again["token"] != first["token"], "new people in every run"
        assert run.stop() == 0
    assert_nothing_is_left(data)


def up_again(data: Path) -> AbstractContextManager[Run]:
    return started(data.parent, "up", "--data", data.name, "--port", str(free_port()), *QUIET)


def test_the_service_is_no_superuser_and_secrets_stay_secret(data: Path) -> None:
    """A1, B7: the roles are real, and no process shows a secret on its command line."""
    with up(data, *QUIET) as run:
        told = run.until_ready()
        shown = "\n".join(processes_in(data).values())
        secrets = json.loads((data / "secrets.json").read_text()).values()
        assert "--seed" in shown
        assert [secret for secret in secrets if secret in shown] == []
        with psycopg.connect(settings_of(data)["DATABASE_URL"]) as conn:
            row = conn.execute(
                "SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb"
                "  FROM pg_roles WHERE rolname = current_user"
            ).fetchone()
            assert row == ("tenure_service", False)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute("DELETE FROM tenure.audit_log")
        for name in ("secrets.json", "settings.env", "token", "clerk.json"):
            assert stat.S_IMODE((data / name).stat().st_mode) == 0o600, name
        assert set(told["pids"]) == {"stripe", "clerk", "serve", "work", "postgres"}


def test_what_a_killed_supervisor_left_is_stopped_by_the_next(data: Path) -> None:
    """B5: nobody has to look for processes by hand."""
    with up(data, *QUIET) as run:
        first = run.until_ready()
        assert run.stop(signal.SIGKILL) == -signal.SIGKILL
    left = {name: (pid, born(pid)) for name, pid in first["pids"].items()}
    assert all(was_born for _, was_born in left.values()), "they outlive their supervisor"

    with up(data, *QUIET) as run:
        again = run.until_ready()
        assert [name for name, (pid, was_born) in left.items() if born(pid) == was_born] == []
        assert again["addresses"] == first["addresses"]
        kept = [line["action"] for line in audit(again, first["token"])]
        assert kept[:2] == ["organization.created", "member.joined"]
        assert run.stop() == 0
    assert_nothing_is_left(data)


def test_a_first_run_that_was_killed_half_way_is_no_trouble(data: Path) -> None:
    """B5: a database that was being made is made anew."""
    with up(data, *QUIET) as run:
        eventually((data / "postgres.new").exists, "a database is being made")
        run.stop(signal.SIGKILL)
    with up(data, *QUIET) as run:
        told = run.until_ready()
        assert audit(told, told["token"])
        assert run.stop() == 0
    assert_nothing_is_left(data)


@pytest.mark.parametrize("name", ["work", "serve", "postgres"])
def test_a_process_that_dies_is_reported_and_all_are_stopped(data: Path, name: str) -> None:
    """B5: ... with its name and the end of its log."""
    with up(data, *QUIET) as run:
        pids = run.until_ready()["pids"]
        os.kill(pids[name], signal.SIGKILL)
        assert run.process.wait(BOUND) == 2
    error = run.out.read_text().partition("\n}\n")[2]
    assert '"local.died"' in error
    assert f"{name} ended by itself (SIGKILL)" in error
    assert f"{name}.log ends with:" in error
    eventually(lambda: not processes_in(data), "nothing is left running")
    assert_nothing_is_left(data)
