"""Processes that an earlier run left because it was killed: noted while they run, found by that."""

import json
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tenure.entry.local import pids
from tenure.entry.local.home import Home, write_private

WITHIN = 10.0  # seconds that they get to end by themselves
LAST = "postgres"  # the others use it


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A process as it was noted."""

    name: str
    pid: int
    born: str
    ends_by: int  # the signal that ends it in an orderly way

    @property
    def lives(self) -> bool:
        """Whether it runs, and not merely another one with its number."""
        return pids.born(self.pid) == self.born

    @property
    def is_ours(self) -> bool:
        """Whether it, or the group that it led, can be meant at all."""
        now_born = pids.born(self.pid)
        group_may_be = not now_born and self.born.startswith(pids.boot())
        return self.pid > 1 and bool(self.born) and (now_born == self.born or group_may_be)


def put_note(name: str, pid: int, home: Home, *, ends_by: signal.Signals = signal.SIGTERM) -> Path:
    """Note a process; whoever stops it drops the note."""
    note = home.notes / f"{name}.json"
    kept = {"pid": pid, "born": pids.born(pid), "ends_by": ends_by.value}
    write_private(note, json.dumps(kept))
    return note


def stop_leftovers(home: Home) -> list[str]:
    """Stop what is left of an earlier run; say which processes that were.

    Promise: a process that merely has the same number by now is left alone.
    """
    found = [left for note in sorted(home.notes.glob("*.json")) for left in _read(note)]
    stopped = _stop([one for one in found if one.name != LAST])
    stopped += _stop([one for one in found if one.name == LAST])
    for note in home.notes.glob("*.json"):
        note.unlink()
    return stopped


def _read(note: Path) -> list[Leftover]:
    with suppress(ValueError, KeyError, TypeError):  # a note that is none
        kept = json.loads(note.read_text(encoding="utf-8"))
        left = Leftover(
            name=note.stem,
            pid=int(kept["pid"]),
            born=str(kept["born"]),
            ends_by=int(kept["ends_by"]),
        )
        return [left] if left.is_ours else []
    return []


def _stop(found: Sequence[Leftover]) -> list[str]:
    """Stop processes side by side: gently, and after a while for certain."""
    lived = [one for one in found if one.lives]
    for one in lived:
        with suppress(ProcessLookupError):
            os.kill(one.pid, one.ends_by)
    deadline = time.monotonic() + WITHIN
    while any(one.lives for one in lived) and time.monotonic() < deadline:
        time.sleep(pids.LOOK_AGAIN)
    had_more = [one for one in found if pids.kill_group(one.pid)]
    pids.wait_for_groups([one.pid for one in had_more])
    return [one.name for one in found if one in lived or one in had_more]
