"""What is wrong with how tables hang on users: keys that block, or that take too much along."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, LiteralString

from psycopg.rows import DictRow

from tenure.base.db import Tx
from tenure.identity.references import (
    AUTH_USERS,
    USERS,
    Action,
    ForeignKey,
    Table,
    list_keys,
)

Rule = Literal["blocks", "takes_evidence", "takes_along", "on_provider_id", "uuid_for_provider_id"]
Level = Literal["wrong", "doubtful"]

UUID_COLUMNS: LiteralString = """
    SELECT n.nspname AS schema, t.relname AS table_name, a.attname AS column,
           pg_get_expr(d.adbin, d.adrelid) AS filled
      FROM pg_attribute a
      JOIN pg_class t ON t.oid = a.attrelid JOIN pg_namespace n ON n.oid = t.relnamespace
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.atttypid = 'uuid'::regtype AND NOT a.attisdropped AND t.relkind IN ('r', 'p')
       AND NOT t.relispartition
       AND n.nspname NOT IN ('tenure', 'auth', 'storage', 'realtime', 'pg_catalog',
                             'information_schema')
       AND (a.attname ~* '(^|_)(clerk|workos|external|provider)_((user|org|organization)_)?id$'
            OR pg_get_expr(d.adbin, d.adrelid) ~ 'auth\\.uid\\(\\)')
     ORDER BY 1, 2, 3
    """

# Words that Postgres keeps for itself are rare as names; in a fix, quotes around them do not hurt.
PLAIN = re.compile(r"(?!(?:all|check|column|default|from|group|order|table|user)$)[a-z_][a-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One key or column that will make trouble."""

    rule: Rule
    level: Level
    where: str
    what: str
    fix: str


async def lint(tx: Tx) -> list[Finding]:
    """Look at every foreign key and column of the database; nothing is changed."""
    keys = await list_keys(tx)
    cur = await tx.execute(UUID_COLUMNS)
    return judge(keys, await cur.fetchall())


def judge(keys: Sequence[ForeignKey], uuid_columns: Iterable[DictRow]) -> list[Finding]:
    """Say what is wrong with some keys and columns, the worst first."""
    found = [
        *_below(keys, AUTH_USERS),
        *_below(keys, USERS),
        *_on_names(keys),
        *map(_uuid, uuid_columns),
    ]
    return sorted(found, key=lambda one: (one.level != "wrong", one.where))


def _below(keys: Sequence[ForeignKey], root: Table) -> Iterator[Finding]:
    """Go through everything that a deletion would reach."""
    below: defaultdict[Table, list[ForeignKey]] = defaultdict(list)
    for key in keys:
        below[key.parent].append(key)
    due, seen = [root], {root}
    while due:
        parent = due.pop(0)
        for key in below[parent]:
            if key.table.schema == root.schema and root == AUTH_USERS:
                continue  # Supabase's own
            found = _judged(key, root)
            if found is not None:
                yield found
            if key.action is Action.CASCADE and key.table not in seen:
                seen.add(key.table)
                due.append(key.table)


def _judged(key: ForeignKey, root: Table) -> Finding | None:
    is_direct = key.parent == root
    way = "" if is_direct else f", which goes with {root}"
    if key.action.blocks:
        return _blocking(key, root, way) if root == AUTH_USERS or not is_direct else None
    if key.action is not Action.CASCADE:
        return None
    if key.table.is_evidence:
        return Finding(
            rule="takes_evidence",
            level="wrong",
            where=str(key),
            what=f"ON DELETE CASCADE takes rows along that look like bills or records{way}",
            fix=_again(key, Action.RESTRICT if key.parent == USERS else Action.SET_NULL),
        )
    if root == AUTH_USERS:
        return Finding(
            rule="takes_along",
            level="doubtful",
            where=str(key),
            what=f"deleting the user at Supabase silently deletes these rows{way}",
            fix="Keep it where the rows are hers alone; else "
            f"{_again(key, Action.SET_NULL)} -- or reference tenure.users (id), whose rows stay",
        )
    return None


def _blocking(key: ForeignKey, root: Table, way: str) -> Finding:
    whom = "at Supabase" if root == AUTH_USERS else "with TENURE_USER_DELETION=cascade"
    return Finding(
        rule="blocks",
        level="wrong",
        where=str(key),
        what=f"ON DELETE {key.action} forbids to delete a user {whom}{way}",
        fix=_again(key, Action.SET_NULL)
        + (
            " -- or let it reference tenure.users (id), whose rows stay"
            if root == AUTH_USERS
            else " -- or, for rows that are hers alone, ON DELETE CASCADE"
        ),
    )


def _on_names(keys: Iterable[ForeignKey]) -> Iterator[Finding]:
    """Name keys that point at what a provider calls somebody, which changes with the provider."""
    for key in keys:
        if key.table.is_ours or key.parent.schema != "tenure":
            continue
        if "external_id" in key.parent_columns:
            yield Finding(
                rule="on_provider_id",
                level="doubtful",
                where=str(key),
                what="it points at a provider's id, which changes when the provider does",
                fix="Reference tenure.users(id) or tenure.organizations(id), our own keys.",
            )


def _uuid(row: DictRow) -> Finding:
    filled = "auth.uid()" in (row["filled"] or "")
    column = _called(row["column"])
    steps = [f"ALTER {column} TYPE text"]
    if filled:
        after = f"ALTER {column} SET DEFAULT (auth.jwt() ->> 'sub')"
        steps = [f"ALTER {column} DROP DEFAULT", *steps, after]
    table = _called(row["schema"], row["table_name"])
    return Finding(
        rule="uuid_for_provider_id",
        level="doubtful",
        where=f"{row['schema']}.{row['table_name']}.{row['column']}",
        what="auth.uid() fails for users of Clerk and WorkOS: their ids are no uuids"
        if filled
        else "the ids of Clerk and WorkOS are no uuids, and the column holds nothing else",
        fix=f"ALTER TABLE {table} {', '.join(steps)}; -- or keep our own key of the user instead",
    )


def _again(key: ForeignKey, action: Action) -> str:
    """Write the statement that makes a foreign key anew, with another action."""
    name, table, parent = _called(key.name), _called(*key.table), _called(*key.parent)
    columns = ", ".join(map(_called, key.columns))
    theirs = ", ".join(map(_called, key.parent_columns))
    return (
        f"ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} "
        f"FOREIGN KEY ({columns}) REFERENCES {parent} ({theirs}) ON DELETE {action};"
    )


def _called(*parts: str) -> str:
    """Write a name as SQL takes it; where it is more than plain, in quotes."""
    return ".".join(
        part if PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"' for part in parts
    )
