"""Whether rows, history and seats of one life are as the provider is; else why not, in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tenure.identity.model import SeenMembership, SeenSession
from tenure.journal import audit

from .desk import Desk
from .provider import Member, Pair, Provider, Truth

Row = dict[str, Any]
FACE = ("external_id", "generation", "status", "role", "seat")


async def differences(desk: Desk, provider: Provider, *, heard: set[str]) -> list[str]:
    """List everything that is not as it should be. `heard`: the events that reached us.

    Where we cannot ask, nobody can know what came last in one millisecond: this is excused here.
    """
    truth, rows = provider.truth(), await desk.rows(MEMBERSHIPS)
    history = await desk.rows("SELECT * FROM tenure.membership_history ORDER BY id")
    people, orgs = await desk.rows(PEOPLE), await desk.rows(ORGANIZATIONS)
    excused = ties(provider) if provider.directory is None else set[str]()
    found = [
        *compare_people(truth, [row for row in people if row["external_id"] not in excused]),
        *compare_organizations(truth, [row for row in orgs if row["external_id"] not in excused]),
        *compare_members(truth.members, [row for row in rows if _pair(row) not in excused]),
        *(f"user {name} is unknown" for name in truth.people.keys() - names(people)),
        *(f"organization {name} is unknown" for name in truth.organizations.keys() - names(orgs)),
        *(f"membership {pair} is unknown" for pair in _missing(truth, rows) - excused),
        *check_history(rows, history, provider.generations(), lied=provider.lied),
        *check_seats(await desk.rows(SEATS), rows),
    ]
    sessions = {row["session_id"] for row in await desk.rows(ENDED)}
    ended = {name for name, told_by in provider.ended().items() if told_by & heard}
    found += [f"session {name} ended, and we heard of it" for name in ended - sessions]
    found += [f"session {name} never ended" for name in sessions - provider.ended().keys()]
    found += [f"unsettled event {row}" for row in await desk.rows(UNSETTLED)]
    found += [f"news not passed on: {row}" for row in await desk.rows(UNSENT)]
    async with desk.db.statement() as tx:
        found += [f"broken link {link}" for link in await audit.broken_links(tx)]
    return found


def ties(provider: Provider) -> set[str]:
    """Find the users, organizations and pairs of which two things were told of one moment."""
    told: dict[tuple[str, object], set[object]] = {}
    for knock in provider.knocks():
        one = provider.reader.told(knock.event_id, knock.kind, knock.body)
        if one is None or knock.subject is None or isinstance(one.seen, SeenSession):
            continue
        face: object = one.seen or one.gone
        if isinstance(one.seen, SeenMembership):
            face = one.seen.id, one.seen.role, one.seen.status
        at = one.seen.version if one.seen else one.at
        told.setdefault((knock.subject.id, at), set()).add(face)
    return {name for (name, _), faces in told.items() if len(faces) > 1}


def rejoined_at_once(provider: Provider) -> set[str]:
    """Find the pairs that ended and began again in one moment: nothing tells in which order."""
    moments: dict[tuple[str, object], set[str]] = {}
    for knock in provider.knocks():
        one = provider.reader.told(knock.event_id, knock.kind, knock.body)
        if one is None or knock.subject is None:
            continue
        if isinstance(one.seen, SeenMembership):
            moments.setdefault((knock.subject.id, one.seen.created_at), set()).add(one.seen.id)
        elif one.gone and one.gone.kind == "membership":
            moments.setdefault((knock.subject.id, one.at), set()).add(one.gone.id)
    return {pair for (pair, _), ids in moments.items() if len(ids) > 1}


async def standing(desk: Desk) -> dict[str, object]:
    """Say who and what stands, in a form that can be compared."""
    people, orgs = await desk.rows(PEOPLE), await desk.rows(ORGANIZATIONS)
    rows = await desk.rows(MEMBERSHIPS)
    return {
        **{r["external_id"]: tuple(r.values()) for r in [*people, *orgs] if not r["deleted"]},
        **{
            _pair(row): (row["external_id"], row["role"], row["status"])
            for row in rows
            if row["status"] != "removed"
        },
    }


def names(rows: Sequence[Row]) -> set[str]:
    return {row["external_id"] for row in rows}


def _missing(truth: Truth, rows: Sequence[Row]) -> set[str]:
    return {"/".join(pair) for pair in truth.members} - {_pair(row) for row in rows}


def _pair(row: Row) -> str:
    return f"{row['org']}/{row['person']}"


def compare_people(truth: Truth, rows: Sequence[Row]) -> Iterator[str]:
    known = {row["external_id"]: row for row in rows}
    for name, row in known.items():
        theirs = truth.people.get(name)
        ours = row["email"], row["name"], row["blocked"], row["deleted"]
        gone = None, None, row["blocked"], True
        expected = (theirs.email, theirs.name, theirs.blocked, False) if theirs else gone
        if ours != expected:
            yield f"user {name} is {expected} there and {ours} here"


def compare_organizations(truth: Truth, rows: Sequence[Row]) -> Iterator[str]:
    known = {row["external_id"]: row for row in rows}
    for name, row in known.items():
        theirs, ours = truth.organizations.get(name), (row["name"], row["slug"], row["deleted"])
        expected = (*theirs, False) if theirs else (row["name"], row["slug"], True)
        if ours != expected:
            yield f"organization {name} is {expected} there and {ours} here"


def compare_members(truth: Mapping[Pair, Member], rows: Sequence[Row]) -> Iterator[str]:
    known = {(row["org"], row["person"]): row for row in rows}
    for pair, row in known.items():
        theirs = truth.get(pair)
        ours = row["external_id"], row["role"], row["status"]
        expected = (theirs.id, theirs.role, theirs.status) if theirs else (*ours[:2], "removed")
        if ours != expected:
            yield f"membership {pair} is {expected} there and {ours} here"
        if row["wish"] or row["wish_role"]:
            yield f"membership {pair} waits for {row['wish']} {row['wish_role']} for ever"


def check_history(
    rows: Sequence[Row], history: Sequence[Row], generations: Mapping[str, Pair], *, lied: bool
) -> Iterator[str]:
    """See that the history of each membership is one story, and ends with its row."""
    lines: dict[object, list[Row]] = {}
    for line in history:
        lines.setdefault(line["membership_id"], []).append(line)
    for row in rows:
        pair, story = (row["org"], row["person"]), lines.pop(row["id"], [])
        last = tuple(story[-1][_to(name)] for name in FACE) if story else None
        if last != tuple(row[name] for name in FACE):
            yield f"history of {pair} ends with {last}, the row is {row}"
        for before, after in zip([None, *story], story, strict=False):
            for why in _wrong_step(before, after, lied=lied):
                yield f"history of {pair}: {why}: {_shown(before)} then {_shown(after)}"
            name = after["external_id"]
            if name is not None and generations.get(name) != pair:
                yield f"history of {pair} names {name}, which never was"
    yield from (f"history of {name}, which has no row" for name in lines)


def _wrong_step(before: Row | None, after: Row, *, lied: bool) -> Iterator[str]:
    goes_on = before is not None and before["generation"] == after["generation"]
    for name in ("status", "role", "seat"):
        expected = before[f"{name}_to"] if before and goes_on else None
        if after[f"{name}_from"] != expected:
            yield f"the {name} was {expected}"
    if after["generation"] != (before["generation"] if before else 0) + (not goes_on):
        yield "a generation is missing"
    if before is None:
        return
    was_over = before["status_to"] == "removed"
    if goes_on and was_over and not lied:
        yield "it was not over, and nobody lied to us"
    if goes_on and before["external_id"] not in {None, after["external_id"]}:
        yield "a generation changed its id"
    if not goes_on and not was_over:
        yield "a generation has no end"


def check_seats(seats: Sequence[Row], rows: Sequence[Row]) -> Iterator[str]:
    for row in seats:
        mine = [member for member in rows if member["org_id"] == row["org_id"]]
        held = sum(member["seat"] for member in mine)
        waiting = [m["person"] for m in mine if m["status"] in HERE and not m["seat"]]
        limit = row["seat_limit"]
        if row["used"] != held or (limit is not None and held > limit):
            yield f"seats of {row['org_id']}: {held} held, {row['used']} counted, limit {limit}"
        if waiting and (limit is None or held < limit):
            yield f"seats of {row['org_id']}: {waiting} wait, {held} of {limit} are held"
        if any(member["seat"] and member["status"] not in HERE for member in mine):
            yield f"seats of {row['org_id']}: somebody holds one who is not here"


def _to(name: str) -> str:
    return name if name in {"external_id", "generation"} else f"{name}_to"


def _shown(line: Row | None) -> tuple[Any, ...] | None:
    return line and (*(line[_to(name)] for name in FACE), line["cause"])


HERE = {"pending", "active"}
PEOPLE = """
SELECT i.external_id, u.email, u.name, u.blocked_until IS NOT NULL AS blocked,
       u.deleted_at IS NOT NULL AS deleted
  FROM tenure.identities i JOIN tenure.users u ON u.id = i.user_id ORDER BY i.external_id
"""
ORGANIZATIONS = """
SELECT i.external_id, o.name, o.slug, o.deleted_at IS NOT NULL AS deleted
  FROM tenure.identities i JOIN tenure.organizations o ON o.id = i.org_id ORDER BY i.external_id
"""
MEMBERSHIPS = """
SELECT m.id, m.org_id, o.external_id AS org, u.external_id AS person, m.external_id, m.generation,
       m.role, CASE WHEN m.removed_at IS NULL THEN m.status ELSE 'removed' END AS status,
       m.holds_seat AS seat, m.wish, m.wish_role
  FROM tenure.memberships m JOIN tenure.identities o ON o.org_id = m.org_id
  JOIN tenure.identities u ON u.user_id = m.user_id ORDER BY org, person
"""
SEATS = "SELECT org_id, seat_limit, used FROM tenure.seats ORDER BY org_id"
ENDED = "SELECT session_id FROM tenure.revoked_sessions"
UNSENT = "SELECT topic, payload FROM tenure.news WHERE sent_at IS NULL"
UNSETTLED = """
SELECT i.event_id, i.kind FROM tenure.inbox i
  JOIN tenure.subjects s ON s.kind = i.subject_kind AND s.id = i.subject_id
 WHERE i.seq > s.settled_seq
"""
