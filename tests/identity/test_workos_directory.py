"""WorkOS is asked, and does what we wish, once."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from tenure.base.clock import StoppedClock
from tenure.identity.directory import Directory, Member
from tenure.identity.errors import (
    NotOffered,
    ProviderAway,
    ProviderBusy,
    ProviderFailed,
    ProviderKeyRefused,
    Refused,
)
from tenure.identity.model import Status

from .workos_scene import MEMBERSHIPS, Scene, a_scene


@pytest.fixture
async def scene(clock: StoppedClock) -> AsyncIterator[Scene]:
    async with a_scene(clock) as scene:
        yield scene


async def test_users_and_organizations_are_seen_as_they_are(scene: Scene) -> None:
    asks: Directory = scene.directory
    org, user = await scene.an_org(), await scene.a_user()
    scene.clock.tick(timedelta(seconds=5))
    await scene.ask("PUT", f"/user_management/users/{user}", first_name="Ada", last_name="King")

    seen, home = await asks.user(user), await asks.organization(org)

    assert seen is not None
    assert home is not None
    assert (seen.email, seen.name, seen.blocked) == ("ada@example.com", "Ada King", False)
    assert (seen.version, seen.created_at) == (
        scene.clock.now(),
        scene.clock.now() - timedelta(seconds=5),
    )
    assert (home.name, home.slug) == ("Analytical Engines", None)


async def test_whoever_workos_does_not_have_is_absent(scene: Scene) -> None:
    assert await scene.directory.user("user_none") is None
    assert await scene.directory.organization("org_none") is None
    assert await scene.directory.membership("org_none", "user_none", known=None) is None
    assert await scene.directory.membership("org_none", "user_none", known="om_none") is None
    assert await scene.directory.memberships("org_none", None) is not None
    assert await scene.directory.invitations("org_none") == []


async def test_an_address_that_is_not_workos_says_of_nobody_that_she_is_gone(scene: Scene) -> None:
    elsewhere = scene.other(base=f"{scene.world.url}/v9")

    with pytest.raises(ProviderFailed):
        await elsewhere.user(await scene.a_user())
    with pytest.raises(ProviderFailed):
        await elsewhere.users(None)


@pytest.mark.parametrize("status", ["active", "inactive", "pending"])
async def test_a_membership_is_found_in_every_status(scene: Scene, status: str) -> None:
    """Left to itself the list shows active members alone."""
    org, user = await scene.an_org(), await scene.a_user()
    if status == "pending":
        invited = {"email": "ada@example.com", "organization_id": org}
        await scene.ask("POST", "/user_management/invitations", **invited)
    else:
        member = await scene.a_member(org, user, role_slug="admin")
    if status == "inactive":
        await scene.ask("PUT", f"{MEMBERSHIPS}/{member}/deactivate")

    seen = await scene.directory.membership(org, user, known=None)
    listed = await scene.directory.memberships(org, None)

    assert seen is not None
    assert seen.status == status
    assert (seen.user.email, seen.user.version) == ("ada@example.com", scene.clock.now())
    assert seen.org.name == "Analytical Engines"
    assert list(listed.items) == [seen]


@pytest.mark.parametrize("known", [True, False])
async def test_a_list_that_lags_does_not_make_a_member_gone(scene: Scene, known: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    """Absence counts after a second question: by the id that we keep, or by the user."""
    org, user = await scene.an_org(), await scene.a_user()
    member = await scene.a_member(org, user)
    await scene.fail("stale", match=f"GET {MEMBERSHIPS}")

    seen = await scene.directory.membership(org, user, known=member if known else None)

    assert seen is not None
    assert seen.id == member


async def test_an_id_that_we_keep_but_that_is_of_another_pair_proves_nothing(scene: Scene) -> None:
    org, user, other = await scene.an_org(), await scene.a_user(), await scene.a_user("bob")
    member = await scene.a_member(org, other)

    assert await scene.directory.membership(org, user, known=member) is None
    assert await scene.directory.membership(org, user, known="../users") is None


async def test_a_member_that_cannot_be_read_is_a_failure_and_not_an_absence(scene: Scene) -> None:
    org, user, other = await scene.an_org(), await scene.a_user(), await scene.a_user("bob")
    member, good = await scene.a_member(org, user), await scene.a_member(org, other)
    scene.world.memberships.rows[member]["role"] = "poison"

    with pytest.raises(ProviderFailed):
        await scene.directory.membership(org, user, known=None)
    page = await scene.directory.memberships(org, None)
    assert [seen.id for seen in page.items] == [good]


async def test_lists_go_on_from_a_place_oldest_first(scene: Scene) -> None:
    """B6: a walk that was cut off goes on where it was."""
    planted = await scene.ask("POST", "/_sandbox/seed", users=230, organizations=1, memberships=230)
    (org,) = planted["organizations"]

    users, members, places = list[str](), list[str](), list[str | None]()
    place: str | None = None
    while True:
        page = await scene.directory.users(place)
        users += [seen.id for seen in page.items]
        places.append(place := page.next)
        if place is None:
            break
    while True:
        found = await scene.directory.memberships(org, place)
        members += [seen.id for seen in found.items]
        if (place := found.next) is None:
            break

    assert users == sorted(planted["users"])
    assert members == sorted(planted["memberships"])
    assert places == [users[99], users[199], None]
    assert [seen.id for seen in (await scene.directory.organizations(None)).items] == [org]


async def test_a_status_is_set_once_and_one_that_is_so_already_stays_so(scene: Scene) -> None:
    org, user = await scene.an_org(), await scene.a_user()
    member = Member(id=await scene.a_member(org, user), org_id=org, user_id=user)
    unnamed = Member(id=None, org_id=org, user_id=user)

    for status in (Status.INACTIVE, Status.ACTIVE):
        for asked in (member, unnamed):
            await scene.directory.set_status(asked, status)
            seen = await scene.directory.membership(org, user, known=None)
            assert seen is not None
            assert seen.status is status

    asked_for = await scene.requests()
    assert asked_for[f"PUT {MEMBERSHIPS}/{member.id}/deactivate"] == 1
    assert asked_for[f"PUT {MEMBERSHIPS}/{member.id}/reactivate"] == 1


async def test_an_answer_that_was_lost_does_not_make_it_happen_twice(scene: Scene) -> None:
    org, user = await scene.an_org(), await scene.a_user()
    member = Member(id=await scene.a_member(org, user), org_id=org, user_id=user)
    await scene.fail("lost", match=f"PUT {MEMBERSHIPS}")

    await scene.directory.set_status(member, Status.INACTIVE)

    changed = [one.name for one in scene.world.state.events.values()][3:]
    assert changed == ["organization_membership.updated"]


async def test_an_invited_member_is_removed_because_she_cannot_be_deactivated(
    scene: Scene,
) -> None:
    org, user = await scene.an_org(), await scene.a_user()
    await scene.directory.invite(org, email="ada@example.com", role="member", inviter=None)
    member = Member(id=None, org_id=org, user_id=user)

    with pytest.raises(Refused):
        await scene.directory.set_status(member, Status.ACTIVE)
    await scene.directory.set_status(member, Status.INACTIVE)

    assert await scene.directory.membership(org, user, known=None) is None
    await scene.directory.set_status(member, Status.INACTIVE)
    with pytest.raises(Refused):
        await scene.directory.set_status(member, Status.ACTIVE)
    with pytest.raises(NotOffered):
        await scene.directory.set_status(member, Status.PENDING)


async def test_removing_somebody_twice_is_fine_and_spares_whoever_joined_again(
    scene: Scene,
) -> None:
    """Pain 4 (vm0-ai/vm0#34995): the id says which membership is meant, not the pair."""
    org, user = await scene.an_org(), await scene.a_user()
    first = Member(id=await scene.a_member(org, user), org_id=org, user_id=user)
    await scene.directory.remove(first)
    again = await scene.a_member(org, user)

    await scene.directory.remove(first)
    seen = await scene.directory.membership(org, user, known=first.id)
    assert seen is not None
    assert seen.id == again

    for _ in range(2):
        await scene.directory.remove(Member(id=None, org_id=org, user_id=user))
    assert await scene.directory.membership(org, user, known=again) is None


async def test_a_role_is_set_where_the_member_is(scene: Scene) -> None:
    org, user = await scene.an_org(), await scene.a_user()
    member = Member(id=await scene.a_member(org, user), org_id=org, user_id=user)

    for _ in range(2):
        await scene.directory.set_role(member, "admin")

    seen = await scene.directory.membership(org, user, known=None)
    assert seen is not None
    assert seen.role == "admin"
    assert (await scene.requests())[f"PUT {MEMBERSHIPS}/{member.id}"] == 1
    with pytest.raises(Refused, match="The role 'queen' does not exist"):
        await scene.directory.set_role(member, "queen")
    await scene.directory.remove(member)
    with pytest.raises(Refused):
        await scene.directory.set_role(member, "member")


async def test_who_was_invited_is_listed_until_she_answers(scene: Scene) -> None:
    org, user = await scene.an_org(), await scene.a_user()
    first = await scene.directory.invite(org, email="bob@example.com", role="admin", inviter=user)
    second = await scene.directory.invite(org, email="eve@example.com", role="member", inviter=None)

    assert (first.email, first.role) == ("bob@example.com", "admin")
    assert first.expires_at == scene.clock.now() + timedelta(days=7)
    assert await scene.directory.invitations(org) == [first, second]

    await scene.ask("POST", f"/_sandbox/invitations/{first.id}/accept")
    assert await scene.directory.invitations(org) == [second]
    with pytest.raises(Refused, match="is invited already"):
        await scene.directory.invite(org, email="eve@example.com", role="member", inviter=None)
    with pytest.raises(Refused):
        await scene.directory.invite("org_none", email="a@example.com", role="x", inviter=None)


async def test_what_workos_says_instead_of_an_answer_has_a_name(scene: Scene) -> None:
    user = await scene.a_user()
    with pytest.raises(ProviderKeyRefused):
        await scene.other(key="sk_test_wrong").user(user)
    await scene.fail("429", seconds=7)
    with pytest.raises(ProviderBusy) as busy:
        await scene.directory.user(user)
    assert busy.value.retry_after == timedelta(seconds=7)
    await scene.fail("refuse", count=3)
    with pytest.raises(ProviderAway):
        await scene.directory.user(user)
    await scene.fail("500", count=3)
    with pytest.raises(ProviderFailed):
        await scene.directory.user(user)

    assert await scene.directory.user(user) is not None
