"""`tenure up` and `tenure demo` as a newcomer runs them: as processes, from outside."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tenure.base.settings_table import FIELDS
from tenure.sandbox.postgres import free_port

BOUND = 60.0  # seconds; the machine may be busy with other tests
LOOK_AGAIN = 0.02


def plain_environment(**more: str) -> dict[str, str]:
    ours = {variable.name for variable in FIELDS.values()}
    kept = {k: v for k, v in os.environ.items() if k not in ours and not k.startswith("TENURE_")}
    return {**kept, **more}


def eventually(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + BOUND
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(LOOK_AGAIN)


def processes_in(folder: Path) -> dict[int, str]:
    """Everything that works in a directory or is told about it; ended ones do not count."""
    found = {}
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,stat=,args="],  # noqa: S607 (ps, wherever it is)
        capture_output=True,
        text=True,
        check=True,
    )
    for line in listed.stdout.splitlines():
        pid, stat, args = line.split(maxsplit=2)
        works_in = Path(f"/proc/{pid}/cwd")
        with contextlib.suppress(OSError):
            args += f" in {works_in.readlink()}"
        if str(folder) in args and not stat.startswith("Z") and int(pid) != os.getpid():
            found[int(pid)] = args
    return found


def is_listened_on(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(slots=True, kw_only=True)
class Run:
    """One `tenure …` that runs."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    told: dict = field(default_factory=dict)

    def until_it_says(self, words: str) -> str:
        eventually(lambda: words in self.out.read_text() or self.ended, f"{words!r} on stdout")
        assert words in self.out.read_text(), self.err.read_text()
        return self.out.read_text()

    def until_ready(self) -> dict:
        eventually(lambda: self._is_told() or self.ended, "JSON on stdout")
        assert self.told, self.err.read_text()
        assert "error" not in self.told, self.told
        return self.told

    def _is_told(self) -> bool:
        with contextlib.suppress(ValueError):
            self.told = json.loads(self.out.read_text())
        return bool(self.told)

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(BOUND)


@contextlib.contextmanager
def started(folder: Path, *args: str, **environ: str) -> Iterator[Run]:
    """Start `tenure …` in `folder`; whatever it is still doing at the end is stopped."""
    name = f"{args[0]}-{free_port()}"
    out, err = folder / f"{name}.out", folder / f"{name}.err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603 (our own arguments)
            [sys.executable, "-m", "tenure", *args],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env=plain_environment(**environ),
        )
    try:
        yield Run(process=process, out=out, err=err)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(BOUND)
