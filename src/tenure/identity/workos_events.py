"""Events of WorkOS: whom they concern, and what they say where their word is taken."""

import hashlib
from datetime import datetime
from typing import Any, Final

import msgspec

from tenure.identity import workos_shapes as shapes
from tenure.identity.directory import pair_of, subject_of
from tenure.identity.errors import BadEvent
from tenure.identity.model import Gone, Kind, Told
from tenure.journal.model import Knock, Subject

PROVIDER: Final = "workos"
KINDS: Final[dict[str, Kind]] = {
    "user.created": "user",
    "user.updated": "user",
    "user.deleted": "user",
    "organization.created": "org",
    "organization.updated": "org",
    "organization.deleted": "org",
    "organization_membership.created": "membership",
    "organization_membership.updated": "membership",
    "organization_membership.deleted": "membership",
    "session.revoked": "session",
}
QUARANTINED = "quarantined: "  # how the note of an event begins that we should have understood
NAMELESS = "sha256:"  # how the name begins that we give to an event without an id
LONGEST = 255  # characters of a kind or a note
OF_KIND: "dict[Kind, msgspec.json.Decoder[Any]]" = {
    "user": shapes.users,
    "org": shapes.organizations,
    "membership": shapes.memberships,
    "session": shapes.sessions,
}


class WorkosReader:
    """Reads events of WorkOS."""

    provider = PROVIDER

    def knock_of(self, raw: bytes, *, event_id: str | None = None) -> Knock:
        """Read whom an event concerns. Unknown kinds concern nobody and are kept with a note.

        `event_id`: our name for an event that has none; those that have one keep it, because
        webhooks and the list of events name the same event alike.
        Errors: BadEvent when the bytes are no event at all.
        """
        event = _event(raw)
        name = event.id if event.id is not None else event_id
        if not isinstance(name, str) or not shapes.is_name(name):
            raise BadEvent("the body is not an event: its id is missing or no name")
        if not _is_kind(event.event):
            raise BadEvent("the body is not an event: its kind is missing or no name")
        subject, note = _concerned(event.event, event.data)
        return _knock(raw, name, event, subject=subject, note=note)

    def knock_of_any(self, raw: bytes) -> Knock:
        """Read whom an event concerns; keep what cannot be read, with a note that says why."""
        try:
            return self.knock_of(raw)
        except BadEvent as exc:
            return _quarantined(raw, str(exc))

    def told(self, event_id: str, kind: str, body: bytes) -> Told | None:
        """Read what an event says; None where it says nothing, or nothing that can be read."""
        about = KINDS.get(kind)
        if about is None:
            return None
        try:
            event = shapes.happenings.decode(body)
            at = shapes.utc(event.created_at)
            if kind.endswith(".deleted"):
                gone = Gone(kind=about, id=shapes.names.decode(event.data).id, at=at)
                return Told(event_id=event_id, at=at, gone=gone)
            seen = OF_KIND[about].decode(event.data).seen()
            return Told(event_id=event_id, at=at, seen=seen)
        except (*shapes.UNREADABLE, OverflowError):
            return None


def _event(raw: bytes) -> shapes.AnyEvent:
    try:
        return shapes.events.decode(raw)
    except shapes.UNREADABLE as exc:
        raise BadEvent(f"the body is not an event: {exc}") from exc


def _concerned(kind: str, data: object) -> tuple[Subject | None, str | None]:
    about = KINDS.get(kind)
    if about is None:
        return None, "tells of no user, organization, membership or ended session"
    try:
        if about == "membership":
            pair = msgspec.convert(data, shapes.Pair)
            return subject_of(PROVIDER, about, pair_of(pair.organization_id, pair.user_id)), None
        return subject_of(PROVIDER, about, msgspec.convert(data, shapes.Named).id), None
    except shapes.UNREADABLE as exc:
        return None, f"{QUARANTINED}{exc}"[:LONGEST]


def _quarantined(raw: bytes, why: str) -> Knock:
    """Keep what cannot be read under its own name, or under ours."""
    try:
        event = _event(raw)
    except BadEvent:
        event = shapes.AnyEvent()
    own = isinstance(event.id, str) and shapes.is_name(event.id)
    name = event.id if own else NAMELESS + hashlib.sha256(raw).hexdigest()
    return _knock(raw, name, event, note=f"{QUARANTINED}{why}"[:LONGEST])


def _knock(
    raw: bytes,
    name: str,
    event: shapes.AnyEvent,
    *,
    subject: Subject | None = None,
    note: str | None,
) -> Knock:
    return Knock(
        source=PROVIDER,
        livemode=True,  # an environment of WorkOS has keys of its own; its events do not say which
        event_id=name,
        kind=event.event if _is_kind(event.event) else "unreadable",
        subject=subject,
        note=note,
        occurred_at=_moment(event.created_at),
        body=raw,
    )


def _moment(given: object) -> datetime | None:
    try:
        return shapes.utc(msgspec.convert(given, datetime)) if isinstance(given, str) else None
    except (msgspec.ValidationError, OverflowError):
        return None


def _is_kind(given: object) -> bool:
    return isinstance(given, str) and 0 < len(given) <= LONGEST and given.isprintable()
