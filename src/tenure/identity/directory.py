"""What we ask of a provider of identities; each has one file that knows its API."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from tenure.identity.model import (
    Invitation,
    Kind,
    SeenMembership,
    SeenOrganization,
    SeenUser,
    Status,
    Told,
)
from tenure.journal.model import Knock, Subject

Item = TypeVar("Item", covariant=True)  # noqa: PLC0105 (there is only one kind of item)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """Some of a list, and where it goes on."""

    items: Sequence[Item]
    next: str | None  # None: this was the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A membership, as a provider names it."""

    id: str | None  # the membership's own; None while only a token told of it
    org_id: str
    user_id: str


class Reader(Protocol):
    """Reads a provider's events; needs no key, no network and no database."""

    @property
    def provider(self) -> str:
        """Name the provider: "clerk"."""
        ...

    def knock_of(self, raw: bytes, *, event_id: str | None = None) -> Knock:
        """Read whom an event concerns. Unknown kinds concern nobody and are kept with a note.

        Errors: BadEvent when the bytes are no event at all.
        """
        ...

    def told(self, event_id: str, kind: str, body: bytes) -> Told | None:
        """Read what an event says; None where it says nothing about users or memberships."""
        ...


class Directory(Reader, Protocol):
    """A provider that can be asked.

    Every call keeps to our share of the provider's rate.
    Errors: ProviderAway, ProviderBusy, ProviderKeyRefused, ProviderFailed; Refused for a wish.
    """

    async def user(self, user_id: str) -> SeenUser | None:
        """Ask for a user; None when the provider does not have her."""
        ...

    async def organization(self, org_id: str) -> SeenOrganization | None:
        """Ask for an organization; None when the provider does not have it."""
        ...

    async def membership(
        self, org_id: str, user_id: str, *, known: str | None
    ) -> SeenMembership | None:
        """Ask for the present membership of a pair, whatever its status.

        None only after the provider was asked in two ways (`known` is the id that we keep).
        """
        ...

    async def users(self, place: str | None) -> Page[SeenUser]:
        """List users, oldest first, from a place that an earlier page gave."""
        ...

    async def organizations(self, place: str | None) -> Page[SeenOrganization]:
        """List organizations, oldest first."""
        ...

    @property
    def lists_everywhere(self) -> bool:
        """Whether memberships of all organizations can be listed together."""
        ...

    async def memberships(self, org_id: str | None, place: str | None) -> Page[SeenMembership]:
        """List the memberships, of every status, of one organization.

        None stands for all organizations together, where `lists_everywhere`.
        """
        ...

    async def set_status(self, member: Member, status: Status) -> None:
        """Deactivate or reactivate a membership; one that is so already stays so.

        Errors: NotOffered where the provider has no such thing.
        """
        ...

    async def set_role(self, member: Member, role: str) -> None:
        """Give a member another role."""
        ...

    async def remove(self, member: Member) -> None:
        """Remove a member; one who is not there any more is fine."""
        ...

    async def invite(
        self, org_id: str, *, email: str, role: str, inviter: str | None
    ) -> Invitation:
        """Invite somebody by e-mail."""
        ...

    async def invitations(self, org_id: str) -> Sequence[Invitation]:
        """List who was invited and has not answered."""
        ...


def subject_of(provider: str, kind: Kind, name: str) -> Subject:
    """Name a subject: ("clerk.membership", "org_1/user_1")."""
    return Subject(f"{provider}.{kind}", name)


def pair_of(org_id: str, user_id: str) -> str:
    """Name a pair, as the subject of a membership is called."""
    return f"{org_id}/{user_id}"


def split_pair(name: str) -> tuple[str, str]:
    """Read a pair's name."""
    org_id, _, user_id = name.partition("/")
    return org_id, user_id
