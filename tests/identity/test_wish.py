"""What our own side wants of a member: it holds at once, and the provider is asked to follow."""

import pytest

from tenure.base.db import Db, Scope
from tenure.base.ids import RandomIds
from tenure.identity.errors import (
    LastAdmin,
    NoFreeSeat,
    NoSuchMember,
    NotInThatState,
    NotOffered,
)
from tenure.identity.model import Membership, Status, UserId
from tenure.identity.wish import Wishes

from .builders import Registry, a_membership, at, rows

BOSS = "user:boss"


@pytest.fixture
async def workos(db: Db) -> Registry:
    """An organization at WorkOS with one admin (1) and one member (2)."""
    ours = Registry(db=db, provider="workos")
    await ours.put(a_membership(1, role="admin"), a_membership(2))
    await _forget(ours)
    return ours


async def _forget(ours: Registry) -> None:
    await rows(ours.db, "DELETE FROM tenure.news RETURNING 1")


def wishes(ours: Registry) -> Wishes:
    return Wishes(db=ours.db, clock=ours.clock, ids=ours.ids, policy=ours.policy)


async def asked(ours: Registry, act: str, user: int = 2, *more: str) -> Membership:
    found = await ours.member(user)
    assert found is not None
    scope = await ours.scope()
    return await getattr(wishes(ours), act)(scope, found.user_id, *more, actor=BOSS)


async def told(ours: Registry) -> list[str]:
    """List for which memberships the provider must hear something."""
    found = await rows(
        ours.db, "SELECT payload FROM tenure.news WHERE topic = 'member.wished' ORDER BY id"
    )
    return [row["payload"]["membership"] for row in found]


async def test_a_deactivated_member_has_no_access_and_no_seat_at_once(workos: Registry) -> None:
    """M6: before the provider has heard of it."""
    after = await asked(workos, "deactivate")

    assert (after.status, after.holds_seat, after.wish) == (Status.INACTIVE, False, "inactive")
    assert (after.wished_by, after.wished_at) == (BOSS, workos.clock.now())
    assert await told(workos) == [str(after.id)]
    assert (await workos.seats()).used == 1
    lines = await rows(
        workos.db, "SELECT actor, action FROM tenure.audit_log ORDER BY seq DESC LIMIT 1"
    )
    assert lines == [{"actor": BOSS, "action": "member.changed"}]
    await workos.check()


async def test_she_stays_out_although_the_provider_still_shows_her_active(
    workos: Registry,
) -> None:
    """M6: until it has followed, newer versions of her old state change nothing."""
    await asked(workos, "deactivate")

    await workos.put(a_membership(2, role="viewer", version=at(5000)))

    after = await workos.stands(2)
    assert (after.status, after.holds_seat, after.wish) == (Status.INACTIVE, False, "inactive")
    assert after.role == "viewer"
    await workos.put(a_membership(2, status=Status.INACTIVE, version=at(5001)))
    assert (await workos.stands(2)).wish is None
    await workos.check()


async def test_a_reactivated_member_has_her_seat_at_once(workos: Registry) -> None:
    """M6: and so nobody else gets it while the provider is asked."""
    await workos.limit(2)
    await asked(workos, "deactivate")
    after = await asked(workos, "reactivate")

    assert (after.status, after.holds_seat, after.wish) == (Status.ACTIVE, True, "active")
    assert (await workos.seats()).used == 2
    await workos.check()


async def test_without_a_free_seat_nobody_is_reactivated(workos: Registry) -> None:
    """M6, M7: the figures are told."""
    await asked(workos, "deactivate")
    await workos.limit(1)

    with pytest.raises(NoFreeSeat) as refused:
        await asked(workos, "reactivate")

    assert refused.value.facts == {"used": 1, "limit": 1, "invited": 0}
    assert (await workos.stands(2)).status is Status.INACTIVE
    await workos.check()


async def test_the_seat_of_a_deactivated_member_goes_to_whoever_waits(workos: Registry) -> None:
    await workos.limit(2)
    await workos.put(a_membership(3))
    assert not (await workos.stands(3)).holds_seat

    await asked(workos, "deactivate")

    assert await workos.holders() == {"user_1", "user_3"}
    await workos.check()


async def test_a_removed_member_is_out_at_once_and_her_row_waits_for_the_provider(
    workos: Registry,
) -> None:
    """M6: she is no member any more when the provider says so."""
    after = await asked(workos, "remove")

    assert (after.status, after.holds_seat, after.wish) == (Status.INACTIVE, False, "removed")
    assert after.removed_at is None
    await workos.miss(2)
    member = await workos.member(2)
    assert member is not None
    assert (member.removed_at is not None, member.wish) == (True, None)
    await workos.check()


async def test_a_right_that_is_taken_is_taken_now_and_one_that_is_given_comes_later(
    workos: Registry,
) -> None:
    """M6: a role counts more only once the provider has it."""
    await workos.put(a_membership(3, role="admin"))
    less = await asked(workos, "set_role", 3, "member")
    more = await asked(workos, "set_role", 2, "admin")

    assert (less.role, less.wish_role) == ("member", "member")
    assert (more.role, more.wish_role) == ("member", "admin")
    await workos.put(a_membership(2, role="admin", version=at(5000)))
    assert ((await workos.stands(2)).role, (await workos.stands(2)).wish_role) == ("admin", None)


@pytest.mark.parametrize(
    ("act", "more"), [("deactivate", ()), ("remove", ()), ("set_role", ("member",))]
)
async def test_the_last_admin_stays(workos: Registry, act: str, more: tuple[str, ...]) -> None:
    """M6: nobody would be left who could let anybody in."""
    with pytest.raises(LastAdmin):
        await asked(workos, act, 1, *more)

    assert (await workos.stands(1)).wish is None
    await workos.put(a_membership(3, role="owner"))
    await asked(workos, act, 1, *more)


async def test_two_admins_who_throw_each_other_out_at_once_leave_one(
    workos: Registry,
) -> None:
    """M7: the last two are counted under the organization's lock."""
    await workos.put(a_membership(2, role="admin", version=at(5000)))
    results = []
    for act, user in (("deactivate", 1), ("remove", 2)):
        try:
            results.append(await asked(workos, act, user))
        except LastAdmin:
            results.append(None)

    assert [one is None for one in results] == [False, True]


@pytest.mark.parametrize(
    ("act", "more"),
    [("deactivate", ()), ("remove", ()), ("set_role", ("viewer",))],
)
async def test_a_wish_twice_is_one(workos: Registry, act: str, more: tuple[str, ...]) -> None:
    """M7: a double click tells the provider once."""
    first = await asked(workos, act, 2, *more)
    again = await asked(workos, act, 2, *more)

    assert again == first
    assert await told(workos) == [str(first.id)]


async def test_whoever_is_here_need_not_be_reactivated(workos: Registry) -> None:
    assert (await asked(workos, "reactivate")).wish is None
    assert await told(workos) == []


async def test_an_invitation_is_removed_and_not_deactivated(workos: Registry) -> None:
    await workos.put(a_membership(3, status=Status.PENDING))

    with pytest.raises(NotInThatState):
        await asked(workos, "deactivate", 3)
    assert (await asked(workos, "remove", 3)).wish == "removed"


@pytest.mark.parametrize("act", ["deactivate", "reactivate"])
async def test_where_a_provider_has_no_inactive_members_that_is_said(db: Db, act: str) -> None:
    """M6: Clerk: remove her instead."""
    clerk = Registry(db=db)
    await clerk.put(a_membership(1, role="admin"), a_membership(2))

    with pytest.raises(NotOffered):
        await asked(clerk, act)


async def test_only_a_member_of_ones_own_organization_is_changed(workos: Registry) -> None:
    """A10: neither a stranger, nor who was removed, nor another organization's member."""
    await workos.put(a_membership(3))
    await workos.miss(3)
    await workos.put(a_membership(4, 2))
    stranger = UserId(RandomIds().uuid())
    removed, other = await workos.user_id(3), await workos.user_id(4)
    scope = await workos.scope()
    desk = wishes(workos)

    for user in (stranger, removed, other):
        assert user is not None
        for act in (desk.deactivate, desk.remove, desk.reactivate):
            with pytest.raises(NoSuchMember):
                await act(scope, user, actor=BOSS)
    assert (await workos.stands(4, 2)).wish is None


async def test_who_acts_for_herself_changes_nobody(workos: Registry) -> None:
    """A10: without an organization there is no member."""
    (row,) = await rows(workos.db, "SELECT user_id FROM tenure.memberships WHERE role = 'member'")
    alone = Scope(org_id=None, user_id=row["user_id"])

    with pytest.raises(NoSuchMember):
        await wishes(workos).remove(alone, row["user_id"], actor=BOSS)
