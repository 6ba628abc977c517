"""Who: organizations and people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, NewType
from uuid import UUID

OrgId = NewType("OrgId", UUID)
UserId = NewType("UserId", UUID)
Kind = Literal["user", "org", "membership", "session"]
Wish = Literal["active", "inactive", "removed"]


class Status(StrEnum):
    """What a provider says of a membership."""

    PENDING = "pending"  # invited
    ACTIVE = "active"
    INACTIVE = "inactive"  # deactivated, and can be reactivated


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person."""

    id: UserId
    email: str | None
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """A tenant."""

    id: OrgId
    name: str
    slug: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenUser:
    """A user as the provider shows her."""

    id: str  # the provider's
    email: str | None
    name: str | None
    blocked: bool = False  # banned, by the provider, until further notice
    version: datetime | None  # updated_at; None when she is only named inside something else
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenOrganization:
    """An organization as the provider shows it."""

    id: str  # the provider's
    name: str
    slug: str | None
    version: datetime | None  # as of a user
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenMembership:
    """A membership as the provider shows it."""

    id: str  # the provider's, of this generation
    org: SeenOrganization  # with what the provider embeds; a bare id gives its id as the name
    user: SeenUser
    role: str  # normalised: "admin", never "org:admin"
    status: Status
    version: datetime  # updated_at
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSession:
    """A session that has ended: the one thing that is worth telling of a session."""

    id: str
    user_id: str  # the provider's
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """Something that the provider has deleted, and whose id it never uses again."""

    kind: Kind
    id: str  # the provider's
    at: datetime  # when, by the provider's clock


Seen = SeenUser | SeenOrganization | SeenMembership | SeenSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a signed event says, read for those who cannot ask, and for what is final."""

    event_id: str
    at: datetime  # when it happened, by the provider's clock
    seen: Seen | None = None
    gone: Gone | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Somebody who was asked to join, and has not answered yet; the provider keeps it, not we."""

    id: str
    email: str
    role: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Our row: who belongs to which organization, as what."""

    id: UUID
    org_id: OrgId
    user_id: UserId
    role: str
    status: Status
    holds_seat: bool
    provider: str | None = None
    external_id: str | None = None
    generation: int = 1
    version: datetime | None = None
    joined_at: datetime | None = None  # by the provider's clock
    removed_at: datetime | None = None
    wish: Wish | None = None
    wish_role: str | None = None
    wished_at: datetime | None = None
    wished_by: str | None = None
    created_at: datetime
    updated_at: datetime

    @property
    def is_here(self) -> bool:
        """Whether it counts for seats: invited or active, not deactivated or removed."""
        return self.status in (Status.PENDING, Status.ACTIVE)

    @property
    def told_status(self) -> str:
        """How history tells it: a removed membership is inactive for good."""
        return "removed" if self.removed_at else self.status.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Seats:
    """How many an organization has and uses."""

    org_id: OrgId
    bought: int | None
    fixed: int | None
    seat_limit: int | None  # None: no limit
    used: int
    version: int

    @property
    def free(self) -> int | None:
        """How many may still join; None for any number."""
        return None if self.seat_limit is None else max(0, self.seat_limit - self.used)


Verdict = Literal["applied", "unchanged", "ignored"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was made of something we saw, and why."""

    verdict: Verdict
    reason: str  # "joined", "older_than_known", "deleted_for_good" …
    org_id: UUID | None = None
    user_id: UUID | None = None
    details: Mapping[str, object] = field(default_factory=dict[str, object])
