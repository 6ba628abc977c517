"""What one check of `tenure doctor` says."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "warn", "fail"]
    what: str  # what was seen
    fix: str = ""  # what to do about it; empty when all is well


Results = Iterator[Result]


def ok(name: str, what: str) -> Result:
    """Say that all is well."""
    return Result(name=name, state="ok", what=what)


def warn(name: str, what: str, fix: str) -> Result:
    """Say that it works, and that somebody should look at it."""
    return Result(name=name, state="warn", what=what, fix=fix)


def fail(name: str, what: str, fix: str) -> Result:
    """Say that something does not work."""
    return Result(name=name, state="fail", what=what, fix=fix)


def several(count: int | str, one: str, many: str = "") -> str:
    """Count in words: "1 row", "2 rows"."""
    return f"{count} {one if count == 1 else many or one + 's'}"
