"""Say where a database stands: every change, every object, and what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Literal, LiteralString, cast

import psycopg

from tenure.schema.apply import Conn, connect, state_of
from tenure.schema.changes import Change, expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One change, as this database has it."""

    name: str
    state: Literal["applied", "pending", "edited", "broken"]
    applied_at: datetime | None = None
    applied_by: str | None = None
    took_ms: int | None = None
    why: str | None = None  # what its verify.sql says, when broken


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One object that must stand when every change is applied."""

    kind: str
    name: str
    change: str
    is_there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a database has of what this release needs."""

    changes: tuple[Standing, ...]
    objects: tuple[Item, ...]
    ahead: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is pending, edited, broken, missing or unknown to us."""
        return (
            all(change.state == "applied" for change in self.changes)
            and all(item.is_there for item in self.objects)
            and not self.ahead
        )


def check(url: str, changes: Sequence[Change]) -> Report:
    """Compare a database with all that the changes lead to; change nothing.

    Errors: NotAllowed, CannotLook.
    """
    with connect(url) as conn:
        state = state_of(conn, changes)
        log = _log(conn) if state.applied or state.ahead else {}
        applied, edited = set(state.applied), set(state.edited)
        there = present(conn)
        return Report(
            changes=tuple(
                _standing(conn, change, log[change.number], is_edited=change in edited)
                if change in applied
                else Standing(name=change.name, state="pending")
                for change in changes
            ),
            objects=tuple(
                Item(
                    kind=name.rpartition(" ")[0],
                    name=name.rpartition(" ")[2],
                    change=change.name,
                    is_there=name in there,
                )
                for name, change in expected(changes)
            ),
            ahead=state.ahead,
        )


def present(conn: Conn) -> frozenset[str]:
    """List what stands in our schemas, as "kind schema.name"."""
    return frozenset(f"{row['kind']} {row['name']}" for row in conn.execute(_catalog("objects")))


def _standing(
    conn: Conn, change: Change, logged: dict[str, object], *, is_edited: bool
) -> Standing:
    why = None if is_edited else _broken(conn, change)
    return Standing(
        name=change.name,
        state="edited" if is_edited else "broken" if why else "applied",
        applied_at=cast("datetime", logged["applied_at"]),
        applied_by=str(logged["applied_by"]),
        took_ms=cast("int", logged["took_ms"]),
        why=why,
    )


def _broken(conn: Conn, change: Change) -> str | None:
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(change.verify)
    except psycopg.Error as exc:
        return exc.diag.message_primary or str(exc)
    return None


def _log(conn: Conn) -> dict[int, dict[str, object]]:
    rows = conn.execute(
        "SELECT number, applied_at, applied_by, took_ms FROM tenure_changes.log ORDER BY number"
    )
    return {row["number"]: row for row in rows}


def _catalog(name: str) -> LiteralString:
    file = resources.files("tenure.schema") / "catalog" / f"{name}.sql"
    return cast("LiteralString", file.read_text(encoding="utf-8"))  # our own files
