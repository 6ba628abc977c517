"""Who: organizations, and the people in them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType
from uuid import UUID

OrgId = NewType("OrgId", UUID)
UserId = NewType("UserId", UUID)


class MemberStatus(StrEnum):
    """Where a membership stands."""

    PENDING = "pending"
    ACTIVE = "active"
    INACTIVE = "inactive"


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
class Membership:
    """That a person belongs to an organization, as what, and since when."""

    org_id: OrgId
    user_id: UserId
    role: str  # "admin", never "org:admin"
    status: MemberStatus
    holds_seat: bool
    since: datetime
