"""WorkOS as it is read and as it is asked; its objects are the sandbox's."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.base.clock import StoppedClock
from tenure.identity.errors import BadEvent
from tenure.identity.model import Gone, SeenMembership, SeenSession, SeenUser, Told
from tenure.identity.workos import WorkosReader
from tenure.journal.model import Knock, Subject
from tenure.sandbox.workos import sessions

from .workos_scene import MEMBERSHIPS, Scene, a_scene

AT = "2026-03-01T12:00:00.123Z"
MOMENT = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
MEMBER = {
    "object": "organization_membership",
    "id": "om_1",
    "organization_id": "org_1",
    "user_id": "user_1",
    "status": "active",
    "role": {"slug": "org:admin"},
    "created_at": "2026-02-01T12:00:00.000Z",
    "updated_at": AT,
}


@pytest.fixture
async def scene(clock: StoppedClock) -> AsyncIterator[Scene]:
    async with a_scene(clock) as scene:
        yield scene


def an_event(kind: str = "organization_membership.updated", **changes: Any) -> bytes:
    base = {"object": "event", "id": "event_1", "event": kind, "data": MEMBER, "created_at": AT}
    return json.dumps(base | changes).encode()


def read(raw: bytes) -> Knock:
    return WorkosReader().knock_of(raw)


def told(raw: bytes) -> Told | None:
    knock = read(raw)
    return WorkosReader().told(knock.event_id, knock.kind, raw)


async def test_every_event_of_a_life_is_routed_to_whom_it_concerns(scene: Scene) -> None:
    org, user = await scene.an_org(), await scene.a_user()
    member = await scene.a_member(org, user, role_slug="admin")
    session = sessions.begin(scene.world, user, org, {})
    await scene.ask("PUT", f"{MEMBERSHIPS}/{member}/deactivate")
    await scene.ask("DELETE", f"{MEMBERSHIPS}/{member}")
    await scene.ask("PUT", f"/organizations/{org}", name="Other")
    await scene.ask("DELETE", f"/user_management/users/{user}")
    await scene.ask("DELETE", f"/organizations/{org}")

    knocks = [read(raw) for raw in scene.events()]

    pair = Subject("workos.membership", f"{org}/{user}")
    assert [(knock.kind, knock.subject) for knock in knocks] == [
        ("organization.created", Subject("workos.org", org)),
        ("user.created", Subject("workos.user", user)),
        ("organization_membership.created", pair),
        ("session.created", None),
        ("organization_membership.updated", pair),
        ("session.revoked", Subject("workos.session", session["id"])),
        ("organization_membership.deleted", pair),
        ("organization.updated", Subject("workos.org", org)),
        ("user.deleted", Subject("workos.user", user)),
        ("organization.deleted", Subject("workos.org", org)),
    ]
    assert {knock.occurred_at for knock in knocks} == {scene.clock.now()}
    assert [knock.event_id for knock in knocks] == scene.world.event_ids
    said = [WorkosReader().told(k.event_id, k.kind, k.body) for k in knocks]
    assert [one is None for one in said] == [k.subject is None for k in knocks]


@pytest.mark.parametrize(
    "kind", ["dsync.user.deleted", "invitation.accepted", "session.created", "moon.landed"]
)
def test_an_event_of_another_kind_is_kept_with_a_note_and_concerns_nobody(kind: str) -> None:
    knock = read(an_event(kind))

    assert (knock.subject, knock.kind) == (None, kind)
    assert knock.note == "tells of no user, organization, membership or ended session"
    assert told(an_event(kind)) is None


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("user.updated", {}),
        ("user.updated", None),
        ("user.updated", "poison"),
        ("user.updated", {"id": 7}),
        ("user.updated", {"id": "user_1/user_2"}),
        ("user.updated", {"id": "user \N{SNOWMAN}"}),
        ("user.updated", {"id": ".."}),
        ("user.updated", {"id": "x" * 256}),
        ("organization.deleted", {"name": "no id"}),
        ("organization_membership.updated", {"id": "om_1", "user_id": "user_1"}),
        ("organization_membership.updated", MEMBER | {"organization_id": ""}),
        ("session.revoked", {"user_id": "user_1"}),
    ],
)
def test_a_known_kind_without_its_ids_is_quarantined_and_not_refused(kind: str, data: Any) -> None:
    """Pain 2 (speakeasy-api/gram#2525): it is kept, and says why it is of no use."""
    knock = read(an_event(kind, data=data))

    assert knock.subject is None
    assert (knock.note or "").startswith("quarantined: ")
    assert told(an_event(kind, data=data)) is None


def test_a_payload_that_lacks_what_nobody_needs_still_marks_its_subject() -> None:
    """WorkOS's SDK loses the whole page for want of `custom_attributes`."""
    data = {"id": "om_1", "organization_id": "org_1", "user_id": "user_1"}
    knock = read(an_event(data=data))

    assert knock.subject == Subject("workos.membership", "org_1/user_1")
    assert told(an_event(data=data)) is None


NOT_EVENTS = [
    b"",
    b"null",
    b"[]",
    b'"poison"',
    b"{}",
    b'{"id":"event_1"}',
    b'{"id":"event_1","event":""}',
    b'{"id":"event_1","event":"a\\u0000"}',
    b'{"id":7,"event":"user.created"}',
    b'{"id":"event/1","event":"user.created"}',
    b'{"id":"event_\\u0000","event":"user.created"}',
    b'{"id":"event_1","event":"\\ud800"}',
    b'\xff\xfe{"id":"event_1"}',
    b'{"id":"event_1","event":"a","x":' + b"[" * 100_000,
    b'{"id":"event_1","event":"' + b"a" * 5000 + b'"}',
]


@pytest.mark.parametrize("raw", NOT_EVENTS, ids=lambda raw: repr(raw[:40]))
def test_bytes_that_are_no_event_are_a_bad_event_and_nothing_worse(raw: bytes) -> None:
    with pytest.raises(BadEvent):
        read(raw)
    knock = WorkosReader().knock_of_any(raw)

    assert (knock.note or "").startswith("quarantined: ")
    assert (knock.subject, knock.body) == (None, raw)


def test_what_cannot_be_read_is_kept_under_its_own_id_where_it_has_one() -> None:
    own = WorkosReader().knock_of_any(b'{"id":"event_1"}')
    ours = WorkosReader().knock_of_any(b'"poison"')

    assert own.event_id == "event_1"
    assert ours.event_id.startswith("sha256:")
    assert ours.event_id == WorkosReader().knock_of_any(b'"poison"').event_id


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.text(max_size=8) | anything
kinds = st.sampled_from(["user.updated", "organization_membership.deleted", "session.revoked"])
objects = st.fixed_dictionaries(
    {},
    optional={
        name: anything | st.just(AT)
        for name in ("id", "user_id", "organization_id", "status", "role", "user", "updated_at")
    },
)
events = st.fixed_dictionaries(
    {"id": names, "event": kinds | names, "data": objects | anything, "created_at": anything}
).map(lambda found: json.dumps(found).encode())


@given(st.binary() | events)
def test_any_bytes_can_be_kept_and_say_something_or_nothing(raw: bytes) -> None:
    knock = WorkosReader().knock_of_any(raw)

    stored = [knock.event_id, knock.kind, knock.note or "", *(knock.subject or ())]
    assert not any("\x00" in text for text in stored)
    assert all(len(text) <= 511 and text.isprintable() for text in stored[:2])
    WorkosReader().told(knock.event_id, knock.kind, raw)


def test_a_deleted_membership_is_gone_under_its_own_id_and_not_as_a_pair() -> None:
    """Pain 4 (vm0-ai/vm0#34986): whoever joined again has another id."""
    said = told(an_event("organization_membership.deleted"))

    assert said == Told(
        event_id="event_1", at=MOMENT, gone=Gone(kind="membership", id="om_1", at=MOMENT)
    )


def test_a_deletion_is_understood_though_nothing_but_the_id_can_be_read() -> None:
    said = told(an_event("user.deleted", data={"id": "user_1", "email": 7, "updated_at": "soon"}))

    assert said is not None
    assert said.gone == Gone(kind="user", id="user_1", at=MOMENT)


def test_a_revoked_session_says_whose_it_was_and_when_it_ended() -> None:
    data = {"id": "session_1", "user_id": "user_1", "ended_at": None, "updated_at": AT}
    said = told(an_event("session.revoked", data=data))

    assert said is not None
    assert said.seen == SeenSession(id="session_1", user_id="user_1", ended_at=MOMENT)


def test_a_membership_in_an_event_names_a_user_it_does_not_show() -> None:
    said = told(an_event())

    assert said is not None
    assert isinstance(said.seen, SeenMembership)
    assert (said.seen.role, said.seen.status, said.seen.version) == ("admin", "active", MOMENT)
    assert said.seen.user == SeenUser(id="user_1", email=None, name=None, version=None)
    assert (said.seen.org.id, said.seen.org.name, said.seen.org.version) == (
        "org_1",
        "org_1",
        None,
    )


def test_a_time_without_a_zone_is_utc_and_a_text_holds_nothing_that_postgres_cannot() -> None:
    """The docs show `2023-04-28 20:05:31.093` in an event."""
    data = {
        "id": "user_1",
        "email": "",
        "first_name": "A\x00da",
        "last_name": " ",
        "updated_at": "2026-03-01 12:00:00.123",
    }
    said = told(an_event("user.updated", data=data, created_at="2026-03-01 12:00:00.123"))

    assert said is not None
    assert said.at == MOMENT
    assert said.seen == SeenUser(id="user_1", email=None, name="Ada", version=MOMENT)
