"""Clerk's JSON: as little of it as we need, the same in events and in answers.

Times are in milliseconds, roles begin with "org:", a user may have no e-mail address.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder

from tenure.base.clock import moment
from tenure.identity.claims import END_OF_TIME
from tenure.identity.model import (
    Invitation,
    SeenMembership,
    SeenOrganization,
    SeenSession,
    SeenUser,
    Status,
)

ROLE = "org:"  # Clerk's tokens leave it out, everything else of Clerk's has it
LONGEST = 255  # characters of a name

# An id becomes a subject and a part of an address: no slash, and no "." or ".." alone.
Id = Annotated[
    str, Meta(min_length=1, max_length=255, pattern=r"^(?!\.{1,2}\Z)[\x21-\x2e\x30-\x7e]+\Z")
]
Kind = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]+\Z")]
Role = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+\Z")]
Millis = Annotated[int, Meta(ge=0, le=END_OF_TIME * 1000)]

UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)


class Event(Struct):
    """The envelope of every event; it has no id of its own."""

    type: Kind
    data: Raw = Raw(b"null")
    timestamp: Any = None


class Thing(Struct):
    """Anything with an id: all that a deleted user or organization has left."""

    id: Id


class UserRef(Struct):
    """Whom a membership names."""

    user_id: Id


class Pair(Struct):
    """Whom a membership joins, without the rest of it."""

    organization: Thing
    public_user_data: UserRef


class _Address(Struct):
    id: str | None = None
    email_address: str | None = None


class _User(Struct):
    id: Id
    created_at: Millis
    updated_at: Millis
    email_addresses: list[_Address] | None = None
    primary_email_address_id: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    username: str | None = None
    banned: bool | None = None


class _Organization(Struct):
    id: Id
    created_at: Millis
    updated_at: Millis
    name: str | None = None
    slug: str | None = None


class _NamedOrganization(Struct):
    id: Id
    name: str | None = None
    slug: str | None = None


class _NamedUser(Struct):
    user_id: Id
    identifier: str | None = None  # her e-mail address, if she signs in with one
    first_name: str | None = None
    last_name: str | None = None
    username: str | None = None


class _Membership(Struct):
    id: Id
    role: Role
    created_at: Millis
    updated_at: Millis
    organization: _NamedOrganization
    public_user_data: _NamedUser


class _Session(Struct):
    id: Id
    user_id: Id


class _Invitation(Struct):
    id: Id
    email_address: str
    role: Role
    expires_at: Millis | None = None


class _Listed(Struct):
    data: list[Raw]
    total_count: int | None = None


Listed = list[Raw] | _Listed  # users come as a bare array, everything else in an envelope

event, thing, pair, listed = Decoder(Event), Decoder(Thing), Decoder(Pair), Decoder[Listed](Listed)
_user, _organization, _membership = Decoder(_User), Decoder(_Organization), Decoder(_Membership)
_session, _invitation = Decoder(_Session), Decoder(_Invitation)


def rows_of(found: Listed) -> tuple[list[Raw], int | None]:
    """Take the rows out of a list, and how many there are in all, where Clerk says it."""
    return (found, None) if isinstance(found, list) else (found.data, found.total_count)


def at(millis: int) -> datetime:
    """Read a time of Clerk's."""
    return moment(0) + timedelta(milliseconds=millis)


def when(timestamp: object) -> datetime | None:
    """Read the time of an envelope; None for anything else than a time."""
    if isinstance(timestamp, int) and 0 <= timestamp <= END_OF_TIME * 1000:
        return at(timestamp)
    return None


def user(data: Raw | bytes) -> SeenUser:
    """Read a user."""
    found = _user.decode(data)
    primary = found.primary_email_address_id
    addresses = found.email_addresses or []
    emails = [a.email_address for a in addresses if primary and a.id == primary]
    return SeenUser(
        id=found.id,
        email=_text(emails[0]) if emails else None,
        name=_name(found.first_name, found.last_name, found.username),
        blocked=bool(found.banned),
        version=at(found.updated_at),
        created_at=at(found.created_at),
    )


def organization(data: Raw | bytes) -> SeenOrganization:
    """Read an organization."""
    found = _organization.decode(data)
    return SeenOrganization(
        id=found.id,
        name=_text(found.name) or _text(found.slug) or found.id,
        slug=_text(found.slug),
        version=at(found.updated_at),
        created_at=at(found.created_at),
    )


def membership(data: Raw | bytes) -> SeenMembership:
    """Read a membership, which at Clerk is always active."""
    found = _membership.decode(data)
    org, who = found.organization, found.public_user_data
    return SeenMembership(
        id=found.id,
        org=SeenOrganization(
            id=org.id,
            name=_text(org.name) or _text(org.slug) or org.id,
            slug=_text(org.slug),
            version=None,
        ),
        user=SeenUser(
            id=who.user_id,
            email=_text(who.identifier) if "@" in (who.identifier or "") else None,
            name=_name(who.first_name, who.last_name, who.username),
            version=None,
        ),
        role=found.role.removeprefix(ROLE),
        status=Status.ACTIVE,
        version=at(found.updated_at),
        created_at=at(found.created_at),
    )


def session(data: Raw | bytes, ended_at: datetime) -> SeenSession:
    """Read a session that has ended."""
    found = _session.decode(data)
    return SeenSession(id=found.id, user_id=found.user_id, ended_at=ended_at)


def invitation(data: Raw | bytes) -> Invitation:
    """Read an invitation."""
    found = _invitation.decode(data)
    return Invitation(
        id=found.id,
        email=found.email_address,
        role=found.role.removeprefix(ROLE),
        expires_at=None if found.expires_at is None else at(found.expires_at),
    )


def _name(first: str | None, last: str | None, username: str | None) -> str | None:
    whole = " ".join(filter(None, (_text(first), _text(last))))
    return whole or _text(username)


def _text(given: str | None) -> str | None:
    """Make text that Postgres can keep: without NUL, and not without an end."""
    return (given or "").replace("\x00", "").strip()[:LONGEST] or None
