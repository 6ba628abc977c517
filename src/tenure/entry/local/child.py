"""A process that we started: its log, its note, its end."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tenure.entry.local import leftovers, pids
from tenure.entry.local.errors import Died
from tenure.entry.local.home import Home

WITHIN = 10.0  # seconds that a process gets to end by itself
LAST_LINES = 12


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
    note = leftovers.put_note(name, process.pid, home)
    return Child(name=name, process=process, log=log, note=note)


def stop(children: Sequence[Child], *, within: float = WITHIN) -> None:
    """Stop processes side by side: gently, and after a while (in seconds) for certain."""
    for child in children:
        child.process.terminate()
    deadline = time.monotonic() + within
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.process.wait(max(0.0, deadline - time.monotonic()))
    for child in children:
        pids.kill_group(child.process.pid)
        child.process.wait()
        child.note.unlink(missing_ok=True)
    pids.wait_for_groups([child.process.pid for child in children])


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
