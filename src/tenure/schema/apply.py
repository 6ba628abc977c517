"""Move a database along our changes, one transaction each, everything written down."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg.rows import DictRow, dict_row

from tenure.base.errors import TenureError
from tenure.schema.changes import Change

Conn = psycopg.Connection[DictRow]
LOCK = 7_301_520_118  # an advisory lock: one runner at a time, whoever started it

LOG: LiteralString = """
    CREATE SCHEMA IF NOT EXISTS tenure_changes;
    CREATE TABLE IF NOT EXISTS tenure_changes.log (
        number     integer     PRIMARY KEY,
        name       text        NOT NULL,
        digest     text        NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        applied_by text        NOT NULL DEFAULT current_user,
        took_ms    integer     NOT NULL
    );
    """


class ChangeFailed(TenureError):
    """A change could not be applied or verified; the database is as it was before it."""

    code = "schema.change_failed"
    hint = "Mend the cause named above and run the command again; earlier changes stay."


class ChangeEdited(TenureError):
    """A change that was applied has another text now."""

    code = "schema.change_edited"
    hint = "Restore the change's text; put what is new into a change of its own."


class AnotherRunner(TenureError):
    """Somebody else is moving this database right now."""

    code = "schema.another_runner"
    hint = "Wait until it has finished, then run `tenure db status`."


class NotAllowed(TenureError):
    """The role that signed in may not read or change what it would have to."""

    code = "schema.not_allowed"
    hint = "Use the database's owner for `tenure db`, or a member of tenure_owner."


class DatabaseAhead(TenureError):
    """The database has changes that this release does not carry."""

    code = "schema.database_ahead"
    hint = "Use the release that applied them, or a newer one."


class CannotLook(TenureError):
    """The database could not be reached."""

    code = "schema.cannot_look"
    hint = "Check the address, and that this role may CONNECT."


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a database stands."""

    applied: tuple[Change, ...]
    pending: tuple[Change, ...]
    edited: tuple[Change, ...]  # applied with another text
    ahead: tuple[int, ...] = ()  # numbers of applied changes that we do not carry


Told = Callable[[str, Change, int], None]  # ("applied" or "taken back", which, milliseconds)


def _quiet(_what: str, _change: Change, _ms: int) -> None:
    """Tell nobody."""


def status(url: str, changes: Sequence[Change]) -> State:
    """Compare a database with the changes we carry.

    Errors: NotAllowed, CannotLook.
    """
    with connect(url) as conn:
        return state_of(conn, changes)


def apply(
    url: str, changes: Sequence[Change], *, to: int | None = None, told: Told = _quiet
) -> State:
    """Apply what is pending, up to number `to`.

    Errors:  ChangeFailed, ChangeEdited, AnotherRunner, NotAllowed, CannotLook.
    Promise: each change is applied and verified in one transaction, or not at all.
    """
    with connect(url) as conn, _alone(conn):
        conn.execute(LOG)
        state = state_of(conn, changes)
        if state.edited:
            names = ", ".join(change.name for change in state.edited)
            raise ChangeEdited(f"applied with another text: {names}")
        for change in state.pending:
            if to is not None and change.number > to:
                break
            told("applied", change, _up(conn, change))
        return state_of(conn, changes)


def back(url: str, changes: Sequence[Change], *, to: int, told: Told = _quiet) -> State:
    """Take back every applied change above number `to`, newest first.

    Errors: ChangeFailed, DatabaseAhead, AnotherRunner, NotAllowed, CannotLook.
    """
    with connect(url) as conn, _alone(conn):
        state = state_of(conn, changes)
        if state.ahead:
            numbers = ", ".join(map(str, state.ahead))
            raise DatabaseAhead(f"changes stand on top that we do not carry: {numbers}")
        for change in reversed(state.applied):
            if change.number > to:
                told("taken back", change, _down(conn, change))
        return state_of(conn, changes)


def _up(conn: Conn, change: Change) -> int:
    started = time.perf_counter()
    with _saying(change), conn.transaction():
        conn.execute(change.up)
        conn.execute("RESET ROLE")
        conn.execute("RESET search_path")
        conn.execute(change.verify)
        took = round((time.perf_counter() - started) * 1000)
        conn.execute(
            """
            INSERT INTO tenure_changes.log (number, name, digest, took_ms) VALUES (%s, %s, %s, %s)
            """,
            (change.number, change.name, change.digest, took),
        )
    return took


def _down(conn: Conn, change: Change) -> int:
    started = time.perf_counter()
    with _saying(change), conn.transaction():
        conn.execute(change.down)
        conn.execute("DELETE FROM tenure_changes.log WHERE number = %s", (change.number,))
    return round((time.perf_counter() - started) * 1000)


@contextmanager
def _saying(change: Change) -> Generator[None]:
    try:
        yield
    except psycopg.Error as exc:
        said = [exc.diag.message_primary or str(exc), exc.diag.message_detail]
        why = "; ".join(part for part in said if part)
        raise ChangeFailed(f"{change.name}: {why}", change=change.name) from exc


@contextmanager
def connect(url: str) -> Generator[Conn]:
    """Open the one connection that a command of `tenure db` works on.

    Errors: NotAllowed, CannotLook.
    """
    try:
        conn = Conn.connect(
            url,
            autocommit=True,
            row_factory=dict_row,
            prepare_threshold=None,
            application_name="tenure db",
            connect_timeout=5,
        )
    except psycopg.OperationalError as exc:
        raise CannotLook(str(exc).strip().splitlines()[0]) from exc
    with conn:
        try:
            yield conn
        except psycopg.errors.InsufficientPrivilege as exc:
            raise NotAllowed(exc.diag.message_primary or "permission denied") from exc


@contextmanager
def _alone(conn: Conn) -> Generator[None]:
    row = conn.execute("SELECT pg_try_advisory_lock(%s) AS got", (LOCK,)).fetchone()
    if not row or not row["got"]:
        raise AnotherRunner("another `tenure db` moves this database")
    try:
        yield
    finally:
        with suppress(psycopg.OperationalError):  # a lost session has given it back already
            conn.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))


def state_of(conn: Conn, changes: Sequence[Change]) -> State:
    """Compare the log of a database with the changes we carry."""
    found = conn.execute("SELECT to_regclass('tenure_changes.log') IS NOT NULL AS there").fetchone()
    log = (
        conn.execute("SELECT number, digest FROM tenure_changes.log")
        if found and found["there"]
        else ()
    )
    digests = {row["number"]: row["digest"] for row in log}
    return State(
        applied=tuple(c for c in changes if c.number in digests),
        pending=tuple(c for c in changes if c.number not in digests),
        edited=tuple(c for c in changes if digests.get(c.number, c.digest) != c.digest),
        ahead=tuple(sorted(digests.keys() - {c.number for c in changes})),
    )
