"""Processes by their numbers: which one is meant, and the end of a whole group."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

LOOK_AGAIN = 0.02
GONE_WITHIN = 1.0  # seconds, after SIGKILL
BOOT = Path("/proc/sys/kernel/random/boot_id")


def born(pid: int) -> str:
    """Say when a process was born, so that its number means only it; empty when it is gone."""
    if not BOOT.exists():
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
    return "" if words[0] in {"Z", "X"} else f"{boot()} {words[19]}"


def boot() -> str:
    """Name this run of the machine, where it can be named."""
    return BOOT.read_text().strip() if BOOT.exists() else "unknown"


def kill_group(pid: int) -> bool:
    """Kill what is left of a group; its number is not given away while a member lives."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # none, or (macOS) only ended ones
        return False
    return True


def wait_for_groups(leaders: Iterable[int]) -> None:
    """Wait until killed groups are gone; not for long, for nobody may care for their remains."""
    deadline = time.monotonic() + GONE_WITHIN
    for pid in leaders:
        with suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < deadline:
                os.killpg(pid, 0)
                time.sleep(LOOK_AGAIN)
