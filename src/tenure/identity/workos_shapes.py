"""The shapes in which WorkOS writes what it knows, and what they mean in our words."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec

from tenure.base.log import log
from tenure.identity.model import (
    Invitation,
    SeenMembership,
    SeenOrganization,
    SeenSession,
    SeenUser,
    Status,
)

NAME = r"^(?!\.{1,2}\Z)[!-.0-~]{1,255}\Z"  # plain printable ASCII, no slash, no step up a path
IS_NAME = re.compile(NAME)
UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)

Name = Annotated[str, msgspec.Meta(pattern=NAME)]
Item = TypeVar("Item")


class User(msgspec.Struct):
    """A user; only her id is sure."""

    id: Name
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    name: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def seen(self) -> SeenUser:
        """Say it in our words."""
        both = " ".join(filter(None, (self.first_name, self.last_name)))
        return SeenUser(
            id=self.id,
            email=text(self.email),
            name=text(self.name) or text(both),
            version=utc(self.updated_at) if self.updated_at else None,
            created_at=utc(self.created_at) if self.created_at else None,
        )


class Organization(msgspec.Struct):
    """An organization; WorkOS gives it no slug."""

    id: Name
    name: str
    updated_at: datetime
    created_at: datetime | None = None

    def seen(self) -> SeenOrganization:
        """Say it in our words."""
        return SeenOrganization(
            id=self.id,
            name=text(self.name) or self.id,
            slug=None,
            version=utc(self.updated_at),
            created_at=utc(self.created_at) if self.created_at else None,
        )


class Role(msgspec.Struct):
    """A role of a member."""

    slug: str


class Membership(msgspec.Struct):
    """A membership of whatever status."""

    id: Name
    organization_id: Name
    user_id: Name
    status: Status
    created_at: datetime
    updated_at: datetime
    role: Role | None = None
    organization_name: str | None = None
    user: Any = None  # all of her in an API's answer, nothing in most events

    def seen(self) -> SeenMembership:
        """Say it in our words."""
        org_id = self.organization_id
        org_name = text(self.organization_name) or org_id
        return SeenMembership(
            id=self.id,
            org=SeenOrganization(id=org_id, name=org_name, slug=None, version=None),
            user=self._member(),
            role=role_of(self.role.slug if self.role else None),
            status=self.status,
            version=utc(self.updated_at),
            created_at=utc(self.created_at),
        )

    def _member(self) -> SeenUser:
        """Read what it says of the user: it says enough without her."""
        try:
            user = msgspec.convert(self.user, User)
        except UNREADABLE:
            user = User(id=self.user_id)
        return user.seen() if user.id == self.user_id else User(id=self.user_id).seen()


class Session(msgspec.Struct):
    """A session that was revoked."""

    id: Name
    user_id: Name
    updated_at: datetime
    ended_at: datetime | None = None

    def seen(self) -> SeenSession:
        """Say it in our words."""
        ended_at = utc(self.ended_at or self.updated_at)
        return SeenSession(id=self.id, user_id=self.user_id, ended_at=ended_at)


class Invited(msgspec.Struct):
    """An invitation."""

    id: Name
    email: str
    state: str = "pending"
    role_slug: str | None = None
    expires_at: datetime | None = None

    def seen(self) -> Invitation:
        """Say it in our words."""
        return Invitation(
            id=self.id,
            email=self.email,
            role=role_of(self.role_slug),
            expires_at=utc(self.expires_at) if self.expires_at else None,
        )


class AnyEvent(msgspec.Struct):
    """An event of which nothing is sure."""

    id: Any = None
    event: Any = None
    created_at: Any = None
    data: Any = None


class Happened(msgspec.Struct):
    """An event that says when; what it is about is read by its kind."""

    created_at: datetime
    data: msgspec.Raw


class Named(msgspec.Struct):
    """Something that is gone: its id is all we need."""

    id: Name


class Pair(msgspec.Struct):
    """A membership, as far as its pair."""

    organization_id: Name
    user_id: Name


class Metadata(msgspec.Struct):
    """Where a list goes on."""

    after: str | None = None


class Listed(msgspec.Struct):
    """A page, whose items are read one by one: one odd item costs no other."""

    data: list[msgspec.Raw]
    list_metadata: Metadata = msgspec.field(default_factory=Metadata)


class Words(msgspec.Struct):
    """Why WorkOS says no."""

    code: str | None = None
    message: str | None = None
    entity_id: Any = None  # only of what it looked for and did not find


events = msgspec.json.Decoder(AnyEvent)
happenings = msgspec.json.Decoder(Happened)
names = msgspec.json.Decoder(Named)
users = msgspec.json.Decoder(User)
organizations = msgspec.json.Decoder(Organization)
memberships = msgspec.json.Decoder(Membership)
sessions = msgspec.json.Decoder(Session)
invitations = msgspec.json.Decoder(Invited)
lists = msgspec.json.Decoder(Listed)
words = msgspec.json.Decoder(Words)


def readable(
    raws: Sequence[msgspec.Raw], decoder: "msgspec.json.Decoder[Item]", *, of: str
) -> Iterator[Item]:
    """Read what can be read; whoever is left out is asked for by name before she counts as gone."""
    for raw in raws:
        try:
            yield decoder.decode(raw)
        except UNREADABLE as exc:
            log.warning("identity.workos.unreadable", list=of, why=str(exc)[:200])


def is_name(given: str) -> bool:
    """Whether it can stand in a path and in a subject."""
    return IS_NAME.match(given) is not None


def text(given: str | None) -> str | None:
    """Take from a text what Postgres cannot hold; an empty one is none."""
    return (given or "").replace("\0", "").strip() or None


def utc(at: datetime) -> datetime:
    """Read a moment; WorkOS means UTC, also where it does not say so."""
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def iso(at: datetime) -> str:
    """Write a moment as WorkOS takes it: with a Z, never with +00:00."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def role_of(slug: str | None) -> str:
    """Name a role as all of Tenure does: "admin", never "org:admin"."""
    return (text(slug) or "").removeprefix("org:") or "member"
