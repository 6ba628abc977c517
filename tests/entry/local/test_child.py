import os
import signal
import subprocess
import sys

import pytest

from tenure.entry.local import child
from tenure.entry.local.errors import Died
from tenure.entry.local.home import Home
from tenure.entry.local.leftovers import put_note

BOUND = 20.0  # seconds


def test_a_death_is_told_with_the_end_of_the_log(home: Home) -> None:
    started = child.start("serve", ["no-such-command"], dict(os.environ), home)
    assert started.process.wait(BOUND) == 2
    with pytest.raises(Died, match="serve ended by itself") as told:
        started.check()
    assert "exit status 2" in str(told.value)
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
    kept = put_note("deaf", process.pid, home)
    one = child.Child(name="deaf", process=process, log=home / "deaf.log", note=kept)
    child.stop([one], within=0.1)
    assert process.returncode == -signal.SIGKILL
    assert stranger.poll() is None
