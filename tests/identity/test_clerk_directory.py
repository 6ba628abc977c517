"""Clerk's Backend API, asked at the sandbox; what the sandbox cannot do is answered by hand."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tenure.base import http
from tenure.base.clock import StoppedClock
from tenure.identity import clerk
from tenure.identity.clerk import ClerkDirectory
from tenure.identity.directory import Directory, Member
from tenure.identity.errors import (
    NotOffered,
    ProviderAway,
    ProviderBusy,
    ProviderFailed,
    ProviderKeyRefused,
    Refused,
)
from tenure.identity.model import SeenOrganization, SeenUser, Status
from tests.sandbox.clerk.inside import START, Room, a_room

from .test_clerk import MEMBER, ORG, USER


@dataclass(kw_only=True)
class Asked:
    """A directory, and the Clerk that it asks."""

    room: Room
    clerk: Directory
    spent: list[int]

    async def joined(self, org: str, user: str, role: str = "org:member") -> str:
        path = f"/v1/organizations/{org}/memberships"
        return (await self.room.post(path, user_id=user, role=role))["id"]

    async def fail(self, name: str, match: str = "/", **more: Any) -> None:
        await self.room.post("/_sandbox/faults", name=name, match=match, **more)

    def tick(self, seconds: float = 1) -> None:
        clock = self.room.clerk.world.clock
        assert isinstance(clock, StoppedClock)
        clock.tick(timedelta(seconds=seconds))


@pytest.fixture
async def asked(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    monkeypatch.setattr(http, "FIRST_WAIT", 0.001)
    async with a_room() as room, a_directory(room.clerk.transport, room.clerk.secret_key) as made:
        made.room = room
        yield made


@asynccontextmanager
async def a_directory(
    transport: httpx.AsyncBaseTransport, key: str = "sk_test_x"
) -> AsyncIterator[Asked]:
    spent: list[int] = []

    async def spend() -> None:
        spent.append(1)

    async with httpx.AsyncClient(transport=transport) as client:
        made = ClerkDirectory(
            key, livemode=False, api_base="http://clerk.test", http=client, spend=spend
        )
        yield Asked(room=None, clerk=made, spent=spent)  # type: ignore[arg-type]


@asynccontextmanager
async def answering(answer: Callable[[httpx.Request], httpx.Response]) -> AsyncIterator[Directory]:
    """A Clerk that answers as the test wants it."""
    async with a_directory(httpx.MockTransport(answer)) as made:
        yield made.clerk


def no(status: int, code: str, words: str = "no") -> httpx.Response:
    return httpx.Response(status, json={"errors": [{"code": code, "long_message": words}]})


async def test_a_user_is_asked_for(asked: Asked) -> None:
    user = await asked.room.a_user(
        first_name="Ada", last_name="Lovelace", email_address=["ada@example.com"]
    )

    assert await asked.clerk.user(user) == SeenUser(
        id=user,
        email="ada@example.com",
        name="Ada Lovelace",
        version=START,
        created_at=START,
    )
    assert await asked.clerk.user("user_none") is None


async def test_a_banned_user_is_blocked(asked: Asked) -> None:
    user = await asked.room.a_user()
    await asked.room.post(f"/v1/users/{user}/ban")

    seen = await asked.clerk.user(user)

    assert seen
    assert seen.blocked


async def test_an_organization_is_asked_for_by_its_id_and_not_by_its_slug(asked: Asked) -> None:
    org = await asked.room.an_org(name="Acme", slug="acme")
    asked.tick()
    await asked.room.ask("PATCH", f"/v1/organizations/{org}", name="Acme Inc.")

    assert await asked.clerk.organization(org) == SeenOrganization(
        id=org,
        name="Acme Inc.",
        slug="acme",
        version=START + timedelta(seconds=1),
        created_at=START,
    )
    assert await asked.clerk.organization("acme") is None
    assert await asked.clerk.organization("org_none") is None


async def test_a_membership_is_asked_for_by_its_pair(asked: Asked) -> None:
    ada, bob = await asked.room.a_user(), await asked.room.a_user()
    org = await asked.room.an_org(created_by=ada)
    await asked.room.an_org(name="Other", created_by=bob)
    name = await asked.joined(org, bob, "org:billing")

    seen = await asked.clerk.membership(org, bob, known=None)

    assert seen
    assert (seen.id, seen.role, seen.status) == (name, "billing", Status.ACTIVE)
    assert (seen.org.id, seen.user.id) == (org, bob)
    assert len(asked.spent) == 1, "one way is enough for one who is there"


async def test_a_membership_is_missing_only_when_two_ways_say_so(asked: Asked) -> None:
    """M6: both the organization and the user were asked."""
    ada, bob = await asked.room.a_user(), await asked.room.a_user()
    org = await asked.room.an_org(created_by=ada)
    await asked.room.an_org(name="Other", created_by=bob)

    assert await asked.clerk.membership(org, bob, known=None) is None

    counted = (await asked.room.get("/_sandbox/requests"))["by_path"]
    assert counted[f"GET /v1/organizations/{org}/memberships"] == 1
    assert counted[f"GET /v1/users/{bob}/organization_memberships"] == 1


async def test_a_list_that_lags_behind_does_not_make_a_member_missing(asked: Asked) -> None:
    ada, bob = await asked.room.a_user(), await asked.room.a_user()
    org = await asked.room.an_org(created_by=ada)
    name = await asked.joined(org, bob)
    await asked.fail("stale", f"/v1/organizations/{org}/memberships", back=2)

    seen = await asked.clerk.membership(org, bob, known=name)

    assert seen
    assert seen.id == name
    assert len(asked.spent) == 2


@pytest.mark.parametrize("gone", ["user", "organization", "both"])
async def test_nobody_is_a_member_of_what_is_deleted_or_when_she_is(
    asked: Asked, gone: str
) -> None:
    ada, bob = await asked.room.a_user(), await asked.room.a_user()
    org = await asked.room.an_org(created_by=ada)
    await asked.joined(org, bob)
    if gone in {"user", "both"}:
        await asked.room.ask("DELETE", f"/v1/users/{bob}")
    if gone in {"organization", "both"}:
        await asked.room.ask("DELETE", f"/v1/organizations/{org}")

    assert await asked.clerk.membership(org, bob, known="orgmem_1") is None
    assert list((await asked.clerk.memberships(org, None)).items) == [] or gone == "user"


async def test_a_filter_that_does_nothing_finds_nobody_else(asked: Asked) -> None:
    """Whoever stands first in the list is not taken for the one who was asked for."""

    def answer(request: httpx.Request) -> httpx.Response:
        other = MEMBER | {"public_user_data": {"user_id": "user_2"}}
        rows = [other, MEMBER] if "organizations" in request.url.path else []
        return httpx.Response(200, json={"data": rows, "total_count": len(rows)})

    async with answering(answer) as directory:
        seen = await directory.membership("org_1", "user_1", known=None)
        assert seen
        assert seen.user.id == "user_1"
        assert await directory.membership("org_1", "user_3", known=None) is None
        assert await directory.membership("org_2", "user_1", known=None) is None
    assert asked.spent == []


async def everything(list_page: Callable[[str | None], Any]) -> list[str]:
    found: list[str] = []
    place: str | None = None
    for _ in range(20):
        page = await list_page(place)
        found += [item.id for item in page.items]
        place = page.next
        if place is None:
            return found
    pytest.fail("the list does not end")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 500])
async def test_lists_are_read_page_by_page_and_oldest_first(
    asked: Asked, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users come as a bare array, the others in an envelope with a count."""
    users, orgs, members = [], [], []
    for number in range(5):
        asked.tick()
        users.append(await asked.room.a_user(first_name=f"U{number}"))
    for number in range(5):
        asked.tick()
        orgs.append(await asked.room.an_org(name=f"Org {number}"))
    for user in users:
        asked.tick()
        members.append(await asked.joined(orgs[0], user))
    members.append(await asked.joined(orgs[1], users[0]))
    monkeypatch.setattr(clerk, "PAGE", size)

    directory = asked.clerk
    assert await everything(directory.users) == users
    assert await everything(directory.organizations) == orgs
    assert await everything(lambda place: directory.memberships(orgs[0], place)) == members[:5]
    assert await everything(lambda place: directory.memberships(orgs[2], place)) == []
    assert directory.lists_everywhere
    assert await everything(lambda place: directory.memberships(None, place)) == members


async def test_an_item_that_cannot_be_read_is_passed_over_and_is_an_error_alone() -> None:
    """One odd user must not stop the sweep of all others, nor count as missing."""
    odd = USER | {"id": "user_odd", "updated_at": None}

    def answer(request: httpx.Request) -> httpx.Response:
        alone = request.url.path != "/v1/users"
        return httpx.Response(200, json=odd if alone else [USER, odd, 7, USER | {"id": "user_2"}])

    async with answering(answer) as directory:
        page = await directory.users(None)
        assert [user.id for user in page.items] == ["user_1", "user_2"]
        with pytest.raises(ProviderFailed):
            await directory.user("user_odd")


async def test_a_membership_that_cannot_be_read_is_not_missing() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        rows = [MEMBER | {"role": None}]
        return httpx.Response(200, json={"data": rows, "total_count": 1})

    async with answering(answer) as directory:
        with pytest.raises(ProviderFailed):
            await directory.membership("org_1", "user_1", known=None)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, text="<h1>404 page not found</h1>"),
        httpx.Response(404, json={"message": "no route"}),
        httpx.Response(404, json={"errors": []}),
        httpx.Response(404, json={"errors": [{"code": ""}]}),
        httpx.Response(404),
        httpx.Response(400, json={"errors": [{"code": "bad"}]}),
        httpx.Response(301, headers={"location": "http://elsewhere.test"}),
        httpx.Response(200, text="<h1>Welcome</h1>"),
        httpx.Response(200, json={"id": "user_1"}),
    ],
)
async def test_only_clerk_itself_can_say_that_there_is_none(answer: httpx.Response) -> None:
    """A proxy's 404, or a wrong address, must not delete anybody."""
    async with answering(lambda _: answer) as directory:
        for ask in (
            directory.user("user_1"),
            directory.organization("org_1"),
            directory.membership("org_1", "user_1", known=None),
        ):
            with pytest.raises(ProviderFailed):
                await ask


async def test_lists_that_are_always_there_are_never_missing() -> None:
    async with answering(lambda _: no(404, "resource_not_found")) as directory:
        for ask in (
            directory.users(None),
            directory.organizations(None),
            directory.memberships(None, None),
        ):
            with pytest.raises(ProviderFailed):
                await ask


async def test_organizations_that_are_turned_off_are_an_empty_list_and_not_missing() -> None:
    code = "organization_not_enabled_in_instance"
    async with answering(lambda _: no(403, code)) as directory:
        assert list((await directory.organizations(None)).items) == []
        assert list((await directory.memberships(None, None)).items) == []
        for ask in (
            directory.organization("org_1"),
            directory.membership("org_1", "user_1", known=None),
        ):
            with pytest.raises(ProviderKeyRefused):
                await ask


async def test_a_key_that_clerk_does_not_know_is_told_so(asked: Asked) -> None:
    async with a_directory(asked.room.clerk.transport, "sk_test_wrong") as wrong:
        for ask in (
            wrong.clerk.user("user_1"),
            wrong.clerk.users(None),
            wrong.clerk.remove(Member(id=None, org_id="org_1", user_id="user_1")),
        ):
            with pytest.raises(ProviderKeyRefused, match="clerk_key_invalid"):
                await ask


@pytest.mark.parametrize(
    ("fault", "error", "tries"),
    [("500", ProviderFailed, 3), ("429", ProviderBusy, 1), ("refuse", ProviderAway, 3)],
)
async def test_trouble_at_clerk_is_told_apart(
    asked: Asked, fault: str, error: type[Exception], tries: int
) -> None:
    await asked.fail(fault, "/v1/", count=-1, seconds=7)

    with pytest.raises(error) as caught:
        await asked.clerk.user("user_1")

    assert len(asked.spent) == tries, "every try counts in the allowance"
    wait = timedelta(seconds=7) if fault == "429" else timedelta(0)
    assert getattr(caught.value, "retry_after") == wait  # noqa: B009 (of one of three classes)


async def test_a_passing_trouble_is_not_noticed(asked: Asked) -> None:
    user = await asked.room.a_user()
    await asked.fail("500", "/v1/users", count=2)

    assert await asked.clerk.user(user)


async def test_a_role_is_given_with_clerks_prefix(asked: Asked) -> None:
    ada, bob = await asked.room.a_user(), await asked.room.a_user()
    org = await asked.room.an_org(created_by=ada)
    member = Member(id=await asked.joined(org, bob), org_id=org, user_id=bob)

    for role in ("admin", "org:admin"):
        await asked.clerk.set_role(member, role)
        seen = await asked.clerk.membership(org, bob, known=member.id)
        assert seen
        assert seen.role == "admin"

    with pytest.raises(Refused, match="no such member"):
        await asked.clerk.set_role(Member(id=None, org_id=org, user_id="user_none"), "admin")


async def test_a_member_is_removed_and_removing_again_is_fine(asked: Asked) -> None:
    ada, bob = await asked.room.a_user(), await asked.room.a_user()
    org = await asked.room.an_org(created_by=ada)
    member = Member(id=await asked.joined(org, bob), org_id=org, user_id=bob)

    for _ in range(2):
        await asked.clerk.remove(member)

    assert await asked.clerk.membership(org, bob, known=member.id) is None
    await asked.clerk.remove(Member(id=None, org_id="org_none", user_id=bob))


@pytest.mark.parametrize("status", list(Status))
async def test_clerk_offers_no_inactive_members(asked: Asked, status: Status) -> None:
    member = Member(id="orgmem_1", org_id="org_1", user_id="user_1")

    with pytest.raises(NotOffered):
        await asked.clerk.set_status(member, status)
    assert asked.spent == []


async def test_somebody_is_invited_and_listed_until_she_answers(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await asked.room.a_user()
    org = await asked.room.an_org(created_by=ada, max_allowed_memberships=10)
    invited = [
        await asked.clerk.invite(org, email=f"b{n}@example.com", role="member", inviter=ada)
        for n in range(3)
    ]
    monkeypatch.setattr(clerk, "PAGE", 2)

    assert (invited[0].email, invited[0].role) == ("b0@example.com", "member")
    assert invited[0].expires_at == START + timedelta(days=30)
    found = await asked.clerk.invitations(org)
    assert sorted(one.id for one in found) == sorted(one.id for one in invited)

    await asked.room.post(f"/_sandbox/invitations/{invited[0].id}/accept")
    assert {one.id for one in await asked.clerk.invitations(org)} == {i.id for i in invited[1:]}
    assert list(await asked.clerk.invitations("org_none")) == []


async def test_what_clerk_refuses_is_told_in_clerks_words(asked: Asked) -> None:
    ada = await asked.room.a_user()
    org = await asked.room.an_org(created_by=ada, max_allowed_memberships=1)

    with pytest.raises(Refused, match="quota exceeded") as caught:
        await asked.clerk.invite(org, email="b@example.com", role="member", inviter=None)
    assert caught.value.facts["reason"] == "organization_membership_quota_exceeded"

    with pytest.raises(Refused, match="no such organization"):
        await asked.clerk.invite("org_none", email="b@example.com", role="member", inviter=None)


async def test_an_invitation_is_sent_once_however_the_answer_is_lost() -> None:
    """A POST is never repeated on the spot: somebody would get two letters."""
    sent: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        raise httpx.ReadError("cut")

    async with answering(answer) as directory:
        with pytest.raises(ProviderAway):
            await directory.invite("org_1", email="b@example.com", role="member", inviter=None)
    assert sent == [{"email_address": "b@example.com", "role": "org:member"}]


async def test_requests_carry_the_key_and_the_version_of_the_shapes() -> None:
    asked_for: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked_for.append(request)
        return httpx.Response(200, json=ORG)

    async with answering(answer) as directory:
        await directory.organization("org_1")

    (request,) = asked_for
    assert request.headers["authorization"] == "Bearer sk_test_x"
    assert request.headers["clerk-api-version"] == clerk.API_VERSION
