"""What hangs on a user in the whole database: every foreign key, and the rows behind it."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import DictRow

from tenure.base.db import Tx

OURS = frozenset({"tenure", "tenure_changes", "procrastinate"})
BATCH = 5_000  # rows whose references are asked for at once

# By name alone, and rather too many: what was billed or done is not taken along by accident.
EVIDENCE = re.compile(
    r"(?:^|_)(?:audits?|bill(?:s|ing)?|charges?|credits?|history|histories|invoices?|journals?"
    r"|ledgers?|logs?|payments?|payouts?|receipts?|refunds?|subscriptions?|tax(?:es)?"
    r"|transactions?)(?:_|$)",
    re.IGNORECASE,
)

FOREIGN_KEYS: LiteralString = """
    SELECT c.conname AS name, c.confdeltype::text AS action,
           cn.nspname AS schema, ct.relname AS table_name,
           pn.nspname AS parent_schema, pt.relname AS parent_name,
           ARRAY(SELECT a.attname::text
                   FROM unnest(c.conkey) WITH ORDINALITY k (number, place)
                   JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number
                  ORDER BY k.place) AS columns,
           ARRAY(SELECT a.attname::text
                   FROM unnest(c.confkey) WITH ORDINALITY k (number, place)
                   JOIN pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.number
                  ORDER BY k.place) AS parent_columns,
           ARRAY(SELECT ARRAY[tn.nspname::text, t.typname::text]
                   FROM unnest(c.conkey) WITH ORDINALITY k (number, place)
                   JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number
                   JOIN pg_type e ON e.oid = a.atttypid
                   JOIN pg_type t ON t.oid = e.typarray
                   JOIN pg_namespace tn ON tn.oid = t.typnamespace
                  ORDER BY k.place) AS arrays
      FROM pg_constraint c
      JOIN pg_class ct ON ct.oid = c.conrelid JOIN pg_namespace cn ON cn.oid = ct.relnamespace
      JOIN pg_class pt ON pt.oid = c.confrelid JOIN pg_namespace pn ON pn.oid = pt.relnamespace
     WHERE c.contype = 'f' AND c.conparentid = 0
     ORDER BY cn.nspname, ct.relname, c.conname
    """


class Action(StrEnum):
    """What a foreign key does when the row it points at is deleted."""

    NO_ACTION = "NO ACTION"
    RESTRICT = "RESTRICT"
    CASCADE = "CASCADE"
    SET_NULL = "SET NULL"
    SET_DEFAULT = "SET DEFAULT"

    @property
    def blocks(self) -> bool:
        """Whether it forbids that."""
        return self in (Action.NO_ACTION, Action.RESTRICT)


ACTIONS = {
    "a": Action.NO_ACTION,
    "r": Action.RESTRICT,
    "c": Action.CASCADE,
    "n": Action.SET_NULL,
    "d": Action.SET_DEFAULT,
}


class Table(NamedTuple):
    """A table, with its schema."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def is_ours(self) -> bool:
        """Whether it is one of this product's."""
        return self.schema in OURS

    @property
    def is_evidence(self) -> bool:
        """Whether it holds, as far as its name says, what was billed or what was done."""
        return self.is_ours or EVIDENCE.search(f"{self.schema}_{self.name}") is not None


USERS, AUTH_USERS = Table("tenure", "users"), Table("auth", "users")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A foreign key, from a table to its parent."""

    name: str
    table: Table
    columns: tuple[str, ...]
    arrays: tuple[tuple[str, str], ...]  # the type of an array of each column
    parent: Table
    parent_columns: tuple[str, ...]
    action: Action

    def __str__(self) -> str:
        return f"{self.table}({', '.join(self.columns)}) → {self.parent}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What would happen behind one foreign key, if the row of a user were deleted."""

    key: ForeignKey
    rows: int | None  # that point at what would be deleted; None: we may not read them
    left: int = 0  # of these, not deleted themselves on another way

    @property
    def is_direct(self) -> bool:
        """Whether it points at the user herself, not at something deleted with her."""
        return self.key.parent in (USERS, AUTH_USERS)


def read_keys(rows: Iterable[DictRow]) -> list[ForeignKey]:
    """Read what FOREIGN_KEYS gives."""
    return [
        ForeignKey(
            name=row["name"],
            table=Table(row["schema"], row["table_name"]),
            columns=tuple(row["columns"]),
            arrays=tuple((schema, name) for schema, name in row["arrays"]),
            parent=Table(row["parent_schema"], row["parent_name"]),
            parent_columns=tuple(row["parent_columns"]),
            action=ACTIONS[row["action"]],
        )
        for row in rows
    ]


async def list_keys(tx: Tx) -> list[ForeignKey]:
    """List every foreign key of the database."""
    cur = await tx.execute(FOREIGN_KEYS)
    return read_keys(await cur.fetchall())


class Row(NamedTuple):
    """Where a row lies, for as long as a snapshot lasts."""

    table: int  # its partition
    at: str


async def effects(
    tx: Tx, keys: Sequence[ForeignKey], root: Table, external_key: str
) -> list[Effect]:
    """Follow the foreign keys from one row, named by its `id`, through everything that cascades.

    Promise: every row is counted once behind each key, however many ways lead to it; nothing is
             changed. What a policy for rows would hide is not counted as nothing: rows is None.
    """
    below: defaultdict[Table, list[ForeignKey]] = defaultdict(list)
    for key in keys:
        below[key.parent].append(key)
    first = await _read(tx, root, _row_of(root), (external_key,))
    if first is None:
        return [Effect(key=key, rows=None) for key in below[root]]
    taken: defaultdict[Table, set[Row]] = defaultdict(set)
    taken[root] = {_row(one) for one in first}
    met: dict[str, tuple[ForeignKey, set[Row] | None]] = {}
    due = [(root, frozenset(taken[root]))]
    while due:
        parent, fresh = due.pop()
        for key in below[parent]:
            found = await _pointing(tx, key, fresh)
            name = f"{key.table}.{key.name}"
            before = met.get(name, (key, set[Row]()))[1]
            met[name] = key, None if found is None or before is None else before | found
            new = (found or set[Row]()) - taken[key.table]
            if key.action is Action.CASCADE and new:
                taken[key.table] |= new
                due.append((key.table, frozenset(new)))
    return [_effect(key, rows, taken[key.table]) for key, rows in met.values()]


def _effect(key: ForeignKey, rows: set[Row] | None, taken: set[Row]) -> Effect:
    if rows is None:
        return Effect(key=key, rows=None)
    return Effect(key=key, rows=len(rows), left=len(rows - taken))


async def _pointing(tx: Tx, key: ForeignKey, parents: frozenset[Row]) -> set[Row] | None:
    """Find the rows that point at some of the parent's; None where we may not look."""
    found: set[Row] = set()
    ordered = sorted(parents)
    for start in range(0, len(ordered), BATCH):
        some = ordered[start : start + BATCH]
        where = ([row.table for row in some], [row.at for row in some])
        values = await _read(tx, key.parent, _keys_of(key), (*where, where[1]))
        if values is None:
            return None
        given = [[row[f"c{n}"] for row in values] for n in range(len(key.columns))]
        rows = await _read(tx, key.table, _rows_at(key), tuple(given))
        if rows is None:
            return None
        found |= {_row(row) for row in rows}
    return found


async def _read(
    tx: Tx, table: Table, query: sql.Composed, params: Sequence[object]
) -> list[DictRow] | None:
    """Read all rows, or say that we may not: hidden ones must not look like none.

    In our own tables the policies let a worker see everything.
    """
    try:
        async with tx.transaction():
            seen = "on" if table.is_ours else "off"
            await tx.execute("SELECT set_config('row_security', %s, true)", (seen,))
            return await (await tx.execute(query, params)).fetchall()
    except psycopg.errors.InsufficientPrivilege:
        return None


def quoted(*parts: str) -> sql.Identifier:
    """Quote a name of the database; psycopg reads a bare `%` in it as a parameter."""
    return sql.Identifier(*(part.replace("%", "%%") for part in parts))


def _row_of(table: Table) -> sql.Composed:
    return sql.SQL(
        "SELECT tableoid::bigint AS leaf, ctid::text AS at FROM {} WHERE id = %s::uuid"
    ).format(quoted(*table))


def _keys_of(key: ForeignKey) -> sql.Composed:
    """Read what the rows of a parent are called."""
    columns = [
        sql.SQL("{}::text AS {}").format(quoted(column), quoted(f"c{n}"))
        for n, column in enumerate(key.parent_columns)
    ]
    return sql.SQL(
        "SELECT {} FROM {} WHERE (tableoid, ctid) IN"
        " (SELECT * FROM unnest(%s::oid[], %s::tid[])) AND ctid = ANY (%s::tid[])"
    ).format(sql.SQL(", ").join(columns), quoted(*key.parent))


def _rows_at(key: ForeignKey) -> sql.Composed:
    """Find the rows that name some of them; the types are the columns', so that indexes help."""
    columns = sql.SQL(", ").join(map(quoted, key.columns))
    given = sql.SQL(", ").join(
        sql.SQL("%s::text[]::{}").format(quoted(*array)) for array in key.arrays
    )
    return sql.SQL(
        "SELECT tableoid::bigint AS leaf, ctid::text AS at FROM {}"
        " WHERE ({}) IN (SELECT * FROM unnest({}))"
    ).format(quoted(*key.table), columns, given)


def _row(found: Mapping[str, Any]) -> Row:
    return Row(found["leaf"], found["at"])
