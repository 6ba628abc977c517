"""The changes as one script, for databases that another tool migrates (Supabase, Flyway, psql)."""

from collections.abc import Iterable

from tenure.schema.apply import LOG
from tenure.schema.changes import Change

HEAD = """\
-- Tenure's changes {first} to {last}, from `tenure db sql`. Each is one transaction that applies
-- the change, checks it and writes it down, so that `tenure db status` knows of it afterwards.
-- Run it once, as the database's owner; a change that is applied already refuses to run again.
"""

# A tool may have chosen a role or a search path for its session: they come back after each change.
BEGIN = """
-- {name} {line}
BEGIN;
DO $tenure$ BEGIN
    PERFORM set_config('tenure.was_role', current_setting('role'), true),
            set_config('tenure.was_path', current_setting('search_path'), true);
END $tenure$;

"""

END = """
DO $tenure$ BEGIN
    PERFORM set_config('role', current_setting('tenure.was_role'), true),
            set_config('search_path', current_setting('tenure.was_path'), true);
END $tenure$;

{verify}
INSERT INTO tenure_changes.log (number, name, digest, took_ms)
SELECT {number}, '{name}', '{digest}', extract(epoch FROM clock_timestamp() - now()) * 1000;
COMMIT;
"""


def sql(changes: Iterable[Change]) -> str:
    """Write the changes as one script that any SQL client runs."""
    chosen = list(changes)
    if not chosen:
        return ""
    head = HEAD.format(first=chosen[0].number, last=chosen[-1].number)
    return head + "\n" + _plain(LOG) + "".join(_one(change) for change in chosen)


def _one(change: Change) -> str:
    begin = BEGIN.format(name=change.name, line="-" * (94 - len(change.name)))
    end = END.format(
        name=change.name, number=change.number, digest=change.digest, verify=change.verify
    )
    return begin + change.up + end


def _plain(block: str) -> str:
    lines = [line.removeprefix("    ").rstrip() for line in block.strip("\n").splitlines()]
    return "\n".join(lines) + "\n"
