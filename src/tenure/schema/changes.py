"""The changes that lead to our schema: read from their folder, in order."""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import LiteralString, cast

from tenure.base.errors import TenureError

NAME = re.compile(r"(?P<number>\d{4})_[a-z0-9_]+")
INCLUDE = "-- include: procrastinate"


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

    @property
    def digest(self) -> str:
        """Name the exact text that goes up, so that an edited change is found out."""
        return hashlib.sha256(self.up.encode()).hexdigest()


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
    return Change(
        number=int(match["number"]),
        name=path.name,
        up=_sql(parts["up"]).replace(INCLUDE, _queue() if INCLUDE in _sql(parts["up"]) else ""),
        verify=_sql(parts["verify"]),
        down=_sql(parts["down"]),
    )


def _sql(path: Path) -> LiteralString:
    return cast("LiteralString", path.read_text(encoding="utf-8"))  # our own files


def _queue() -> LiteralString:
    """The SQL of the installed procrastinate, which is a dependency and not copied here."""
    found = resources.files("procrastinate.sql") / "schema.sql"
    return cast("LiteralString", found.read_text(encoding="utf-8"))
