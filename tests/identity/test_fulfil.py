"""Wishes carried to the provider: once, however often it is tried, and given up when refused."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tenure.base.clock import StoppedClock
from tenure.base.db import Db, Scope
from tenure.identity import roster
from tenure.identity.act import Policy
from tenure.identity.errors import ProviderFailed, Refused
from tenure.identity.model import Membership, Status, UserId
from tenure.identity.seats import SeatDesk
from tenure.journal.model import Claim, Subject

from .builders import DEACTIVATE, rows
from .mirror import Clerk, Mirror, Workos, a_clerk, a_workos_mirror
from .workos_scene import MEMBERSHIPS

BOSS = "user:boss"


@pytest.fixture
async def clerk(db: Db) -> AsyncIterator[Clerk]:
    async with a_clerk(db) as made:
        yield made


@pytest.fixture
async def workos(
    db: Db, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Workos]:
    """A WorkOS with an admin and a member of one organization, and our tables that know it."""
    monkeypatch.setattr("tenure.base.http.FIRST_WAIT", 0.001)
    async with a_workos_mirror(db, clock) as made:
        scene = made.scene
        org = await scene.an_org()
        await scene.a_member(org, await scene.a_user("ada"), role_slug="admin")
        await scene.a_member(org, await scene.a_user("bob"), role_slug="member")
        await made.follow()
        yield made


async def bob(mirror: Mirror) -> Membership:
    """Read the one who is no admin."""
    (row,) = await rows(
        mirror.db, "SELECT id FROM tenure.memberships WHERE role <> 'admin' AND removed_at IS NULL"
    )
    async with mirror.db.statement() as tx:
        found = await roster.get_member(tx, row["id"])
    assert found is not None
    return found


async def wish(mirror: Mirror, act: str, *more: str) -> Membership:
    member = await bob(mirror)
    scope = Scope(org_id=member.org_id, user_id=None)
    made = await getattr(mirror.wishes, act)(scope, UserId(member.user_id), *more, actor=BOSS)
    mirror.clock.tick(timedelta(seconds=1))
    return made


async def writes(workos: Workos) -> int:
    """Count how often anything was changed at WorkOS."""
    asked = await workos.scene.requests()
    return sum(
        n for path, n in asked.items() if path.split()[0] != "GET" and "_sandbox" not in path
    )


async def test_what_we_wish_is_done_at_workos_and_then_settled(workos: Workos) -> None:
    """M6: deactivate, reactivate, another role, remove."""
    for act, more in (
        ("deactivate", ()),
        ("reactivate", ()),
        ("set_role", ("admin",)),
    ):
        await wish(workos, act, *more)
        await workos.work()

        await workos.check()
        assert (
            await rows(workos.db, "SELECT 1 FROM tenure.memberships WHERE wished_at > '-infinity'")
            == []
        )

    assert await workos.due() == set()


async def _wished(mirror: Mirror) -> list[Any]:
    query = "SELECT id FROM tenure.memberships WHERE wished_at IS NOT NULL"
    return [row["id"] for row in await rows(mirror.db, query)]


async def test_a_removal_that_we_wish_is_done_and_settled(workos: Workos) -> None:
    """M6: with no event at all."""
    made = await wish(workos, "remove")
    await workos.work()

    await workos.check()
    (row,) = await rows(
        workos.db, "SELECT wish, removed_at FROM tenure.memberships WHERE id = %s", made.id
    )
    assert row["wish"] is None
    assert row["removed_at"] is not None


async def test_a_removal_that_we_wish_is_done_at_clerk(clerk: Clerk) -> None:
    """M6: which then tells us of it, as of any other."""
    org = await clerk.an_org()
    await clerk.a_member("ada", org, "admin")
    await clerk.a_member("bob", org)
    await clerk.follow()
    await wish(clerk, "remove")
    await clerk.work()
    await clerk.follow()

    await clerk.check()
    assert len((await clerk.truth())["memberships"]) == 1


async def test_a_wish_whose_answer_was_lost_is_tried_again_and_done_once(workos: Workos) -> None:
    """M6, M7: the provider did it, and its answer never came."""
    await wish(workos, "deactivate")
    await workos.scene.fail("done_500", match="PUT /user_management", count=1)
    with suppress(ProviderFailed):
        await workos.work()
    await workos.wait_over()
    await workos.work()

    await workos.check()
    assert (await bob(workos)).status is Status.INACTIVE


async def test_while_the_provider_is_away_the_wish_stands(workos: Workos) -> None:
    """M6: nothing is given up because of an outage."""
    await wish(workos, "deactivate")
    await workos.scene.fail("500", count=-1)
    with pytest.raises(ProviderFailed):
        await workos.work()

    still = await bob(workos)
    assert (still.status, still.wish) == (Status.INACTIVE, "inactive")
    await workos.scene.ask("DELETE", "/_sandbox/faults")
    await workos.wait_over()
    await workos.work()
    await workos.check()


async def test_a_wish_that_is_so_already_changes_nothing_at_the_provider(workos: Workos) -> None:
    """M7: somebody did the same over there."""
    member = await bob(workos)
    await wish(workos, "deactivate")
    await workos.scene.ask("PUT", f"{MEMBERSHIPS}/{member.external_id}/deactivate")
    before = await writes(workos)
    await workos.work()

    assert await writes(workos) == before
    await workos.check()


async def test_a_refused_wish_is_dropped_told_and_the_providers_word_holds_again(
    workos: Workos,
) -> None:
    """M6: the member is active again, and the audit log says why."""
    member = await wish(workos, "set_role", "no-such-role")
    await workos.work()

    assert (await bob(workos)).wish_role is None
    await workos.check()
    (line,) = await rows(
        workos.db,
        "SELECT details FROM tenure.audit_log WHERE action = 'member.wish_refused'",
    )
    assert line["details"]["role"] == "no-such-role"
    assert line["details"]["why"]
    made = await workos.made("wish", str(member.id))
    assert [verdict for verdict, _ in made] == ["ignored"]
    assert await workos.due() == set()


async def test_a_newer_wish_outlives_the_refusal_of_an_older_one(workos: Workos) -> None:
    """M7: asked, refused, and wished otherwise in between."""
    member = await wish(workos, "set_role", "no-such-role")
    fulfilment = workos.reconcilers()[-1]
    subject = Subject("workos.wish", str(member.id))
    tried = await fulfilment.look(subject)
    await wish(workos, "set_role", "admin")
    async with workos.db.transaction() as tx:
        await fulfilment.write(tx, Claim(subject=subject, fence=1, seq=1, attempts=1), tried)

    assert (await bob(workos)).wish_role == "admin"
    await workos.work()
    await workos.check()


async def test_whoever_comes_beyond_the_limit_is_shut_out_at_the_provider_too(
    workos: Workos,
) -> None:
    """M10: TENURE_OVER_LIMIT=deactivate, from the join to the provider's own list."""
    strict = replace(workos, policy=DEACTIVATE)
    member = await bob(workos)
    await _limit(strict, member, 2)
    (org,) = {m.org.id for m in await _all(workos)}
    await workos.scene.a_member(org, await workos.scene.a_user("eve"))
    await strict.follow()

    statuses = sorted(m.status.value for m in await _all(workos))
    assert statuses == ["active", "active", "inactive"]
    await strict.check()


async def test_whom_the_provider_will_not_shut_out_is_kept_and_not_asked_for_ever(
    clerk: Clerk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M10: a refused shutting-out ends; she stays beyond the limit, which is told."""
    strict = replace(clerk, policy=DEACTIVATE)
    org = await clerk.an_org()
    await clerk.a_member("ada", org)
    await strict.follow()
    await _limit(strict, await bob(clerk), 1)
    asked: list[object] = []

    async def refuse(_: object, member: object) -> None:
        asked.append(member)
        raise Refused("the provider keeps her")

    monkeypatch.setattr(type(clerk.directory), "remove", refuse)
    await clerk.a_member("eve", org)
    await strict.follow()

    assert len(asked) == 1
    assert await strict.due() == set()
    await strict.check()


async def _all(workos: Workos) -> Any:
    (org,) = (await workos.directory.organizations(None)).items
    return (await workos.directory.memberships(org.id, None)).items


async def _limit(mirror: Mirror, member: Membership, limit: int) -> None:
    desk = SeatDesk(db=mirror.db, clock=mirror.clock, ids=mirror.ids, policy=Policy())
    await desk.fix(member.org_id, limit, actor=BOSS)
