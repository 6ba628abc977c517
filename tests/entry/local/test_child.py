import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.entry.local import child
from tenure.entry.local.errors import Died
from tenure.entry.local.home import Home, open_home

SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
BOUND = 20.0  # seconds


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which ends when the test does."""
    with subprocess.Popen(  # noqa: S603 (our own arguments)
        [sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


def note(home: Home, pid: int, born: str) -> None:
    kept = {"pid": pid, "born": born, "ends_by": signal.SIGTERM.value}
    (home.notes / "serve.json").write_text(json.dumps(kept))


def test_a_leftover_is_stopped_and_its_note_dropped(
    home: Home, stranger: subprocess.Popen[bytes]
) -> None:
    child.put_note("serve", stranger.pid, home)
    assert child.stop_leftovers(home) == ["serve"]
    assert stranger.wait(BOUND) == -signal.SIGTERM
    assert list(home.notes.iterdir()) == []


def test_another_process_with_the_same_number_is_left_alone(
    home: Home, stranger: subprocess.Popen[bytes]
) -> None:
    note(home, stranger.pid, child.born(os.getpid()))
    assert child.stop_leftovers(home) == []
    assert stranger.poll() is None
    assert list(home.notes.iterdir()) == []


def test_a_note_of_before_the_machine_was_started_anew_ends_nothing(
    home: Home, stranger: subprocess.Popen[bytes]
) -> None:
    note(home, stranger.pid, "another-boot 1")
    assert child.stop_leftovers(home) == []
    assert stranger.poll() is None


@pytest.mark.parametrize("text", ["", "nonsense", "{}", "[]", '{"pid": 0, "born": ""}'])
def test_a_note_that_is_none_is_dropped(home: Home, text: str) -> None:
    (home.notes / "serve.json").write_text(text)
    assert child.stop_leftovers(home) == []
    assert list(home.notes.iterdir()) == []


def test_a_process_that_ended_has_no_birth() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        assert child.born(os.getpid()) == child.born(os.getpid()) != ""
        deadline = time.monotonic() + BOUND
        while child.born(process.pid):
            assert time.monotonic() < deadline
    assert child.born(process.pid) == ""


def test_a_death_is_told_with_the_end_of_the_log(home: Home) -> None:
    started = child.start("serve", ["no-such-command"], dict(os.environ), home)
    assert started.process.wait(BOUND) == 2
    with pytest.raises(Died, match="serve ended by itself .exit status 2.*") as told:
        started.check()
    assert "no-such-command" in str(told.value)
    child.stop([started])
    assert list(home.notes.iterdir()) == []


def test_the_log_of_the_last_run_is_kept_aside(home: Home) -> None:
    for _ in range(2):
        child.stop([child.start("serve", ["--version"], dict(os.environ), home)])
    assert (home / "serve.log").exists()
    assert (home / "serve.log.old").exists()


def test_what_does_not_listen_is_killed(home: Home, stranger: subprocess.Popen[bytes]) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('up', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(  # noqa: S603 (our own arguments)
        [sys.executable, "-c", deaf], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout
    with process.stdout as said:
        said.readline()
    kept = child.put_note("deaf", process.pid, home)
    one = child.Child(name="deaf", process=process, log=home / "deaf.log", note=kept)
    child.stop([one], within=0.1)
    assert process.returncode == -signal.SIGKILL
    assert stranger.poll() is None
