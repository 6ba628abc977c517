"""What a database said that could not be asked, as an error that names the way out."""

import psycopg
from psycopg import errors as pg

from tenure.schema.apply import CannotLook

ABSENT = (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction, pg.InvalidSchemaName)


class NotApplied(CannotLook):
    """The database lacks tables of ours."""

    code = "schema.not_applied"
    hint = "Run `tenure db apply`, unless DATABASE_URL names another database than you meant."


def cannot_look(exc: psycopg.Error) -> CannotLook:
    """Make an error of ours of what Postgres said."""
    said = first_line(exc)
    if isinstance(exc, ABSENT):
        return NotApplied(f"not all of our tables are there: {said}")
    return CannotLook(said)


def first_line(exc: Exception) -> str:
    """Give the first line, which says what; the others say where."""
    return str(exc).strip().splitlines()[0]
