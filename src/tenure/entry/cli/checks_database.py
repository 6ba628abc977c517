"""The checks of `tenure doctor` that look into the database; none of them leaves a trace.

A check is a plain function of an open connection and the settings; add it to INSIDE and it runs.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from tenure.base.clock import Clock, SystemClock
from tenure.base.errors import TenureError
from tenure.base.ids import RandomIds
from tenure.base.settings import Settings
from tenure.entry.cli.checks_identity import (
    absences,
    quarantine,
    seats,
    user_references,
    walks,
    wishes,
    workos_cursor,
)
from tenure.entry.cli.checks_state import backlog, foreign_keys, id_mapping, inbox, workers
from tenure.entry.cli.checks_supabase import supabase_users
from tenure.entry.cli.result import Result, Results, fail, ok, warn
from tenure.schema import changes, check

Conn = psycopg.Connection[DictRow]
Inside = Callable[[Conn, Settings], Results]

OLDEST, NEWEST = 15, 18  # major versions of Postgres that we are tested with
SERVICE = ("tenure_app", "tenure_worker")  # what the service's login must be a member of
WAIT = 3.0  # seconds
SKEW_WARN, SKEW_FAIL = timedelta(seconds=2), timedelta(seconds=30)
APPLY = "Run `tenure db apply`."
DIRECT = "Set DATABASE_DIRECT_URL to the database without its pooler (Supabase: port 5432)."


def database(settings: Settings) -> Results:
    """Look at everything that a connection shows; when there is none, say why."""
    url = settings.database_url or settings.database_direct_url
    if not url:
        yield fail("database", "DATABASE_URL is not set", "Set DATABASE_URL.")
        return
    try:
        with _connected(url) as conn:
            for one in INSIDE:
                yield from _guarded(one, conn, settings)
    except psycopg.OperationalError as exc:
        yield fail("database", _line(exc), "Check DATABASE_URL, the server, and the network.")


def _guarded(one: Inside, conn: Conn, settings: Settings) -> list[Result]:
    """Run one check; when it cannot look, that is its result."""
    name = one.__name__.replace("_", " ")
    try:
        return list(one(conn, settings))
    except (psycopg.Error, TenureError) as exc:
        hint = exc.hint if isinstance(exc, TenureError) else APPLY
        return [fail(name, f"could not look: {_line(exc)}", hint)]


def version(conn: Conn, _settings: Settings) -> Results:
    """See whether we know this Postgres."""
    major, rest = divmod(conn.info.server_version, 10_000)
    what = f"Postgres {major}.{rest}, database {conn.info.dbname}, role {conn.info.user}"
    if major < OLDEST:
        yield fail("database", what, f"Upgrade Postgres to {OLDEST} or newer.")
    elif major > NEWEST:
        yield warn("database", what, f"Tested with {OLDEST} to {NEWEST}; look for a newer release.")
    else:
        yield ok("database", what)


def roles(conn: Conn, _settings: Settings) -> Results:
    """See whether our roles are there, and whether we may act as them."""
    rows = conn.execute(
        """
        SELECT wanted, rolname IS NOT NULL AS is_there,
               rolname IS NOT NULL AND pg_has_role(current_user, r.oid, 'MEMBER') AS is_mine,
               rolname IS NOT NULL AND pg_has_role(current_user, r.oid, 'USAGE') AS is_inherited
          FROM unnest(ARRAY['tenure_app', 'tenure_worker', 'tenure_reader', 'tenure_owner']) wanted
          LEFT JOIN pg_roles r ON rolname = wanted
        """
    ).fetchall()
    missing = [row["wanted"] for row in rows if not row["is_there"]]
    foreign = [row["wanted"] for row in rows if row["is_there"] and not row["is_mine"]]
    needed = [name for name in foreign if name in SERVICE]
    idle = [row["wanted"] for row in rows if row["wanted"] in SERVICE and not row["is_inherited"]]
    if missing:
        yield fail("roles", f"missing: {', '.join(missing)}", APPLY)
    elif needed:
        names = ", ".join(needed)
        yield fail("roles", f"not a member of {names}", f"GRANT {names} TO {conn.info.user};")
    elif idle:
        names, user = ", ".join(idle), conn.info.user
        fix = f"ALTER ROLE {user} INHERIT; REVOKE {names} FROM {user}; GRANT {names} TO {user};"
        yield fail("roles", f"does not inherit the rights of {names}", fix)
    else:
        yield ok("roles", f"all there; not a member of {', '.join(foreign) or 'none'}")


def schema(_conn: Conn, settings: Settings) -> Results:
    """See whether every change is applied as written, and every object stands."""
    report = check.check(settings.listen_url, changes.load())
    wrong = [one for one in report.changes if one.state in {"edited", "broken"}]
    pending = [one.name for one in report.changes if one.state == "pending"]
    missing = [f"{one.kind} {one.name}" for one in report.objects if not one.is_there]
    if report.ahead:
        yield fail("schema", "a newer release has changed it", "Use that release, or a newer one.")
    elif pending:
        yield fail("schema", f"pending: {', '.join(pending)}", APPLY)
    elif wrong:
        said = "; ".join(f"{one.name} {one.state} {one.why or ''}".strip() for one in wrong)
        yield fail("schema", said, "See `tenure db status`.")
    else:
        yield ok("schema", f"{len(report.changes)} changes applied and verified")
    if missing and not pending:
        first = ", ".join(missing[:5])
        yield fail("objects", f"{len(missing)} missing: {first}", "See `tenure db status`.")
    elif not pending:
        yield ok("objects", f"{len(report.objects)} tables, indexes, functions … are there")


def writing(conn: Conn, _settings: Settings) -> Results:
    """May the service and the worker write? Tried, and rolled back."""
    try:
        with conn.transaction(force_rollback=True):
            conn.execute("SET LOCAL ROLE tenure_worker")
            conn.execute("INSERT INTO tenure.subjects (kind, id) VALUES ('doctor', 'doctor')")
        with conn.transaction(force_rollback=True):
            conn.execute("SET LOCAL ROLE tenure_app")
            conn.execute(
                """
                SELECT tenure.keep_knocks('doctor', '', false, '{doctor}', '{doctor}', '{NULL}',
                                          '{NULL}', '{doctor}', '{NULL}', '{""}')
                """
            )
    except psycopg.Error as exc:
        fix = f"GRANT tenure_app, tenure_worker TO {conn.info.user}; and use the primary server."
        yield fail("writing", _line(exc), fix)
    else:
        yield ok("writing", "as tenure_worker and as tenure_app")


def listening(conn: Conn, settings: Settings) -> Results:
    """See whether a NOTIFY sent through one address arrives at the other: poolers lose it."""
    channel = RandomIds().token("tenure_doctor_", 12).lower()
    name = "DATABASE_DIRECT_URL" if settings.pooled else "DATABASE_URL"
    try:
        with _connected(settings.listen_url) as listener:
            listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            conn.execute("SELECT pg_notify(%s, '')", (channel,))
            heard = next(listener.notifies(timeout=WAIT, stop_after=1), None)
    except psycopg.OperationalError as exc:
        yield fail("listening", f"{name}: {_line(exc)}", f"Check {name}.")
        return
    if heard is not None:
        yield ok("listening", f"news arrives through {name}")
    elif settings.pooled:
        fix = "Let both addresses name one database; the direct one must not be a pooler."
        yield fail("listening", "news sent through DATABASE_URL does not arrive", fix)
    else:
        yield fail("listening", "news does not arrive: DATABASE_URL is a pooler", DIRECT)


def clocks(conn: Conn, _settings: Settings, clock: Clock | None = None) -> Results:
    """See whether this machine and the database agree what time it is."""
    here = clock or SystemClock()
    before = here.now()
    row = conn.execute("SELECT clock_timestamp() AS now").fetchone()
    after = here.now()
    theirs = row["now"] if row else before
    skew = max(before - theirs, theirs - after, timedelta(0))
    what = f"{skew.total_seconds():.1f} s between this machine and the database"
    if skew >= SKEW_FAIL:
        yield fail("clocks", what, "Set both clocks by NTP: signatures and tokens carry times.")
    elif skew >= SKEW_WARN:
        yield warn("clocks", what, "Set both clocks by NTP.")
    else:
        yield ok("clocks", what)


INSIDE: tuple[Inside, ...] = (
    version,
    roles,
    schema,
    writing,
    listening,
    clocks,
    foreign_keys,
    id_mapping,
    supabase_users,
    workers,
    backlog,
    inbox,
    quarantine,
    walks,
    workos_cursor,
    seats,
    wishes,
    absences,
    user_references,
)


@contextmanager
def _connected(url: str) -> Generator[Conn]:
    with Conn.connect(
        url,
        autocommit=True,
        row_factory=dict_row,
        prepare_threshold=None,
        application_name="tenure doctor",
        connect_timeout=5,
    ) as conn:
        yield conn


def _line(exc: Exception) -> str:
    return str(exc).strip().splitlines()[0]
