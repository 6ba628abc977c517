"""Clerk's events, read; its Backend API is asked in test_clerk_directory.py."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.base.db import Tx
from tenure.identity.clerk import ClerkReader
from tenure.identity.directory import Reader
from tenure.identity.errors import BadEvent
from tenure.identity.model import (
    Gone,
    SeenMembership,
    SeenOrganization,
    SeenSession,
    SeenUser,
    Status,
)
from tenure.journal import store as journal
from tenure.journal.model import Knock, Subject
from tests.sandbox.clerk.inside import MS, START, a_room

READER: Reader = ClerkReader(livemode=False)
USER: dict[str, Any] = {
    "object": "user",
    "id": "user_1",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "username": None,
    "primary_email_address_id": "idn_2",
    "email_addresses": [
        {"id": "idn_1", "email_address": "old@example.com"},
        {"id": "idn_2", "email_address": "ada@example.com"},
    ],
    "banned": False,
    "created_at": MS,
    "updated_at": MS + 1,
}
ORG: dict[str, Any] = {
    "object": "organization",
    "id": "org_1",
    "name": "Acme",
    "slug": "acme",
    "created_at": MS,
    "updated_at": MS + 2,
}
MEMBER: dict[str, Any] = {
    "object": "organization_membership",
    "id": "orgmem_1",
    "role": "org:admin",
    "organization": ORG,
    "public_user_data": {
        "user_id": "user_1",
        "identifier": "ada@example.com",
        "first_name": "Ada",
        "last_name": None,
    },
    "created_at": MS,
    "updated_at": MS + 3,
}
SESSION: dict[str, Any] = {"object": "session", "id": "sess_1", "user_id": "user_1"}
DELETED: dict[str, Any] = {"object": "user", "id": "user_1", "deleted": True}


def an_event(kind: str, data: Any, **changes: Any) -> bytes:
    base = {"object": "event", "type": kind, "data": data, "timestamp": MS + 5}
    return json.dumps(base | changes).encode()


def read(raw: bytes) -> Knock:
    return READER.knock_of(raw, event_id="msg_1")


def told(kind: str, data: Any, **changes: Any) -> Any:
    return READER.told("msg_1", kind, an_event(kind, data, **changes))


@pytest.mark.parametrize(
    ("kind", "data", "subject"),
    [
        ("user.created", USER, ("clerk.user", "user_1")),
        ("user.updated", USER, ("clerk.user", "user_1")),
        ("user.deleted", DELETED, ("clerk.user", "user_1")),
        ("organization.created", ORG, ("clerk.org", "org_1")),
        ("organization.updated", ORG, ("clerk.org", "org_1")),
        ("organization.deleted", {"id": "org_1"}, ("clerk.org", "org_1")),
        ("organizationMembership.created", MEMBER, ("clerk.membership", "org_1/user_1")),
        ("organizationMembership.updated", MEMBER, ("clerk.membership", "org_1/user_1")),
        ("organizationMembership.deleted", MEMBER, ("clerk.membership", "org_1/user_1")),
        ("session.ended", SESSION, ("clerk.session", "sess_1")),
        ("session.removed", SESSION, ("clerk.session", "sess_1")),
        ("session.revoked", SESSION, ("clerk.session", "sess_1")),
    ],
)
def test_an_event_knocks_for_whom_it_is_about(
    kind: str, data: dict[str, Any], subject: tuple[str, str]
) -> None:
    knock = read(an_event(kind, data))

    assert knock.subject == Subject(*subject)
    assert (knock.source, knock.event_id, knock.kind) == ("clerk", "msg_1", kind)
    assert (knock.livemode, knock.note) == (False, None)
    assert knock.occurred_at == START + timedelta(milliseconds=5)


@pytest.mark.parametrize(
    "kind",
    [
        "session.created",
        "session.pending",
        "organizationInvitation.created",
        "organizationInvitation.accepted",
        "organizationDomain.updated",
        "user.forgotten",
        "waitlistEntry.created",
        "paymentAttempt.updated",
        "brand.new",
        "user",
        ".",
    ],
)
def test_what_concerns_nobody_is_kept_with_a_note(kind: str) -> None:
    knock = read(an_event(kind, USER))

    assert knock.subject is None
    assert knock.note == "tells of no user, organization, membership or ended session"


LONG = "x" * 256
POISON: list[tuple[str, Any]] = [
    ("user.created", None),
    ("user.created", []),
    ("user.updated", {}),
    ("user.updated", {"id": None}),
    ("user.updated", {"id": 7}),
    ("user.updated", {"id": ""}),
    ("user.updated", {"id": "user/1"}),
    ("user.updated", {"id": ".."}),
    ("user.updated", {"id": "user 1"}),
    ("user.updated", {"id": "user\x00"}),
    ("user.updated", {"id": "user_1\n"}),
    ("user.updated", {"id": "us\u00e9r"}),
    ("user.updated", {"id": LONG}),
    ("user.deleted", {"deleted": True}),
    ("organizationMembership.created", {"organization": {"id": "org_1"}}),
    ("organizationMembership.deleted", MEMBER | {"public_user_data": None}),
    ("organizationMembership.deleted", MEMBER | {"organization": {"id": "a/b"}}),
    ("session.ended", {"id": [1]}),
]


@pytest.mark.parametrize(("kind", "data"), POISON)
async def test_a_poison_event_is_kept_with_a_note_and_stops_nothing(
    kind: str, data: Any, tx: Tx
) -> None:
    """speakeasy-api/gram#2525: one event that could not be read stopped every later one."""
    knock = read(an_event(kind, data))
    assert knock.subject is None
    assert knock.note
    assert knock.note.startswith("quarantined: ")

    await journal.put_knocks(tx, [knock, read(an_event("user.created", USER))])

    cur = await tx.execute("SELECT body FROM tenure.inbox WHERE event_id = 'msg_1'")
    assert [bytes(row["body"]) for row in await cur.fetchall()] == [knock.body]
    assert READER.told("msg_1", kind, knock.body) is None


NOT_EVENTS = [
    b"",
    b"null",
    b"[]",
    b'"user.created"',
    b"{}",
    b"{",
    b'{"type":""}',
    b'{"type":7}',
    b'{"type":null,"data":{}}',
    b'{"type":"a\\u0000"}',
    b'{"type":"\\ud800"}',
    b'{"type":"a"}{',
    b'{"type":"a","timestamp":1e999}',
    b'\xff\xfe{"type":"a"}',
    b'{"type":"' + b"x" * 256 + b'"}',
    b'{"type":"user.created","data":' + b"[" * 100_000,
]


@pytest.mark.parametrize("raw", NOT_EVENTS, ids=lambda raw: repr(raw[:40]))
def test_bytes_that_are_no_event_are_a_bad_event_and_nothing_worse(raw: bytes) -> None:
    with pytest.raises(BadEvent):
        read(raw)
    assert READER.told("msg_1", "user.created", raw) is None


@pytest.mark.parametrize("event_id", [None, ""])
def test_an_event_needs_the_id_of_its_header(event_id: str | None) -> None:
    with pytest.raises(BadEvent, match="svix-id"):
        READER.knock_of(an_event("user.created", USER), event_id=event_id)


@pytest.mark.parametrize("timestamp", [None, "soon", -1, 1.5, 2**63, [], {}])
def test_an_odd_time_is_no_time(timestamp: Any) -> None:
    raw = an_event("user.created", USER, timestamp=timestamp)

    assert read(raw).occurred_at is None
    assert READER.told("msg_1", "user.created", raw) is None


def test_a_user_is_read_with_her_primary_address() -> None:
    found = told("user.updated", USER)

    assert (found.event_id, found.at, found.gone) == (
        "msg_1",
        START + timedelta(milliseconds=5),
        None,
    )
    assert found.seen == SeenUser(
        id="user_1",
        email="ada@example.com",
        name="Ada Lovelace",
        blocked=False,
        version=START + timedelta(milliseconds=1),
        created_at=START,
    )


@pytest.mark.parametrize(
    ("change", "email", "name"),
    [
        ({"email_addresses": []}, None, "Ada Lovelace"),
        ({"email_addresses": None}, None, "Ada Lovelace"),
        ({"primary_email_address_id": None}, None, "Ada Lovelace"),
        ({"primary_email_address_id": "idn_9"}, None, "Ada Lovelace"),
        ({"first_name": None}, "ada@example.com", "Lovelace"),
        ({"first_name": "", "last_name": None, "username": "ada"}, "ada@example.com", "ada"),
        ({"first_name": None, "last_name": None}, "ada@example.com", None),
        ({"first_name": "A\x00da", "last_name": " "}, "ada@example.com", "Ada"),
    ],
)
def test_a_user_may_lack_an_address_and_a_name(
    change: dict[str, Any], email: str | None, name: str | None
) -> None:
    seen = told("user.created", USER | change).seen

    assert (seen.email, seen.name) == (email, name)


@pytest.mark.parametrize(
    ("change", "blocked"),
    [({"banned": True}, True), ({"locked": True}, False), ({"banned": None}, False)],
)
def test_a_banned_user_is_blocked_and_a_locked_one_only_waits(
    change: dict[str, Any],
    blocked: bool,  # noqa: FBT001 (a column of the table above)
) -> None:
    assert told("user.updated", USER | change).seen.blocked is blocked


def test_an_organization_is_read() -> None:
    assert told("organization.updated", ORG).seen == SeenOrganization(
        id="org_1",
        name="Acme",
        slug="acme",
        version=START + timedelta(milliseconds=2),
        created_at=START,
    )
    assert told("organization.created", ORG | {"name": None, "slug": None}).seen.name == "org_1"


def test_a_membership_is_read_with_stubs_of_both_and_a_plain_role() -> None:
    """S2: "admin", never "org:admin"; what is only named inside has no version of its own."""
    seen = told("organizationMembership.created", MEMBER).seen

    assert seen == SeenMembership(
        id="orgmem_1",
        org=SeenOrganization(id="org_1", name="Acme", slug="acme", version=None),
        user=SeenUser(id="user_1", email="ada@example.com", name="Ada", version=None),
        role="admin",
        status=Status.ACTIVE,
        version=START + timedelta(milliseconds=3),
        created_at=START,
    )


def test_an_identifier_that_is_no_address_is_not_taken_for_one() -> None:
    data = MEMBER | {"public_user_data": {"user_id": "user_1", "identifier": "+15550100"}}

    assert told("organizationMembership.created", data).seen.user.email is None


@pytest.mark.parametrize("kind", ["session.ended", "session.removed", "session.revoked"])
def test_a_session_that_ended_is_read_with_the_time_of_its_event(kind: str) -> None:
    at = START + timedelta(milliseconds=5)

    assert told(kind, SESSION).seen == SeenSession(id="sess_1", user_id="user_1", ended_at=at)


@pytest.mark.parametrize(
    ("kind", "data", "gone"),
    [
        ("user.deleted", DELETED, ("user", "user_1")),
        ("organization.deleted", {"id": "org_1", "deleted": True}, ("org", "org_1")),
        ("organizationMembership.deleted", MEMBER, ("membership", "orgmem_1")),
    ],
)
def test_a_deletion_is_dated_by_its_event_as_it_has_no_version(
    kind: str, data: dict[str, Any], gone: tuple[Any, str]
) -> None:
    found = told(kind, data)

    assert found.gone == Gone(kind=gone[0], id=gone[1], at=START + timedelta(milliseconds=5))
    assert found.seen is None


@pytest.mark.parametrize("kind", ["session.created", "organizationInvitation.created", "x.y"])
def test_what_concerns_nobody_tells_nothing(kind: str) -> None:
    assert told(kind, USER) is None


def test_a_field_that_cannot_be_read_spoils_what_is_told_and_not_the_knock() -> None:
    """Where we can ask, one strange field does not matter."""
    odd = USER | {"updated_at": "yesterday"}

    assert read(an_event("user.updated", odd)).subject == Subject("clerk.user", "user_1")
    assert told("user.updated", odd) is None


async def test_every_event_of_a_pretended_life_can_be_read() -> None:
    async with a_room() as room:
        ada, bob = await room.a_user(email_address=["ada@example.com"]), await room.a_user()
        org = await room.an_org(created_by=ada)
        await room.post(f"/v1/organizations/{org}/memberships", user_id=bob, role="org:member")
        path = f"/v1/organizations/{org}/memberships/{bob}"
        await room.ask("PATCH", path, role="org:admin")
        await room.ask("DELETE", path)
        session = await room.post("/v1/sessions", user_id=ada)
        await room.post(f"/v1/sessions/{session['id']}/revoke")
        await room.ask("DELETE", f"/v1/organizations/{org}")
        await room.ask("DELETE", f"/v1/users/{ada}")
        events = await room.events()

    knocks = [read(json.dumps(event).encode()) for event in events]
    said = {k.kind: READER.told("msg_1", k.kind, k.body) for k in knocks}

    assert {k.kind for k in knocks if k.subject is None} <= {"session.created"}
    assert not [k.note for k in knocks if "quarantined" in (k.note or "")]
    assert {kind for kind, found in said.items() if found is None} <= {"session.created"}
    assert {
        "user.created",
        "user.deleted",
        "organization.created",
        "organization.deleted",
        "organizationMembership.created",
        "organizationMembership.updated",
        "organizationMembership.deleted",
        "session.revoked",
    } <= set(said)
    pair = Subject("clerk.membership", f"{org}/{bob}")
    assert {k.kind for k in knocks if k.subject == pair} == {
        f"organizationMembership.{act}" for act in ("created", "updated", "deleted")
    }


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KINDS = [kind for kind, _ in POISON] + ["organization.updated", "session.revoked", "x.y"]
spoiled = st.sampled_from([USER, ORG, MEMBER, SESSION]).flatmap(
    lambda good: st.dictionaries(st.sampled_from(sorted(good)), json_values, max_size=2).map(
        lambda odd: good | odd
    )
)
likely = st.builds(an_event, st.sampled_from(KINDS), spoiled | json_values, timestamp=json_values)


@given(st.binary() | likely)
def test_any_bytes_give_a_bad_event_or_a_knock_that_can_be_stored(raw: bytes) -> None:
    try:
        knock = read(raw)
    except BadEvent:
        return
    stored = [knock.kind, knock.note or "", *(knock.subject or ())]
    assert knock.body == raw
    assert not any("\x00" in text for text in stored)
    assert all(len(text) <= 511 for text in stored)
    found = READER.told("msg_1", knock.kind, raw)
    assert found is None or found.at == knock.occurred_at
    assert found is None or datetime(1970, 1, 1, tzinfo=UTC) <= found.at
