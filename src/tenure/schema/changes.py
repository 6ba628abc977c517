"""The changes that lead to our schema: read from their folder, in order."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import LiteralString, cast

from tenure.base.errors import TenureError

NAME = re.compile(r"(?P<number>\d{4})_[a-z0-9_]+")
INCLUDE = "-- include: procrastinate"
OBJECTS = "objects.txt"  # written by scripts/docs.py
MADE = re.compile(
    r"^CREATE (?:UNIQUE )?(?P<kind>TABLE|TYPE|INDEX|FUNCTION) (?P<name>[a-z0-9_]+)", re.MULTILINE
)


class BadChange(TenureError):
    """A change's folder is not one up.sql, one verify.sql and one down.sql."""

    code = "schema.bad_change"
    hint = "A change is a folder NNNN_name with up.sql, verify.sql and down.sql."


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step of the schema, how to check it and how to take it back."""

    number: int
    name: str  # "0002_journal"
    up: LiteralString
    verify: LiteralString
    down: LiteralString
    written: str  # up.sql as it stands in the folder, before anything is included
    objects: frozenset[str] = frozenset()  # "table tenure.inbox": what it makes
    gone: frozenset[str] = frozenset()  # what it takes away from earlier changes

    @property
    def digest(self) -> str:
        """Name the exact text of the change, so that an edited one is found out.

        What is included is left out: a newer queue library is not an edit of ours.
        """
        return hashlib.sha256(self.written.encode()).hexdigest()


def folder() -> Path:
    """Say where the changes lie: inside the installed package, or in the source tree."""
    installed = Path(__file__).parent / "changes"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "db" / "changes"


def load(where: Path | None = None) -> list[Change]:
    """Read every change, in order.

    Errors: BadChange, also where a number is missing or used twice.
    """
    changes = [_read(path) for path in sorted((where or folder()).iterdir()) if path.is_dir()]
    numbers = [change.number for change in changes]
    if not changes or numbers != list(range(1, len(changes) + 1)):
        raise BadChange(f"changes must be numbered 1, 2, 3 …, found {numbers}", numbers=numbers)
    return changes


def _read(path: Path) -> Change:
    match = NAME.fullmatch(path.name)
    parts = {part: path / f"{part}.sql" for part in ("up", "verify", "down")}
    missing = [file.name for file in parts.values() if not file.is_file()]
    if match is None or missing:
        raise BadChange(f"{path.name}: " + (f"lacks {missing}" if missing else "is badly named"))
    written = _sql(parts["up"])
    queue = _queue() if INCLUDE in written else ""
    made, gone = _objects(path / OBJECTS)
    return Change(
        number=int(match["number"]),
        name=path.name,
        up=written.replace(INCLUDE, queue),
        verify=_sql(parts["verify"]),
        down=_sql(parts["down"]),
        written=written,
        objects=made | _made_by_queue(queue),
        gone=gone,
    )


def expected(applied: Iterable[Change]) -> list[tuple[str, Change]]:
    """List the objects that must stand after these changes, each with the change that made it."""
    found: dict[str, Change] = {}
    for change in applied:
        found = {name: by for name, by in found.items() if name not in change.gone}
        found |= dict.fromkeys(sorted(change.objects), change)
    return list(found.items())


def _objects(path: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Read objects.txt: what the change makes, and behind `- ` what it takes away."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    gone = frozenset(line.removeprefix("- ") for line in lines if line.startswith("- "))
    return frozenset(line for line in lines if line and not line.startswith(("-", "#"))), gone


def _made_by_queue(queue: str) -> frozenset[str]:
    """Name what the installed procrastinate needs, which is not ours to list in a file."""
    return frozenset(
        f"{match['kind'].lower()} procrastinate.{match['name']}" for match in MADE.finditer(queue)
    )


def _sql(path: Path) -> LiteralString:
    return cast("LiteralString", path.read_text(encoding="utf-8"))  # our own files


def _queue() -> LiteralString:
    """Read the SQL of the installed procrastinate, a dependency that is not copied here."""
    found = resources.files("procrastinate.sql") / "schema.sql"
    return cast("LiteralString", found.read_text(encoding="utf-8"))
