"""Clerk: how its events are read, and how its Backend API is asked.

    ClerkReader(livemode=False)                                     # no key, no network
    ClerkDirectory("sk_test_…", livemode=False, api_base="https://api.clerk.com",
                   http=client, spend=budget_of_all_processes)

Why these few calls are our own and not the SDK's: docs/decisions/0010-our-own-calls.md.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import httpx
import msgspec
from msgspec import Raw
from msgspec.json import Decoder

from tenure.base.http import Api, Params, path_of
from tenure.base.log import log
from tenure.identity import clerk_shapes as shapes
from tenure.identity.asking import Asking, Problem, told_by
from tenure.identity.directory import Member, Page, pair_of, subject_of
from tenure.identity.errors import (
    BadEvent,
    NotOffered,
    ProviderFailed,
    ProviderKeyRefused,
    Refused,
)
from tenure.identity.model import (
    Gone,
    Invitation,
    Kind,
    Seen,
    SeenMembership,
    SeenOrganization,
    SeenUser,
    Status,
    Told,
)
from tenure.journal.model import Knock, Subject

T = TypeVar("T")

API_VERSION = "2025-11-10"  # the shapes of answers follow it
PAGE = 500  # the most that Clerk gives at once
OLDEST_FIRST = "+created_at"
NO_ORGANIZATIONS = "organization_not_enabled_in_instance"
USERS, ORGANIZATIONS = "/v1/users", "/v1/organizations"
MEMBERSHIPS = "organization_memberships"  # of a user
EVERYWHERE = "/v1/organization_memberships"  # of the whole instance
WHOLE = frozenset({USERS, ORGANIZATIONS, EVERYWHERE})  # lists that are always there


@dataclass(frozen=True, slots=True)
class _Family:
    """Events about one kind of thing."""

    kind: Kind
    tells: frozenset[str]  # what is told of something that is
    ends: frozenset[str]  # what is told of something that is no more
    name: Callable[[Raw], str]
    seen: Callable[[Raw, datetime], Seen]


def _id(data: Raw) -> str:
    return shapes.thing.decode(data).id


def _pair(data: Raw) -> str:
    found = shapes.pair.decode(data)
    return pair_of(found.organization.id, found.public_user_data.user_id)


_CHANGES, _DELETED = frozenset({"created", "updated"}), frozenset({"deleted"})
_ENDS = frozenset({"ended", "removed", "revoked"})
FAMILIES = {
    "user": _Family("user", _CHANGES, _DELETED, _id, lambda data, _: shapes.user(data)),
    "organization": _Family(
        "org", _CHANGES, _DELETED, _id, lambda data, _: shapes.organization(data)
    ),
    "organizationMembership": _Family(
        "membership", _CHANGES, _DELETED, _pair, lambda data, _: shapes.membership(data)
    ),
    "session": _Family("session", _ENDS, frozenset(), _id, shapes.session),
}


class ClerkReader:
    """Reads Clerk's events. `livemode`: of the instance, as its keys say."""

    provider = "clerk"

    def __init__(self, *, livemode: bool) -> None:
        self._livemode = livemode

    def knock_of(self, raw: bytes, *, event_id: str | None = None) -> Knock:
        """Read whom an event concerns.

        `event_id`: the svix-id; the body has none, and it is the same at every retry and replay.
        Errors: BadEvent when the bytes are no event at all.
        """
        try:
            event = shapes.event.decode(raw)
        except shapes.UNREADABLE as exc:
            raise BadEvent(f"the body is not an event: {exc}") from exc
        if not event_id:
            raise BadEvent("an event of Clerk's is named by its svix-id header, which is missing")
        subject, note = _concerned(event)
        return Knock(
            source=self.provider,
            livemode=self._livemode,
            event_id=event_id,
            kind=event.type,
            subject=subject,
            note=note,
            occurred_at=shapes.when(event.timestamp),
            body=raw,
        )

    def told(self, event_id: str, kind: str, body: bytes) -> Told | None:
        """Read what an event says; None where it says nothing, or nothing that can be read."""
        family, act = _family_of(kind)
        if family is None:
            return None
        try:
            event = shapes.event.decode(body)
            happened = shapes.when(event.timestamp)
            if happened is None or not family.name(event.data):
                return None
            if act in family.tells:
                return Told(event_id=event_id, at=happened, seen=family.seen(event.data, happened))
            gone = Gone(kind=family.kind, id=_id(event.data), at=happened)
        except shapes.UNREADABLE:
            return None
        return Told(event_id=event_id, at=happened, gone=gone)


def _family_of(kind: str) -> tuple[_Family | None, str]:
    name, _, act = kind.partition(".")
    family = FAMILIES.get(name)
    return (family if family and act in family.tells | family.ends else None), act


def _concerned(event: shapes.Event) -> tuple[Subject | None, str | None]:
    family, _ = _family_of(event.type)
    if family is None:
        return None, "tells of no user, organization, membership or ended session"
    try:
        return subject_of(ClerkReader.provider, family.kind, family.name(event.data)), None
    except shapes.UNREADABLE as exc:
        return None, f"quarantined: {exc}"[:255]


class ClerkDirectory(ClerkReader):
    """Clerk's Backend API, as far as identity.directory.Directory asks for it."""

    lists_everywhere = True

    def __init__(
        self,
        secret_key: str,
        *,
        livemode: bool,
        api_base: str,
        http: httpx.AsyncClient,
        spend: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(livemode=livemode)
        headers = {"authorization": f"Bearer {secret_key}", "clerk-api-version": API_VERSION}
        self._ask = Asking("Clerk", Api(api_base, headers=headers, http=http, spend=spend), _no)

    async def user(self, user_id: str) -> SeenUser | None:
        """Ask for a user."""
        return await self._one(path_of("v1", "users", user_id), shapes.user)

    async def organization(self, org_id: str) -> SeenOrganization | None:
        """Ask for an organization; by its id only, although Clerk would take a slug as well."""
        found = await self._one(path_of("v1", "organizations", org_id), shapes.organization)
        return found if found and found.id == org_id else None

    async def membership(
        self, org_id: str, user_id: str, *, known: str | None
    ) -> SeenMembership | None:
        """Ask the organization, and where it says no, the user."""
        del known  # Clerk cannot be asked for a membership by its id
        name = pair_of(org_id, user_id)
        found = await self._find(name, _members(org_id), {"user_id": user_id})
        return found or await self._find(name, path_of("v1", "users", user_id, MEMBERSHIPS), {})

    async def users(self, place: str | None) -> Page[SeenUser]:
        """List users."""
        return _page(await self._rows(USERS, place, order_by=OLDEST_FIRST), shapes.user)

    async def organizations(self, place: str | None) -> Page[SeenOrganization]:
        """List organizations."""
        return _page(await self._of_organizations(ORGANIZATIONS, place), shapes.organization)

    async def memberships(self, org_id: str | None, place: str | None) -> Page[SeenMembership]:
        """List the members of an organization, none where it is gone; or all that there are."""
        path = EVERYWHERE if org_id is None else _members(org_id)
        return _page(await self._of_organizations(path, place), shapes.membership)

    async def set_status(self, member: Member, status: Status) -> None:
        """Refuse: a member of Clerk's is there or not.

        Errors: NotOffered.
        """
        raise NotOffered(f"Clerk cannot make {member.user_id} {status.value}")

    async def set_role(self, member: Member, role: str) -> None:
        """Give a member another role."""
        path = _members(member.org_id, member.user_id)
        is_there = await self._is_there(member)
        if not is_there or await self._ask.wish("PATCH", path, {"role": _role(role)}) is None:
            raise Refused("Clerk has no such member", reason="no_such_member")

    async def remove(self, member: Member) -> None:
        """Remove a member; one who is not there any more is fine."""
        if await self._is_there(member):
            await self._ask.wish("DELETE", _members(member.org_id, member.user_id))

    async def _is_there(self, member: Member) -> bool:
        """Say whether this very membership stands: Clerk acts on the pair, whoever joined since."""
        known = member.id
        present = await self.membership(member.org_id, member.user_id, known=known)
        return present is not None and known in (None, present.id)

    async def invite(
        self, org_id: str, *, email: str, role: str, inviter: str | None
    ) -> Invitation:
        """Invite somebody; `inviter`, where given, must be an admin of the organization."""
        asked = {"email_address": email, "role": _role(role)}
        if inviter:
            asked["inviter_user_id"] = inviter
        body = await self._ask.wish("POST", _invitations(org_id), asked)
        if body is None:
            raise Refused("Clerk has no such organization", reason="no_such_organization")
        return _read(body, shapes.invitation)

    async def invitations(self, org_id: str) -> Sequence[Invitation]:
        """List who was invited and has not answered."""
        found: list[Invitation] = []
        place: str | None = "0"
        while place is not None:
            page = _page(
                await self._rows(_invitations(org_id), place, status="pending"), shapes.invitation
            )
            found += page.items
            place = page.next
        return found

    async def delete_user(self, user_id: str) -> None:
        """Delete a user for good; one who is not there any more is fine."""
        await self._ask.wish("DELETE", path_of("v1", "users", user_id))

    async def _one(self, path: str, read: Callable[[Raw], T]) -> T | None:
        body = await self._ask.get(path, _whole)
        return None if body is None else _read(body, read)

    async def _find(self, name: str, path: str, asked: Mapping[str, str]) -> SeenMembership | None:
        """Look through a list of memberships for a pair; what was asked may have been ignored."""
        place: str | None = "0"
        while place is not None:
            rows = await self._rows(path, place, **asked)
            for row in rows.found:
                if _read(row, _pair) == name:
                    return _read(row, shapes.membership)
            place = rows.next
        return None

    async def _of_organizations(self, path: str, place: str | None) -> "_Rows":
        """List what organizations have; nothing where the instance has them turned off.

        Nobody is called missing then: whoever asks for one by name gets ProviderKeyRefused.
        """
        try:
            return await self._rows(path, place, order_by=OLDEST_FIRST)
        except ProviderKeyRefused as exc:
            if exc.facts.get("reason") != NO_ORGANIZATIONS:
                raise
            return _Rows(found=(), next=None)

    async def _rows(self, path: str, place: str | None, **asked: str) -> "_Rows":
        offset = int(place or 0)
        params: Params = {"limit": PAGE, "offset": offset, **asked}
        listed = await self._ask.get(path, shapes.listed, params)
        if listed is None:
            if path in WHOLE:
                raise ProviderFailed(f"Clerk says that there is no {path}")
            return _Rows(found=(), next=None)
        found, total = shapes.rows_of(listed)
        after = offset + len(found)
        more = bool(found) and (len(found) >= PAGE or after < (total or 0))
        return _Rows(found=found, next=str(after) if more else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    found: Sequence[Raw]
    next: str | None


class _Problem(msgspec.Struct):
    code: Any = None
    message: Any = None
    long_message: Any = None


class _Problems(msgspec.Struct):
    errors: list[_Problem]


_whole, _problems = Decoder(Raw), Decoder(_Problems)


def _no(body: bytes) -> Problem:
    """Read how Clerk says no."""
    try:
        (first, *_) = _problems.decode(body).errors
    except (*shapes.UNREADABLE, ValueError):
        return told_by(None, None)
    return told_by(first.code, first.long_message or first.message)


def _page(rows: _Rows, read: Callable[[Raw], T]) -> Page[T]:
    """Read a page; an item that cannot be read is passed over, and not taken for missing.

    Whoever misses it asks for it alone, and that answer is an error.
    """
    items: list[T] = []
    for row in rows.found:
        try:
            items.append(read(row))
        except shapes.UNREADABLE as exc:
            log.warning("identity.clerk.unreadable", why=str(exc))
    return Page(items=items, next=rows.next)


def _read(data: Raw | bytes, read: Callable[[Raw], T]) -> T:
    try:
        return read(Raw(data))
    except shapes.UNREADABLE as exc:
        raise ProviderFailed(f"Clerk's answer cannot be read: {exc}") from exc


def _members(org_id: str, *user_id: str) -> str:
    return path_of("v1", "organizations", org_id, "memberships", *user_id)


def _invitations(org_id: str) -> str:
    return path_of("v1", "organizations", org_id, "invitations")


def _role(role: str) -> str:
    return role if role.startswith(shapes.ROLE) else shapes.ROLE + role
