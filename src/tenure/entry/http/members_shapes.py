"""What the doors of members take and give."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from tenure.entry.http.billing import Email, In
from tenure.identity.members_list import ListedMember, Lived, ToldStatus
from tenure.identity.model import Membership, Wish

Role = Annotated[
    str,
    Field(
        pattern=r"^(org:)?[A-Za-z0-9_-]{1,100}$",
        description="As the provider calls it; Clerk's `org:` in front may be left out",
        examples=["admin"],
    ),
]


class MemberOut(BaseModel):
    """A membership, and who the person is."""

    user_id: UUID = Field(description="Our key")
    membership_id: str | None = Field(description="The provider's id; null until it told us")
    provider: str | None = Field(examples=["clerk"])
    email: str | None = Field(examples=["ada@example.com"])
    name: str | None = Field(examples=["Ada Lovelace"])
    role: str = Field(examples=["admin"])
    status: ToldStatus
    holds_seat: bool
    over_limit: bool = Field(description="Here, and without a seat: the provider let her in")
    generation: int = Field(description="2 when she has left and joined again")
    wish: Wish | None = Field(description="What the provider has still to make of it")
    wished_role: str | None = Field(description="The role that the provider has still to give")
    joined_at: datetime | None
    updated_at: datetime


class MembersOut(BaseModel):
    """A page of members, those who came first before the others."""

    data: list[MemberOut]
    next: str | None = Field(description="Give it as `after` for the next page")


class LivedOut(BaseModel):
    """One line of a membership's history."""

    at: datetime
    generation: int
    membership_id: str | None
    status_from: str | None
    status_to: str
    role_from: str | None
    role_to: str
    seat_from: bool | None
    seat_to: bool
    cause: str = Field(examples=["look"])
    provider_at: datetime | None = Field(description="When it happened, as the provider says")


class HistoryOut(BaseModel):
    """A page of a membership's history, oldest first."""

    data: list[LivedOut]
    next: int | None = Field(description="Give it as `after` for the next page")


class InviteIn(In):
    """Whom to invite, as what."""

    email: Email = Field(examples=["grace@example.com"])
    role: Role = Field("member", examples=["member"])


class InvitationOut(BaseModel):
    """An invitation; the provider keeps it, and sends the e-mail."""

    id: str = Field(examples=["orginv_ExampleOnly"])
    email: str
    role: str
    expires_at: datetime | None


class RoleIn(In):
    """The role to give."""

    role: Role


class SeatsOut(BaseModel):
    """How many seats an organization has and uses."""

    used: int
    limit: int | None = Field(description="null: there is none")
    free: int | None
    bought: int | None = Field(description="What the subscription pays for")
    fixed: int | None = Field(description="A limit set by hand, which beats what was bought")
    over_limit: int = Field(description="Members who are here without a seat")


def member_out(one: ListedMember) -> MemberOut:
    """Show a member."""
    member = one.member
    return MemberOut(
        user_id=member.user_id,
        membership_id=member.external_id,
        provider=member.provider,
        email=one.email,
        name=one.name,
        role=member.role,
        status=_told(member),
        holds_seat=member.holds_seat,
        over_limit=member.is_here and not member.holds_seat,
        generation=member.generation,
        wish=member.wish,
        wished_role=member.wish_role,
        joined_at=member.joined_at,
        updated_at=member.updated_at,
    )


def _told(member: Membership) -> ToldStatus:
    return "removed" if member.removed_at else member.status.value


def line_out(one: Lived) -> LivedOut:
    """Show a line of history."""
    return LivedOut(
        at=one.at,
        generation=one.generation,
        membership_id=one.external_id,
        status_from=one.status_from,
        status_to=one.status_to,
        role_from=one.role_from,
        role_to=one.role_to,
        seat_from=one.seat_from,
        seat_to=one.seat_to,
        cause=one.cause,
        provider_at=one.provider_at,
    )
