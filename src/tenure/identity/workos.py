"""WorkOS: how its API is asked; how its events are read stands in workos_events.py.

    WorkosReader()                                                  # no key, no network
    WorkosDirectory("sk_test_…", api_base="https://api.workos.com",
                    http=client, spend=budget_of_all_processes)

Raw JSON, one object at a time: its own SDK reads a page at once, and one odd object takes the
whole page with it. Why these few calls are our own: docs/decisions/0010-our-own-calls.md.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar
from urllib.parse import urlencode

import httpx
import msgspec

from tenure.base.http import Api, Params, path_of
from tenure.identity import workos_shapes as shapes
from tenure.identity.asking import Asking, Problem, told_by
from tenure.identity.directory import Member, Page
from tenure.identity.errors import NotOffered, ProviderFailed, Refused
from tenure.identity.model import (
    Invitation,
    SeenMembership,
    SeenOrganization,
    SeenUser,
    Status,
)
from tenure.identity.workos_events import KINDS, WorkosReader

PAGE = 100
STATUSES = ",".join(Status)  # named in full: left to itself the API lists active members alone
USERS, ORGANIZATIONS = ("user_management", "users"), ("organizations",)
MEMBERSHIPS = ("user_management", "organization_memberships")
INVITATIONS = ("user_management", "invitations")
WHOLE = frozenset({USERS, ORGANIZATIONS})  # these lists are always there

Item = TypeVar("Item")


class WorkosDirectory(WorkosReader):
    """Asks WorkOS. `spend`: waits for a call's turn in our share of its rate."""

    lists_everywhere = False

    def __init__(
        self,
        api_key: str,
        *,
        api_base: str,
        http: httpx.AsyncClient,
        spend: Callable[[], Awaitable[None]],
    ) -> None:
        headers = {"authorization": f"Bearer {api_key}"}
        api = Api(api_base, headers=headers, http=http, spend=spend)
        self._asking = Asking("WorkOS", api, _problem)

    async def user(self, user_id: str) -> SeenUser | None:
        """Ask for a user; None when WorkOS does not have her."""
        found = await self._asking.get(path_of(*USERS, user_id), shapes.users)
        return found.seen() if found and found.id == user_id else None

    async def organization(self, org_id: str) -> SeenOrganization | None:
        """Ask for an organization; None when WorkOS does not have it."""
        found = await self._asking.get(path_of(*ORGANIZATIONS, org_id), shapes.organizations)
        return found.seen() if found and found.id == org_id else None

    async def membership(
        self, org_id: str, user_id: str, *, known: str | None
    ) -> SeenMembership | None:
        """Ask for the present membership of a pair, whatever its status.

        None only after WorkOS was asked in two ways: by the pair, and then by the id that we keep
        or, where we keep none, for all memberships of the user.
        """
        found = await self._all_of(org_id, user_id, {"organization_id": org_id, "user_id": user_id})
        if not found and known is not None and shapes.is_name(known):
            kept = await self._asking.get(path_of(*MEMBERSHIPS, known), shapes.memberships)
            found = [kept] if kept and _is_of(kept, org_id, user_id) else []
        elif not found:
            found = await self._all_of(org_id, user_id, {"user_id": user_id})
        here = max(found, key=_rank, default=None)
        return here.seen() if here else None

    async def users(self, place: str | None) -> Page[SeenUser]:
        """List users, oldest first."""
        page = await self._page(USERS, {}, place)
        read = shapes.readable(page.data, shapes.users, of="users")
        return Page(items=[user.seen() for user in read], next=page.list_metadata.after)

    async def organizations(self, place: str | None) -> Page[SeenOrganization]:
        """List organizations, oldest first."""
        page = await self._page(ORGANIZATIONS, {}, place)
        read = shapes.readable(page.data, shapes.organizations, of="organizations")
        return Page(items=[org.seen() for org in read], next=page.list_metadata.after)

    async def memberships(self, org_id: str | None, place: str | None) -> Page[SeenMembership]:
        """List the memberships of one organization, of every status; none where it is gone.

        Errors: NotOffered without an organization: WorkOS lists no memberships everywhere.
        """
        if org_id is None:
            raise NotOffered("WorkOS lists the memberships of one organization at a time")
        asked = {"organization_id": org_id, "statuses": STATUSES}
        page = await self._page(MEMBERSHIPS, asked, place)
        read = shapes.readable(page.data, shapes.memberships, of="memberships")
        return Page(items=[member.seen() for member in read], next=page.list_metadata.after)

    async def set_status(self, member: Member, status: Status) -> None:
        """Deactivate or reactivate a membership; one that is so already stays so.

        An invited member cannot be deactivated at WorkOS, so she is removed instead.
        Errors: Refused, also where there is nobody to reactivate; NotOffered for "pending".
        """
        if status is Status.PENDING:
            raise NotOffered("WorkOS makes nobody pending; invite her instead")
        present = await self._present(member)
        if present is not None and present.status is status:
            return
        if status is Status.INACTIVE:
            await self._deactivate(present)
        elif present is None or present.status is Status.PENDING:
            raise Refused("WorkOS has no inactive membership here that could be reactivated")
        else:
            await self._change(present.id, "reactivate")

    async def set_role(self, member: Member, role: str) -> None:
        """Give a member another role."""
        present = await self._present(member)
        if present is None:
            raise Refused("WorkOS does not have this membership")
        if present.role != role:
            await self._change(present.id, json={"role_slug": role})

    async def remove(self, member: Member) -> None:
        """Remove a member; one who is not there any more is fine."""
        member_id = member.id
        if member_id is None:
            present = await self._present(member)
            member_id = present.id if present else None
        if member_id is not None:
            await self._asking.wish("DELETE", path_of(*MEMBERSHIPS, member_id))

    async def invite(
        self, org_id: str, *, email: str, role: str, inviter: str | None
    ) -> Invitation:
        """Invite somebody by e-mail."""
        wanted = {"email": email, "organization_id": org_id, "role_slug": role}
        if inviter is not None:
            wanted["inviter_user_id"] = inviter
        body = await self._asking.wish("POST", path_of(*INVITATIONS), wanted)
        if body is None:
            raise Refused("WorkOS does not have this organization, role or inviter")
        return _read(body, shapes.invitations).seen()

    async def invitations(self, org_id: str) -> Sequence[Invitation]:
        """List who was invited and has not answered."""
        listed = await self._all(INVITATIONS, {"organization_id": org_id})
        read = shapes.readable(listed, shapes.invitations, of="invitations")
        return [one.seen() for one in read if one.state == "pending"]

    async def delete_user(self, user_id: str) -> None:
        """Delete a user for good; one who is not there any more is fine."""
        await self._asking.wish("DELETE", path_of(*USERS, user_id))

    async def events(self, *, after: str | None, since: datetime) -> Page[bytes]:
        """List events of the kinds we know, oldest first: after an event, or else since a moment.

        They come as they were sent; each may be anything.

        Errors: Refused, with WorkOS's words: most likely it does not know the event `after`.
        """
        asked: dict[str, str] = {"events": ",".join(KINDS), "order": "asc", "limit": str(PAGE)}
        if after is not None:
            asked["after"] = after  # WorkOS takes this or a range, never both
        else:
            asked["range_start"] = shapes.iso(since)
        # Asked as a wish is, because here a refusal tells something.
        body = await self._asking.wish("GET", f"/events?{urlencode(asked)}")
        if body is None:
            raise Refused("WorkOS does not find the events, or the place in them", after=after)
        page = _read(body, shapes.lists)
        return Page(items=[bytes(raw) for raw in page.data], next=page.list_metadata.after)

    async def _present(self, member: Member) -> SeenMembership | None:
        """Look at the very membership that is meant, not at a later one of the same pair."""
        if member.id is None:
            return await self.membership(member.org_id, member.user_id, known=None)
        found = await self._asking.get(path_of(*MEMBERSHIPS, member.id), shapes.memberships)
        return found.seen() if found else None

    async def _deactivate(self, present: SeenMembership | None) -> None:
        if present is None:
            return
        if present.status is Status.PENDING:
            await self._asking.wish("DELETE", path_of(*MEMBERSHIPS, present.id))
        else:
            await self._change(present.id, "deactivate")

    async def _change(self, member_id: str, *act: str, json: object = None) -> None:
        if await self._asking.wish("PUT", path_of(*MEMBERSHIPS, member_id, *act), json) is None:
            raise Refused("WorkOS does not have this membership any more")

    async def _all_of(
        self, org_id: str, user_id: str, asked: dict[str, str]
    ) -> list[shapes.Membership]:
        """List the memberships of a pair; one that cannot be read must not count as missing.

        Errors: ProviderFailed.
        """
        listed = await self._all(MEMBERSHIPS, asked | {"statuses": STATUSES})
        try:
            found = [shapes.memberships.decode(raw) for raw in listed]
        except shapes.UNREADABLE as exc:
            raise ProviderFailed(f"WorkOS lists a membership that cannot be read: {exc}") from exc
        return [one for one in found if _is_of(one, org_id, user_id)]

    async def _all(self, where: tuple[str, ...], asked: dict[str, str]) -> list[msgspec.Raw]:
        """Read every page of a list."""
        items: list[msgspec.Raw] = []
        place: str | None = None
        while True:
            page = await self._page(where, asked, place)
            items += page.data
            if page.list_metadata.after in (None, place):
                return items
            place = page.list_metadata.after

    async def _page(
        self, where: tuple[str, ...], asked: dict[str, str], place: str | None
    ) -> shapes.Listed:
        """Read one page, oldest first; a list of what belongs to a missing one is empty.

        Errors: ProviderFailed, where a list is missing that cannot be.
        """
        params: Params = {**asked, "order": "asc", "limit": PAGE} | (
            {"after": place} if place is not None else {}
        )
        found = await self._asking.get(path_of(*where), shapes.lists, params)
        if found is None and where in WHOLE:
            raise ProviderFailed(f"WorkOS says that there is no {path_of(*where)}")
        return found or shapes.Listed(data=[])


def _read(body: bytes, decoder: "msgspec.json.Decoder[Item]") -> Item:
    try:
        return decoder.decode(body)
    except shapes.UNREADABLE as exc:
        raise ProviderFailed(f"WorkOS's answer cannot be read: {exc}") from exc


def _problem(body: bytes) -> Problem:
    try:
        said = shapes.words.decode(body)
    except shapes.UNREADABLE:
        return told_by(None, None)
    missing = "entity_not_found" if said.entity_id is not None else None
    return told_by(said.code or missing, said.message)


def _is_of(member: shapes.Membership, org_id: str, user_id: str) -> bool:
    return (member.organization_id, member.user_id) == (org_id, user_id)


def _rank(member: shapes.Membership) -> tuple[bool, datetime]:
    """Order what should never be more than one: whoever is here, then the newest."""
    return member.status is not Status.INACTIVE, shapes.utc(member.updated_at)
