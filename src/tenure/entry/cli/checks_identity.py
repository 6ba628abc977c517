"""The checks of `tenure doctor` about who is known: providers, walks, seats, wishes, references."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
from psycopg.rows import DictRow

from tenure.base.settings import Settings
from tenure.entry.cli.checks_keys import asked
from tenure.entry.cli.checks_state import read_all, read_one
from tenure.entry.cli.result import Results, fail, ok, warn
from tenure.identity import reference_lint, references
from tenure.identity.poll import ALARM_AGE, LIST
from tenure.identity.sync import MISSING
from tenure.identity.workos_events import QUARANTINED

Conn = psycopg.Connection[DictRow]

LATE_WISH = timedelta(hours=1)
WALKS = 3  # intervals without a walk are no chance any more
NEAR = 0.5  # of the limit of those who may go missing in an hour


def provider_keys(settings: Settings) -> Results:
    """See whether each provider can be asked, and how its changes reach us."""
    for name, key, secrets in _providers(settings):
        variable = "CLERK_SECRET_KEY" if name == "clerk" else "WORKOS_API_KEY"
        if key:
            yield asked(settings, name)
        else:
            yield warn(
                f"{name} key",
                "not set: events are believed as they come, a lost one is found by nobody, "
                "and members cannot be invited or changed from here",
                f"Set {variable}.",
            )
        yield from _webhook_secret(name, settings, secrets=secrets, has_key=bool(key))


def _providers(settings: Settings) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    if settings.clerk_secret_key or settings.clerk_issuer:
        yield "clerk", settings.clerk_secret_key, settings.clerk_webhook_secrets
    if settings.workos_api_key or settings.workos_client_id:
        yield "workos", settings.workos_api_key, settings.workos_webhook_secrets


def _webhook_secret(
    name: str, settings: Settings, *, secrets: tuple[str, ...], has_key: bool
) -> Results:
    title, variable = f"{name} webhook secret", f"{name.upper()}_WEBHOOK_SECRET"
    fix = f"Set {variable} to the endpoint's signing secret."
    if secrets:
        yield ok(title, f"{len(secrets)} set")
    elif has_key:
        every = settings.poll_every if name == "workos" else settings.walk_every
        yield warn(title, f"not set: changes are found every {every} and not at once", fix)
    else:
        yield fail(title, "not set, and no key either: no change ever reaches us", fix)


def workos_cursor(conn: Conn, settings: Settings) -> Results:
    """See whether WorkOS's events are read in time: it forgets them."""
    if not settings.workos_api_key:
        return
    row = read_one(
        conn,
        """
        SELECT now() - greatest(max(c.event_at), max(s.reached)) AS age, max(c.lost_at) AS lost
          FROM (SELECT 1) AS one
          LEFT JOIN tenure.event_cursors c ON c.provider = 'workos'
          LEFT JOIN tenure.sweeps s ON s.source = %s AND c.provider IS NOT NULL
        """,
        LIST,
    )
    title = "workos cursor"
    if row["age"] is None:
        yield warn(title, "its events were never read", "Run `tenure work`: it reads them.")
    elif row["age"] > ALARM_AGE:
        what = f"its events were read {row['age'].days} days ago; after 30 they are lost"
        yield fail(title, what, "Run `tenure work`, then `tenure sync drift identity --repair`.")
    elif row["lost"]:
        what = f"the place in the list was lost at {row['lost']:%Y-%m-%d %H:%M}"
        yield warn(title, what, "Run `tenure sync backfill workos`: a walk makes it good.")
    else:
        yield ok(title, f"read up to {row['age'].total_seconds():.0f} s ago")


def quarantine(conn: Conn, _settings: Settings) -> Results:
    """See whether events came that should have been understood, and were not."""
    found = read_all(
        conn,
        """
        SELECT source, event_id, kind, note, count(*) OVER () AS n FROM tenure.inbox
         WHERE starts_with(note, %s) ORDER BY received_at DESC LIMIT 3
        """,
        QUARANTINED.rstrip(),
    )
    if not found:
        yield ok("quarantine", "every event could be read")
        return
    some = "; ".join(f"{r['source']} {r['event_id']} ({r['kind']}): {r['note']}" for r in found)
    fix = "Update this release, then `tenure sync replay EVENT`; until then the walk finds it."
    yield warn("quarantine", f"{found[0]['n']} events could not be read: {some}", fix)


def walks(conn: Conn, settings: Settings) -> Results:
    """See whether everything at each provider was listed in time."""
    keys = {"clerk": settings.clerk_secret_key, "workos": settings.workos_api_key}
    rows = read_all(conn, "SELECT provider, phase, now() - moved_at AS age FROM tenure.walks")
    stood = {row["provider"]: row for row in rows}
    for name in (name for name, key in keys.items() if key):
        title, row = f"{name} walk", stood.get(name)
        if row is None:
            fix = f"Run `tenure sync backfill {name}`, or `tenure work`, which does it too."
            yield warn(title, "never: whoever was there before is not known here", fix)
        elif row["age"] > WALKS * settings.walk_every:
            what = f"stands at {row['phase']} since {row['age']}; due every {settings.walk_every}"
            yield warn(title, what, "Run `tenure work`; its log says why a walk is put off.")
        else:
            state = "ended" if row["phase"] == "ended" else f"at {row['phase']}"
            yield ok(title, f"{state} {row['age'].total_seconds():.0f} s ago")


def seats(conn: Conn, _settings: Settings) -> Results:
    """See whether the counters of seats say what the rows say, and who is beyond a limit."""
    wrong = read_all(
        conn,
        """
        SELECT s.org_id, s.used, count(m.id) AS held
          FROM tenure.seats s
          LEFT JOIN tenure.memberships m ON m.org_id = s.org_id AND m.holds_seat
         GROUP BY s.org_id HAVING s.used <> count(m.id) LIMIT 5
        """,
    )
    if wrong:
        said = "; ".join(f"{r['org_id']} says {r['used']}, has {r['held']}" for r in wrong)
        fix = "Somebody wrote past this product. `tenure seats limit ORG …` counts anew."
        yield fail("seats", f"wrong counters: {said}", fix)
    else:
        yield ok("seats", "every counter is right")
    beyond = read_one(
        conn,
        """
        SELECT count(*) AS n, count(DISTINCT org_id) AS orgs, min(org_id::text) AS first
          FROM tenure.memberships WHERE NOT holds_seat AND status IN ('pending', 'active')
        """,
    )
    if beyond["n"]:
        what = f"{beyond['n']} members of {beyond['orgs']} organizations have no seat"
        fix = f"See `tenure seats explain {beyond['first']}`; TENURE_OVER_LIMIT says what to do."
        yield warn("seat limits", what, fix)
    else:
        yield ok("seat limits", "nobody is beyond one")


def wishes(conn: Conn, _settings: Settings) -> Results:
    """See whether the providers carry out what was wished for."""
    late = read_all(
        conn,
        """
        SELECT m.provider, coalesce(m.wish, 'role ' || m.wish_role) AS wish, m.id,
               s.last_error, count(*) OVER () AS n
          FROM tenure.memberships m
          LEFT JOIN tenure.subjects s ON s.kind = m.provider || '.wish' AND s.id = m.id::text
         WHERE m.wished_at < now() - %s::interval ORDER BY m.wished_at LIMIT 3
        """,
        LATE_WISH,
    )
    if not late:
        yield ok("wishes", "none waits for long")
        return
    some = "; ".join(f"{r['wish']} at {r['provider']}: {r['last_error'] or 'no try'}" for r in late)
    fix = "Run `tenure work`; the provider's key must be set, and allowed to write."
    yield warn("wishes", f"{late[0]['n']} wait for over an hour: {some}", fix)


def absences(conn: Conn, settings: Settings) -> Results:
    """See whether many go missing that no event told of: the key may be another instance's."""
    rows = read_all(
        conn,
        """
        SELECT split_part(subject_kind, '.', 1) AS provider, count(*) AS n FROM tenure.decisions
         WHERE at > now() - interval '1 hour' AND reason = %s GROUP BY 1 ORDER BY 2 DESC
        """,
        MISSING,
    )
    limit = settings.absence_limit
    fix = "Check that the key is of the instance your users are in; else see TENURE_ABSENCE_LIMIT."
    for row in rows:
        what = f"{row['provider']} lacks {row['n']} that we knew, in an hour; the limit is {limit}"
        if row["n"] >= limit:
            yield fail("absences", f"{what}, so nobody else is dropped", fix)
            return
        if row["n"] >= limit * NEAR:
            yield warn("absences", what, fix)
            return
    yield ok("absences", f"{sum(row['n'] for row in rows)} in the last hour")


def user_references(conn: Conn, _settings: Settings) -> Results:
    """See whether a user could be deleted without harm."""
    keys = references.read_keys(read_all(conn, references.FOREIGN_KEYS))
    found = reference_lint.judge(keys, read_all(conn, reference_lint.UUID_COLUMNS))
    wrong = [one for one in found if one.level == "wrong"]
    if wrong:
        some = "; ".join(f"{one.where}: {one.what}" for one in wrong[:3])
        yield warn("references", f"{len(wrong)} wrong: {some}", "See `tenure users lint`.")
    else:
        yield ok("references", f"no key is in the way of deleting a user; {len(found)} doubtful")
