import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tenure.entry.local.home import Home
from tenure.entry.local.leftovers import put_note, stop_leftovers
from tenure.entry.local.pids import born

BOUND = 20.0  # seconds


def note(home: Home, pid: int, born: str) -> None:
    kept = {"pid": pid, "born": born, "ends_by": signal.SIGTERM.value}
    (home.notes / "serve.json").write_text(json.dumps(kept))


def test_a_leftover_is_stopped_and_its_note_dropped(
    home: Home, stranger: subprocess.Popen[bytes]
) -> None:
    put_note("serve", stranger.pid, home)
    assert stop_leftovers(home) == ["serve"]
    assert stranger.wait(BOUND) == -signal.SIGTERM
    assert list(home.notes.iterdir()) == []


def test_another_process_with_the_same_number_is_left_alone(
    home: Home, stranger: subprocess.Popen[bytes]
) -> None:
    note(home, stranger.pid, born(os.getpid()))
    assert stop_leftovers(home) == []
    assert stranger.poll() is None
    assert list(home.notes.iterdir()) == []


def test_a_note_of_before_the_machine_was_started_anew_ends_nothing(
    home: Home, stranger: subprocess.Popen[bytes]
) -> None:
    note(home, stranger.pid, "another-boot 1")
    assert stop_leftovers(home) == []
    assert stranger.poll() is None


@pytest.mark.parametrize("text", ["", "nonsense", "{}", "[]", '{"pid": 0, "born": ""}'])
def test_a_note_that_is_none_is_dropped(home: Home, text: str) -> None:
    (home.notes / "serve.json").write_text(text)
    assert stop_leftovers(home) == []
    assert list(home.notes.iterdir()) == []


def test_a_process_that_ended_has_no_birth() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        assert born(os.getpid()) == born(os.getpid()) != ""
        deadline = time.monotonic() + BOUND
        while born(process.pid):
            assert time.monotonic() < deadline
    assert born(process.pid) == ""
