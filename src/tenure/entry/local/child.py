"""A process that we started: its log, its note, its end; and those that an earlier run left."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tenure.entry.local.errors import Died
from tenure.entry.local.home import Home, write_private

WITHIN = 10.0  # seconds that a process gets to end by itself
LOOK_AGAIN = 0.02
LAST_LINES = 12
PROC = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process of ours, the leader of a group of its own."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    note: Path

    def check(self) -> None:
        """See whether it runs.

        Errors: Died, with the end of its log.
        """
        status = self.process.poll()
        if status is not None:
            raise Died(f"{self.name} ended by itself ({how(status)}); {end_of(self.log)}")


def start(name: str, args: Sequence[str], env: Mapping[str, str], home: Home) -> Child:
    """Start `tenure …` as a process that Ctrl-C does not reach; the last log becomes `.log.old`."""
    log = home / f"{name}.log"
    if log.exists():
        log.replace(log.with_name(f"{name}.log.old"))
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 (our own arguments)
            [sys.executable, "-m", "tenure", *args],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=env,
            cwd=home.path,  # where no .env of yours lies
            start_new_session=True,
        )
    note = put_note(name, process.pid, home)
    return Child(name=name, process=process, log=log, note=note)


def put_note(name: str, pid: int, home: Home, *, ends_by: signal.Signals = signal.SIGTERM) -> Path:
    """Note a process, so that it is found even if we are killed; whoever stops it drops the note.

    `ends_by`: the signal that ends it in an orderly way.
    """
    note = home.notes / f"{name}.json"
    kept = {"pid": pid, "born": born(pid), "ends_by": ends_by.value}
    write_private(note, json.dumps(kept))
    return note


def stop(children: Sequence[Child], *, within: float = WITHIN) -> None:
    """Stop processes side by side: gently, and after a while (in seconds) for certain."""
    for child in children:
        child.process.terminate()
    deadline = time.monotonic() + within
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, deadline - time.monotonic()))
    for child in children:
        _kill_group(child.process.pid)
        child.process.wait()
        _wait_for_group(child.process.pid)
        child.note.unlink(missing_ok=True)


def stop_leftovers(home: Home) -> list[str]:
    """Stop what a supervisor left that was killed; say which processes that were.

    Promise: a process that merely has the same number by now is left alone.
    """
    found: list[str] = []
    notes = sorted(home.notes.glob("*.json"), key=lambda note: note.stem == "postgres")
    for note in notes:  # the database last: the others use it
        with suppress(ValueError, KeyError, TypeError):  # a note that is none
            kept = json.loads(note.read_text(encoding="utf-8"))
            if kept["born"] and _stop_leftover(
                int(kept["pid"]), str(kept["born"]), int(kept["ends_by"])
            ):
                found.append(note.stem)
        note.unlink(missing_ok=True)
    return found


def _stop_leftover(pid: int, was_born: str, ends_by: int) -> bool:
    now_born = born(pid)
    if now_born != was_born and (now_born or not was_born.startswith(_boot())):
        return False  # somebody else has this number now, or the machine was started anew
    if now_born:
        with suppress(ProcessLookupError):
            os.kill(pid, ends_by)
        deadline = time.monotonic() + WITHIN
        while born(pid) == was_born and time.monotonic() < deadline:
            time.sleep(LOOK_AGAIN)
    had_more = _kill_group(pid)
    _wait_for_group(pid)
    return had_more or bool(now_born)


def _kill_group(pid: int) -> bool:
    """Kill what is left of a group; its number is not given away while a member lives."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # none, or (macOS) only ended ones
        return False
    return True


def _wait_for_group(pid: int) -> None:
    deadline = time.monotonic() + 1.0
    with suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(pid, 0)
            time.sleep(LOOK_AGAIN)


def born(pid: int) -> str:
    """Say when a process was born, so that its number means only it; empty when it is gone."""
    if not PROC.exists():
        told = subprocess.run(  # noqa: S603 (our own arguments)
            ["/bin/ps", "-o", "lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return told.stdout.strip()
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    # The name, in parentheses, may hold anything; the state is the first word behind it.
    words = stat.rpartition(")")[2].split()
    return "" if words[0] in {"Z", "X"} else f"{_boot()} {words[19]}"


def _boot() -> str:
    """Name this run of the machine, where it can be named."""
    return PROC.read_text().strip() if PROC.exists() else "unknown"


def end_of(log: Path, lines: int = LAST_LINES) -> str:
    """Quote the end of a log."""
    last = _lines(log)[-lines:]
    return f"{log} ends with:" + "".join(f"\n    {line}" for line in last)


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines() if log.exists() else []


def how(status: int) -> str:
    """Say how a process ended."""
    if status < 0:
        with suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"


def check_all(children: Iterable[Child]) -> None:
    """See whether all run.

    Errors: Died.
    """
    for child in children:
        child.check()


def said(child: Child, words: str) -> bool:
    """Say whether a process has written something into its log."""
    return any(words in line for line in _lines(child.log))
