"""Walks through everything a provider has: the first filling, and the sweep for what was lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from tenure.base.clock import StoppedClock
from tenure.base.db import Db
from tenure.identity import members
from tenure.identity.errors import ProviderFailed, WrongInstance
from tenure.identity.model import UserId
from tenure.identity.walk import Step

from .builders import DEACTIVATE, a_membership, a_user, an_org, gone, rows
from .mirror import Clerk, Mirror, Workos, a_clerk, a_workos_mirror

EVERYWHERE = "/v1/organization_memberships"
PAGES = 3 + 2 + 5  # of two each: 4 users, 2 organizations, 8 memberships, and a look behind the end


@pytest.fixture
async def clerk(db: Db, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clerk]:
    monkeypatch.setattr("tenure.base.http.FIRST_WAIT", 0.001)
    async with a_clerk(db) as made:
        yield made


@pytest.fixture
async def workos(
    db: Db, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Workos]:
    monkeypatch.setattr("tenure.identity.workos.PAGE", 2)
    async with a_workos_mirror(db, clock) as made:
        yield made


async def fill(clerk: Clerk, *, orgs: int = 2, people: int = 4) -> list[str]:
    """Let some people join some organizations, and nobody tell us; give the pairs."""
    users = [await clerk.a_user(f"user{number}") for number in range(people)]
    pairs = []
    for number in range(orgs):
        org = await clerk.an_org(f"Org {number}")
        for user in users:
            await clerk.join(org, user)
            pairs.append(f"{org}/{user}")
    return deaf(clerk, pairs)


def deaf(clerk: Clerk, pairs: list[str]) -> list[str]:
    clerk.heard = len(clerk.letters())
    clerk.tick(10)
    return pairs


async def filled(clerk: Clerk) -> list[str]:
    pairs = await fill(clerk)
    await clerk.walk()
    clerk.tick(10)
    return pairs


def reasons(steps: list[Step]) -> list[str]:
    return sorted(one.reason for step in steps for one in step.differences)


async def test_an_empty_database_is_filled(clerk: Clerk) -> None:
    """S2, M7: everybody is there after one walk, and nobody needs another look."""
    await fill(clerk)

    steps = await clerk.walk()

    await clerk.check()
    assert await clerk.due() == set()
    assert steps[-1].counts == {
        "users": 4,
        "organizations": 2,
        "memberships": 8,
        "differences": 14,
    }
    assert set(reasons(steps)) == {"unknown_here"}
    causes = await rows(clerk.db, "SELECT DISTINCT cause FROM tenure.membership_history")
    assert causes == [{"cause": "walk"}]


async def test_an_empty_database_is_filled_from_workos(workos: Workos) -> None:
    """M7: which lists the members of one organization at a time, of every status."""
    scene = workos.scene
    users = [await scene.a_user(f"user{number}") for number in range(5)]
    for number in range(3):
        org = await scene.an_org(f"Org {number}")
        for user in users:
            last = await scene.a_member(org, user)
    path = f"/user_management/organization_memberships/{last}"
    await scene.ask("PUT", f"{path}/deactivate")
    workos.tick()

    steps = await workos.walk()

    state = await workos.state()
    assert [len(state[name]) for name in ("users", "orgs", "memberships")] == [5, 3, 15]
    assert {row[-1] for row in state["memberships"]} == {"active", "inactive"}
    assert steps[-1].counts["memberships"] == 15
    await workos.ours.check()


async def test_nothing_differs_after_a_walk(clerk: Clerk) -> None:
    await filled(clerk)

    assert reasons(await clerk.walk()) == []
    assert await clerk.due() == set()


async def test_a_walk_keeps_to_the_seats(clerk: Clerk) -> None:
    """M7: the first filling admits nobody beyond the limit to a seat."""
    await fill(clerk, orgs=1)
    org = (await clerk.directory.organizations(None)).items[0]
    await clerk.ours.put_org(org)
    await rows(clerk.db, "UPDATE tenure.seats SET fixed = 2 RETURNING 1")

    await clerk.walk()

    assert await rows(clerk.db, "SELECT used FROM tenure.seats") == [{"used": 2}]
    await clerk.check()


async def test_a_walk_shuts_out_where_the_company_wants_that(clerk: Clerk) -> None:
    """M10: the limit's policy is that of every other way in."""
    await fill(clerk, orgs=1)
    org = (await clerk.directory.organizations(None)).items[0]
    await clerk.ours.put_org(org)
    await rows(clerk.db, "UPDATE tenure.seats SET fixed = 2 RETURNING 1")

    strict = replace(clerk, policy=DEACTIVATE)
    await strict.walk()
    await strict.work()

    assert len((await clerk.truth())["memberships"]) == 2


async def test_what_differs_is_only_marked_and_then_asked_for_by_name(clerk: Clerk) -> None:
    """M7: a page is older than the answer to a question: it decides nothing."""
    pairs = await filled(clerk)
    org, user = pairs[0].split("/")
    await clerk.set_role(org, user, "admin")
    await clerk.room.ask("PATCH", f"/v1/users/{user}", first_name="Augusta")
    await clerk.room.ask("PATCH", f"/v1/organizations/{org}", name="New")
    clerk.tick()
    before = await clerk.state()

    found = reasons(await clerk.walk())

    assert found == ["changed"] * 3
    assert await clerk.state() == before
    assert await clerk.due() == {f"membership {pairs[0]}", f"user {user}", f"org {org}"}
    await clerk.work()
    await clerk.check()


@pytest.mark.parametrize("kind", ["user", "org", "membership"])
async def test_an_absence_is_believed_only_after_a_second_question(clerk: Clerk, kind: str) -> None:
    """M7: deleted at the provider, and no event came."""
    pairs = await filled(clerk)
    org, user = pairs[0].split("/")
    name, path = {
        "user": (user, f"/v1/users/{user}"),
        "org": (org, f"/v1/organizations/{org}"),
        "membership": (pairs[0], f"/v1/organizations/{org}/memberships/{user}"),
    }[kind]
    await clerk.room.ask("DELETE", path)
    before = await clerk.state()

    found = reasons(await clerk.walk())

    assert set(found) == {"missing_there"}
    assert await clerk.state() == before
    assert f"{kind} {name}" in await clerk.due()
    await clerk.work()
    await clerk.check()


@pytest.mark.parametrize("path", ["/v1/users", "/v1/organizations", EVERYWHERE])
async def test_a_list_that_omits_somebody_for_a_moment_drops_nobody(
    clerk: Clerk, path: str
) -> None:
    """M7: a replica that lags: whoever is missing on the page is asked for by name."""
    await filled(clerk)
    last = {
        "/v1/users": clerk.a_user,
        "/v1/organizations": clerk.an_org,
        EVERYWHERE: lambda: _one_more(clerk),
    }[path]
    await last()
    await clerk.follow()
    clerk.tick(10)
    await clerk.fail("stale", match=path, count=-1)

    found = reasons(await clerk.walk())

    assert "missing_there" in found
    await clerk.room.ask("DELETE", "/_sandbox/faults")
    await clerk.work()
    await clerk.check()


async def _one_more(clerk: Clerk) -> str:
    user = await clerk.a_user("late")
    org = (await clerk.directory.organizations(None)).items[0].id
    return await clerk.join(org, user)


async def test_a_walk_brings_nobody_back_who_was_removed(clerk: Clerk) -> None:
    """M7: openwork#3243: the lagging page is not believed, and neither is the lagging answer."""
    pairs = await filled(clerk)
    org, user = pairs[0].split("/")
    await clerk.leave(org, user)
    await clerk.follow()
    clerk.tick()
    await clerk.fail("stale", match=EVERYWHERE)
    await clerk.fail("stale", match=f"/v1/organizations/{org}/memberships")

    found = reasons(await clerk.walk())
    assert found == ["deleted_here"]
    await clerk.work()

    assert (await clerk.made("membership", pairs[0]))[-1] == ("ignored", "deleted_for_good")
    assert len((await clerk.state())["memberships"]) == 7
    await clerk.ours.check()


async def test_what_only_a_token_told_of_is_confirmed(clerk: Clerk) -> None:
    """M6: a row made just in time becomes the provider's own."""
    pairs = await fill(clerk, orgs=1, people=1)
    who = replace(clerk.ours, asked=False)
    async with who.acting(cause="token") as act:
        org, user = pairs[0].split("/")
        await members.admit(
            act, an_org(id=org, version=None), a_user(id=user, version=None), role="member"
        )
    clerk.tick()

    found = reasons(await clerk.walk())
    assert found.count("never_seen") == 3
    assert set(found) <= {"never_seen", "missing_there"}
    await clerk.work()
    await clerk.check()


async def test_what_only_a_token_told_of_and_the_provider_does_not_have_is_dropped(
    clerk: Clerk,
) -> None:
    """M7: she was removed between her token and our first question."""
    (pair,) = await fill(clerk, orgs=1, people=1)
    org, user = pair.split("/")
    async with clerk.ours.acting(cause="token", asked=False) as act:
        await members.admit(
            act, an_org(id=org, version=None), a_user(id=user, version=None), role="member"
        )
    await clerk.leave(org, user)
    deaf(clerk, [])

    await clerk.walk()
    await clerk.work()

    assert (await clerk.state())["memberships"] == set()
    await clerk.check()


async def test_a_wish_that_the_provider_has_not_carried_out_is_found(clerk: Clerk) -> None:
    """M6: and does not look like a difference to be taken over."""
    await filled(clerk)
    (member,) = await rows(
        clerk.db, "SELECT org_id, user_id FROM tenure.memberships ORDER BY id LIMIT 1"
    )
    scope = replace(await clerk.ours.scope(), org_id=member["org_id"])
    await clerk.wishes.remove(scope, UserId(member["user_id"]), actor="user:boss")
    clerk.tick()

    assert reasons(await clerk.walk()) == ["wish_not_carried_out"]
    await clerk.work()
    await clerk.check()


async def test_a_wish_that_was_undone_at_the_provider_is_carried_there_again(
    workos: Workos,
) -> None:
    """M6: somebody there let her in again before we had seen her out: what we want still holds."""
    scene = workos.scene
    member = await scene.a_member(await scene.an_org(), await scene.a_user())
    path = f"/user_management/organization_memberships/{member}"
    await workos.follow()
    (row,) = await rows(workos.db, "SELECT org_id, user_id FROM tenure.memberships")
    scope = replace(await workos.ours.scope(), org_id=row["org_id"])
    await workos.wishes.deactivate(scope, UserId(row["user_id"]), actor="user:boss")
    await workos.carry_wishes()
    await scene.ask("PUT", f"{path}/reactivate")
    await workos.follow()
    workos.tick()

    assert reasons(await workos.walk()) == ["wish_not_carried_out"]
    await workos.work()

    await workos.check()
    assert {row[-1] for row in (await workos.state())["memberships"]} == {"inactive"}


@pytest.mark.parametrize("pages", range(1, PAGES))
async def test_a_walk_that_was_cut_off_goes_on_where_it_was(
    clerk: Clerk, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M7: after any page; what was met before counts as met, and no page is read twice."""
    monkeypatch.setattr("tenure.identity.clerk.PAGE", 2)
    await fill(clerk)
    first = await _some(clerk, pages)
    clerk.tick()

    rest = await clerk.walk()

    assert len(first) + len(rest) == PAGES
    assert rest[-1].counts["memberships"] == 8
    await clerk.check()
    assert await clerk.due() == set()


async def _some(mirror: Mirror, pages: int) -> list[Step]:
    """Walk for so many pages, and fall down."""
    steps: list[Step] = []
    async with aclosing(mirror.walker().walk()) as walk:  # type: ignore[type-var]
        async for step in walk:
            steps.append(step)
            if len(steps) == pages:
                break
    return steps


@pytest.mark.parametrize("pages", [2, 6, 9, 14])
async def test_a_walk_through_workos_goes_on_within_an_organization(
    workos: Workos, pages: int
) -> None:
    """M7: the place names the organization under way, and where in it."""
    scene = workos.scene
    users = [await scene.a_user(f"user{number}") for number in range(5)]
    for number in range(3):
        org = await scene.an_org(f"Org {number}")
        for user in users:
            await scene.a_member(org, user)
    workos.tick()

    await _some(workos, pages)
    rest = await workos.walk()

    assert rest == [] or rest[-1].counts["memberships"] == 15
    assert len((await workos.state())["memberships"]) == 15
    assert await workos.due() == set()


@pytest.mark.parametrize("path", ["/v1/users", "/v1/organizations", EVERYWHERE])
async def test_a_provider_that_fails_stops_the_walk_and_the_next_one_ends_it(
    clerk: Clerk, path: str
) -> None:
    """M7: half a page is nobody's absence."""
    await filled(clerk)
    await clerk.fail("500", match=path, count=-1)
    with pytest.raises(ProviderFailed):
        await clerk.walk()
    await clerk.room.ask("DELETE", "/_sandbox/faults")

    assert reasons(await clerk.walk()) == []
    assert await clerk.due() == set()
    await clerk.check()


async def test_a_walk_that_dies_before_it_notes_the_page_repeats_it(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M7: whatever was written twice is written once."""
    monkeypatch.setattr("tenure.identity.clerk.PAGE", 2)
    await fill(clerk)
    walker = clerk.walker()
    begun = await walker._begin()  # noqa: SLF001 (a page that is treated, and not noted)
    await walker._step(begun)  # noqa: SLF001 (as above)

    steps = await clerk.walk()

    assert len(steps) == PAGES
    await clerk.check()
    assert await clerk.due() == set()


async def test_two_walkers_at_once_do_what_one_does(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M7: many nodes: one of them moves on, the other stops."""
    monkeypatch.setattr("tenure.identity.clerk.PAGE", 2)
    await fill(clerk)

    await asyncio.gather(clerk.walk(), clerk.walk(), clerk.walk())
    clerk.tick()

    await clerk.check()
    assert reasons(await clerk.walk()) == []
    assert await clerk.due() == set()


async def test_a_walker_that_lags_behind_the_end_finds_nobody_missing(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M7: what the walk has met is forgotten at its end, and that is no absence."""
    await filled(clerk)
    monkeypatch.setattr("tenure.identity.clerk.PAGE", 2)
    slow = clerk.walker()
    place = await slow._begin()  # noqa: SLF001 (two processes, step by step)
    for _ in range(PAGES - 1):
        _, after = await slow._step(place)  # noqa: SLF001 (as above)
        assert await slow._move(place, after)  # noqa: SLF001 (as above)
        place = after
    await clerk.walk()  # another process reads the last page, and ends the walk

    step, after = await slow._step(place)  # noqa: SLF001 (as above)

    assert reasons([step]) == []
    assert not await slow._move(place, after)  # noqa: SLF001 (as above)
    assert await clerk.due() == set()


async def test_only_to_look_changes_nothing(clerk: Clerk) -> None:
    """M7: every difference is told; nothing is written, marked or noted."""
    pairs = await filled(clerk)
    org, user = pairs[0].split("/")
    await clerk.set_role(org, user, "admin")
    await clerk.leave(*pairs[1].split("/"))
    await clerk.join(await clerk.an_org("Third"), user)
    clerk.tick()
    before = await clerk.state(), await rows(clerk.db, "SELECT * FROM tenure.walks")

    found = reasons(await clerk.walk(only_look=True))

    assert found == ["changed", "missing_there", "unknown_here", "unknown_here"]
    assert (await clerk.state(), await rows(clerk.db, "SELECT * FROM tenure.walks")) == before
    assert await clerk.due() == set()
    assert await rows(clerk.db, "SELECT 1 FROM tenure.walk_seen") == []


async def test_who_joins_while_a_walk_is_under_way_is_not_missing(clerk: Clerk) -> None:
    """M7: rows younger than the walk are not looked for."""
    await filled(clerk)
    steps = await _some(clerk, 2)
    assert [step.phase for step in steps] == ["users", "organizations"]
    clerk.tick()
    who = replace(clerk.ours, asked=False)
    await who.put(a_membership(77, 77))

    assert reasons(await clerk.walk()) == []


@pytest.mark.parametrize("empty", [True, False])
async def test_a_walk_through_another_instance_misses_nobody(
    clerk: Clerk,
    empty: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """M7, M10: the key of a stranger's instance: not even a mark comes of it."""
    await filled(clerk)
    async with a_clerk(clerk.db, clock=clerk.clock) as other:
        if not empty:
            for number in range(8):  # no two of which are the same as over here
                await other.a_user(f"stranger{number}")
            for _ in range(5):
                await other.room.ask("DELETE", f"/v1/users/{(await _first(other))}")
        with pytest.raises(WrongInstance):
            await other.walk()

    assert await clerk.due() == set()
    await clerk.check()


async def _first(clerk: Clerk) -> str:
    return (await clerk.directory.users(None)).items[0].id


async def test_a_member_whom_the_provider_removed_and_we_know_is_not_missing(
    clerk: Clerk,
) -> None:
    pairs = await filled(clerk)
    ours = replace(clerk.ours, asked=False)
    await ours.put(a_membership(77, 77))
    await ours.drop(gone(77, 77), 77, 77)
    clerk.tick()

    found = [one.subject.id for step in await clerk.walk() for one in step.differences]
    assert "org_77/user_77" not in found
    assert len(pairs) == 8
