"""The checks of `tenure doctor` that read what stands in our tables; they only read."""

from datetime import timedelta
from typing import LiteralString

import psycopg
from psycopg.rows import DictRow

from tenure.base.settings import Settings
from tenure.entry.cli.result import Results, fail, ok, warn

Conn = psycopg.Connection[DictRow]

LATE = timedelta(minutes=10)  # work due for longer is not a burst any more
ALIVE = timedelta(minutes=1)  # a worker's heart beats every ten seconds
HEARTS = 2  # of one process of `tenure work`: one takes chores, one reconciles


def foreign_keys(conn: Conn, _settings: Settings) -> Results:
    """See whether every foreign key holds for the rows that stand already."""
    found = read_all(
        conn,
        """
        SELECT conrelid::regclass::text || '.' || conname AS name FROM pg_constraint
         WHERE contype = 'f' AND NOT convalidated
           AND connamespace IN (to_regnamespace('tenure'), to_regnamespace('procrastinate'))
         ORDER BY 1
        """,
    )
    if found:
        names = ", ".join(str(row["name"]) for row in found)
        yield fail("foreign keys", f"not validated: {names}", "ALTER TABLE … VALIDATE CONSTRAINT …")
    else:
        yield ok("foreign keys", "all validated")


def id_mapping(conn: Conn, _settings: Settings) -> Results:
    """See whether every user and organization has a name at a provider."""
    row = read_one(
        conn,
        """
        SELECT (SELECT count(*) FROM tenure.organizations o WHERE deleted_at IS NULL
                   AND NOT EXISTS (SELECT FROM tenure.identities i WHERE i.org_id = o.id)) AS orgs,
               (SELECT count(*) FROM tenure.users u WHERE deleted_at IS NULL
                   AND NOT EXISTS (SELECT FROM tenure.identities i WHERE i.user_id = u.id)) AS users
        """,
    )
    if row["orgs"] or row["users"]:
        what = f"{row['orgs']} organizations and {row['users']} users have no provider's id"
        yield warn("id mapping", what, "Nobody can sign in as them: import them again, or delete.")
    else:
        yield ok("id mapping", "every user and organization is known to a provider")


def workers(conn: Conn, _settings: Settings) -> Results:
    """See whether any worker runs."""
    row = read_one(
        conn,
        """
        SELECT count(*) AS n FROM procrastinate.procrastinate_workers
         WHERE last_heartbeat > now() - %s::interval
        """,
        ALIVE,
    )
    if row["n"]:
        yield ok("workers", f"{-(-row['n'] // HEARTS)} running")
    else:
        yield warn("workers", "none is running: events wait", "Run `tenure work`.")


def backlog(conn: Conn, _settings: Settings) -> Results:
    """See whether the work is done in time."""
    row = read_one(
        conn,
        """
        SELECT count(*) AS due, count(*) FILTER (WHERE attempts > 0) AS failing,
               max(now() - marked_at) AS oldest, max(now() - marked_at) > %s::interval AS is_late
          FROM tenure.subjects WHERE dirty_seq > settled_seq
        """,
        LATE,
    )
    if row["due"] == 0:
        yield ok("backlog", "nothing is due")
    elif row["is_late"]:
        what = f"{row['due']} subjects are due, the oldest for {row['oldest']}"
        yield fail("backlog", what, "Start more workers; see the failing subjects.")
    else:
        yield ok("backlog", f"{row['due']} subjects are due, the oldest for {row['oldest']}")
    if row["failing"]:
        yield from _failing(conn, int(row["failing"]))


def _failing(conn: Conn, count: int) -> Results:
    worst = read_all(
        conn,
        """
        SELECT kind, id, attempts, coalesce(left(last_error, 200), 'no reason kept') AS why
          FROM tenure.subjects WHERE dirty_seq > settled_seq AND attempts > 0
         ORDER BY attempts DESC, marked_at LIMIT 3
        """,
    )
    said = "; ".join(f"{r['kind']} {r['id']} ({r['attempts']} times): {r['why']}" for r in worst)
    yield warn("failing", f"{count} subjects: {said}", "Mend the cause; they are tried again.")


def inbox(conn: Conn, settings: Settings) -> Results:
    """See whether the inbox is emptied of what is old."""
    row = read_one(
        conn,
        """
        SELECT (SELECT count(*) FROM tenure.inbox
                 WHERE received_at > now() - interval '1 day') AS day,
               pg_size_pretty(pg_total_relation_size('tenure.inbox')) AS size,
               EXISTS (SELECT FROM tenure.inbox WHERE received_at < now() - %s::interval) AS is_old
        """,
        settings.inbox_kept + timedelta(days=2),
    )
    what = f"{row['day']} events in the last day, {row['size']} on disk"
    if row["is_old"]:
        fix = "Run `tenure work`: it deletes what is settled and older than TENURE_INBOX_DAYS."
        yield warn("inbox", f"{what}; some are older than they should be", fix)
    else:
        yield ok("inbox", what)


def read_one(conn: Conn, query: LiteralString, *params: object) -> DictRow:
    """Read the one row there is."""
    return read_all(conn, query, *params)[0]


def read_all(conn: Conn, query: LiteralString, *params: object) -> list[DictRow]:
    """Read as the worker does, who sees every tenant's rows."""
    with conn.transaction():
        conn.execute("SET LOCAL ROLE tenure_worker")
        return conn.execute(query, params or None).fetchall()
