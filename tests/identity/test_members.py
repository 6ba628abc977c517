"""The one write path of memberships, on a real Postgres: late, doubled, stale and lost events."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenure.base.clock import StoppedClock
from tenure.base.db import Db
from tenure.identity import people
from tenure.identity.model import Gone, SeenMembership, Status

from .builders import (
    HOUR,
    MINUTE,
    Registry,
    Told,
    a_membership,
    a_user,
    an_org,
    at,
    gone,
    rows,
    topics,
)
from .test_rules import Ended, Shown, deliveries

FRESH = count(100)  # organizations and people of their own for every example


@pytest.fixture
def ours(db: Db) -> Registry:
    return Registry(db=db)


def told(
    status: tuple[str | None, str], *, gen: int = 1, cause: str = "look", **changes: object
) -> Told:
    was, now = status
    seats = {"active": True, "pending": True}
    base: dict[str, object] = {
        "external_id": f"mem_1_1_{gen}",
        "generation": gen,
        "status": status,
        "role": (None if was is None else "member", "member"),
        "seat": (None if was is None else seats.get(was, False), seats.get(now, False)),
        "cause": cause,
    }
    return Told(**base | changes)  # type: ignore[arg-type]


async def test_a_membership_that_comes_first_makes_stubs_of_both(ours: Registry) -> None:
    """S2: events come in any order: the user and the organization get rows that are only named."""
    assert await ours.put(a_membership()) == ["joined"]

    named = await rows(
        ours.db, "SELECT external_id, version FROM tenure.identities ORDER BY external_id"
    )
    assert [tuple(row.values()) for row in named] == [("org_1", None), ("user_1", None)]
    assert (await ours.stands()).role == "member"
    await ours.check()


async def test_a_stub_is_filled_by_whoever_comes_after(ours: Registry) -> None:
    """S2: and no second row is made."""
    await ours.put(a_membership())

    assert await ours.put_user(a_user(name="Ada", email="ada@example.test")) == "changed"
    assert await ours.put_org(an_org(name="Engines")) == "changed"

    assert await rows(ours.db, "SELECT name, email FROM tenure.users") == [
        {"name": "Ada", "email": "ada@example.test"}
    ]
    assert await rows(ours.db, "SELECT name FROM tenure.organizations") == [{"name": "Engines"}]


async def test_a_membership_names_nobody_anew_whom_we_have_seen(ours: Registry) -> None:
    """S2: what a membership embeds is no news of somebody we know."""
    await ours.put_user(a_user(name="Ada"))
    await ours.put_org(an_org(name="Engines"))

    await ours.put(a_membership())

    assert await rows(ours.db, "SELECT name FROM tenure.users") == [{"name": "Ada"}]
    assert await rows(ours.db, "SELECT name FROM tenure.organizations") == [{"name": "Engines"}]


async def test_a_stale_update_does_not_overwrite_a_newer_one(ours: Registry) -> None:
    """M7: PaperDeck#223."""
    await ours.put(a_membership(version=at(1500), role="admin"))

    assert await ours.put(a_membership(version=at(1200), role="member")) == ["older_than_known"]

    assert (await ours.stands()).role == "admin"


async def test_a_delete_that_comes_before_its_create_is_final(ours: Registry) -> None:
    """M7, S2: a tombstone waits for the create, which then makes nothing."""
    made = await ours.drop(gone())
    assert (made.verdict, made.reason) == ("applied", "deleted_before_seen")

    assert await ours.put(a_membership()) == ["deleted_for_good"]
    assert await ours.put(a_membership(), asked=False) == ["deleted_for_good"]

    assert await ours.member() is None


async def test_a_late_delete_of_an_old_membership_does_not_touch_the_re_joined_one(
    ours: Registry,
) -> None:
    """M7: vm0#34986: matched by the provider's membership id, never by the pair."""
    await ours.put(a_membership())
    assert await ours.put(a_membership(gen=2)) == ["rejoined"]

    made = await ours.drop(gone(gen=1))

    assert (made.verdict, made.reason) == ("ignored", "other_generation")
    after = await ours.stands()
    assert (after.external_id, after.generation, after.holds_seat) == ("mem_1_1_2", 2, True)
    await ours.check()


async def test_a_removed_member_is_not_brought_back_by_a_stale_event(ours: Registry) -> None:
    """M7: openwork#3243: neither her own old update, nor one of a generation before."""
    await ours.put(a_membership(gen=2))
    await ours.drop(gone(gen=2))

    for late in (a_membership(gen=2, version=at(2500)), a_membership(gen=1)):
        await ours.put(late, asked=False)

    member = await ours.member()
    assert member is not None
    assert (member.removed_at, member.holds_seat) == (ours.clock.now(), False)
    await ours.check()


async def test_a_removed_member_is_not_brought_back_by_a_token(ours: Registry) -> None:
    """M7: gram#6053: a session that outlives the membership."""
    await ours.put(a_membership())
    await ours.drop(gone())

    await ours.admit()

    member = await ours.member()
    assert member is not None
    assert member.removed_at is not None


async def test_a_signed_delete_stands_although_the_provider_still_shows_her(
    ours: Registry,
) -> None:
    """M7: openwork#3243: the lag of a provider's own list, however long it lasts."""
    clock = StoppedClock(at(5000))
    lagging = replace(ours, clock=clock)
    await lagging.put(a_membership())
    await lagging.drop(gone())
    for _ in range(3):
        clock.tick(HOUR)
        assert await lagging.put(a_membership()) == ["deleted_for_good"]

    await ours.check()


async def test_an_absence_that_was_asked_for_yields_to_a_later_answer(ours: Registry) -> None:
    """M7: a list that lacked her for a moment cost her nothing but that moment."""
    clock = StoppedClock(at(5000))
    asking = replace(ours, clock=clock)
    await asking.put(a_membership())
    made = await asking.miss()
    assert (made.verdict, made.reason) == ("applied", "missing_at_provider")

    assert await asking.put(a_membership()) == ["deleted_for_good"]
    clock.tick(2 * MINUTE)
    assert await asking.put(a_membership(), asked=False) == ["deleted_for_good"]
    assert await asking.put(a_membership()) == ["found_again"]

    after = await asking.stands()
    assert (after.generation, after.holds_seat) == (1, True)
    assert await rows(ours.db, "SELECT FROM tenure.tombstones") == []
    await ours.check()


async def test_who_was_removed_can_be_invited_again(ours: Registry) -> None:
    """M7: 1024pix#1932: the row of the removed one is no unique constraint in her way."""
    await ours.put(a_membership())
    await ours.drop(gone())

    again = a_membership(gen=2, status=Status.PENDING, role="admin")
    assert await ours.put(again, asked=False) == ["rejoined"]
    assert await ours.put(replace(again, status=Status.ACTIVE, version=at(2100))) == ["changed"]

    after = await ours.stands()
    assert (after.generation, after.role, after.status) == (2, "admin", Status.ACTIVE)
    assert len(await rows(ours.db, "SELECT FROM tenure.memberships")) == 1
    assert await ours.actions() == [
        "member.joined",
        "member.left",
        "member.rejoined",
        "member.changed",
    ]


async def test_a_deactivated_member_can_be_let_in_again_under_her_old_id(ours: Registry) -> None:
    """M6: dust#21946: WorkOS reuses the membership of an inactive member."""
    workos = replace(ours, provider="workos")
    await workos.put(a_membership())
    await workos.put(a_membership(status=Status.INACTIVE, version=at(1100)))
    assert (await workos.stands()).holds_seat is False

    await workos.put(a_membership(version=at(1200)))

    after = await workos.stands()
    assert (after.status, after.generation, after.holds_seat) == (Status.ACTIVE, 1, True)
    await ours.check()


async def test_history_tells_every_life_by_the_providers_membership_id(ours: Registry) -> None:
    """M7: from what to what, why, and by whose clock."""
    await ours.put(a_membership())
    await ours.put(a_membership(version=at(1500)))  # a version alone is not worth a line
    await ours.put(a_membership(role="admin", version=at(1600)))
    await ours.drop(gone())
    await ours.put(a_membership(gen=2))

    assert await ours.history() == [
        told((None, "active")),
        told(("active", "active"), role=("member", "admin")),
        told(("active", "removed"), role=("admin", "admin"), cause="event"),
        told((None, "active"), gen=2),
    ]
    moments = await rows(ours.db, "SELECT provider_at FROM tenure.membership_history ORDER BY id")
    assert [row["provider_at"] for row in moments] == [at(1000), at(1600), at(1900), at(2000)]


async def test_a_deleted_user_leaves_every_organization_at_once(ours: Registry) -> None:
    """S2, M6: in one transaction, with the cause in history."""
    await ours.put(a_membership(1, 1))
    await ours.put(a_membership(1, 2))
    await ours.put(a_membership(2, 1))

    made = await ours.drop_user(1, at=at(9000))

    assert (made.verdict, made.reason, made.details["memberships"]) == ("applied", "deleted", 2)
    for org in (1, 2):
        member = await ours.member(1, org)
        assert member is not None
        assert (member.removed_at is not None, member.holds_seat) == (True, False)
        assert (await ours.history(1, org))[-1].cause == "user_deleted"
    assert (await ours.stands(2, 1)).holds_seat
    assert (await ours.seats(1)).used == 1
    await ours.check()


async def test_a_deleted_organization_leaves_no_memberships(ours: Registry) -> None:
    """S2, M7: ConvoForm#96."""
    await ours.put(a_membership(1, 1), a_membership(2, 1), a_membership(3, 1))
    await ours.put(a_membership(1, 2))

    await ours.drop_org(1, at=at(9000))

    assert (
        await rows(
            ours.db,
            "SELECT user_id FROM tenure.memberships WHERE removed_at IS NULL AND org_id = %s",
            await ours.org_id(1),
        )
        == []
    )
    causes = [(await ours.history(user, 1))[-1].cause for user in (1, 2, 3)]
    assert causes == ["org_deleted"] * 3
    assert (await ours.seats(1)).used == 0
    assert (await ours.stands(1, 2)).holds_seat
    await ours.check()


async def test_half_a_deletion_is_never_seen(ours: Registry) -> None:
    """M7: what closes the memberships is not committed before the deletion itself."""
    await ours.put(a_membership())
    with pytest.raises(RuntimeError):  # noqa: PT012 (what fails is the transaction)
        async with ours.acting() as act:
            await people.drop_organization(act, "org_1", act.grave(at(9000)))
            raise RuntimeError

    assert (await ours.stands()).holds_seat
    assert await rows(ours.db, "SELECT FROM tenure.tombstones") == []
    await ours.check()


@pytest.mark.parametrize("buried", ["org_deleted", "user_deleted"])
async def test_nobody_joins_what_is_deleted(ours: Registry, buried: str) -> None:
    """M7: a late membership of a deleted user or organization makes nothing."""
    if buried == "org_deleted":
        await ours.put_org(an_org())
        await ours.drop_org(at=at(9000))
    else:
        await ours.put_user(a_user())
        await ours.drop_user(at=at(9000))

    assert await ours.put(a_membership()) == [buried]
    assert await ours.put(a_membership(), asked=False) == [buried]
    assert await ours.admit() is None

    assert await rows(ours.db, "SELECT FROM tenure.memberships") == []


async def test_nobody_joins_what_was_deleted_before_it_was_seen(ours: Registry) -> None:
    """M7: the same for one of whom nothing but the deletion ever came."""
    await ours.drop_org(at=at(9000))
    assert await ours.put(a_membership()) == ["org_deleted"]
    await ours.drop_user(2, at=at(9000))
    assert await ours.put(a_membership(2, 2)) == ["user_deleted"]

    assert await rows(ours.db, "SELECT FROM tenure.memberships") == []
    assert await rows(ours.db, "SELECT FROM tenure.users WHERE name = 'Person 2'") == []


async def test_memberships_of_one_call_are_judged_one_by_one(ours: Registry) -> None:
    """S2: one that is over does not stop the others."""
    await ours.put(a_membership(1, role="admin", version=at(1500)))
    await ours.drop(gone(2), 2)
    await ours.drop_user(3, at=at(9000))

    reasons = await ours.put(*(a_membership(user) for user in (1, 2, 3, 4)))

    assert reasons == ["older_than_known", "deleted_for_good", "user_deleted", "joined"]
    await ours.check()


async def test_a_page_that_shows_somebody_twice_counts_her_once(ours: Registry) -> None:
    """M7: two generations, or the same twice, in one page: the newest stands, with one seat."""
    reasons = await ours.put(
        a_membership(1), a_membership(1, gen=2), a_membership(1, gen=2), a_membership(1)
    )

    assert reasons == ["joined", "rejoined", "unchanged", "older_generation"]
    after = await ours.stands()
    assert (after.external_id, after.generation) == ("mem_1_1_2", 2)
    assert (await ours.seats()).used == 1
    await ours.check()


async def test_news_and_audit_are_written_with_the_change_and_only_then(ours: Registry) -> None:
    """M7: state, audit and news in one transaction; nothing new tells nothing."""
    await ours.put(a_membership())
    before = await topics(ours.db), await ours.actions()
    await ours.put(a_membership())
    await ours.put(a_membership(version=at(900)))

    assert before == (["members.changed"], ["member.joined"])
    assert (await topics(ours.db), await ours.actions()) == before


async def test_many_changes_are_told_as_one(ours: Registry) -> None:
    await ours.put(*(a_membership(user) for user in range(1, 6)))

    assert await rows(ours.db, "SELECT user_id, payload FROM tenure.news") == [
        {"user_id": None, "payload": {"count": 5}}
    ]


async def test_a_removal_for_which_we_asked_is_found_only_once(ours: Registry) -> None:
    await ours.put(a_membership())
    await ours.miss()

    again = await ours.miss()

    assert (again.verdict, again.reason) == ("unchanged", "unchanged")
    assert len(await ours.history()) == 2


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(told_twice=deliveries(), token=st.booleans())
async def test_any_order_of_events_ends_in_the_same_row(
    ours: Registry,
    told_twice: tuple[list[Shown | Ended], Sequence[Shown | Ended]],
    token: bool,  # noqa: FBT001 (drawn by hypothesis)
) -> None:
    """M7, S2: the law of the rules, held by the tables; a token in between changes nothing."""
    life, delivered = told_twice
    number = next(FRESH)
    reading = replace(ours, asked=False)
    if token:
        await reading.admit(number, number)
    for event in delivered:
        await _take(reading, event, number)

    member = await reading.member(number, number)
    last = life[-1]
    if isinstance(last, Ended):
        assert member is None or member.removed_at is not None
    else:
        seen = last.seen()
        assert member is not None
        assert (member.removed_at, member.role, member.status, member.version) == (
            None,
            seen.role,
            seen.status,
            seen.version,
        )
        assert member.external_id == _of(seen, number).id
        assert member.holds_seat is member.is_here
    await ours.check()


async def _take(ours: Registry, event: Shown | Ended, number: int) -> None:
    if isinstance(event, Shown):
        await ours.put(_of(event.seen(), number))
    else:
        over: Gone = gone(number, number, gen=event.gen)
        await ours.drop(over, number, number)


def _of(seen: SeenMembership, number: int) -> SeenMembership:
    """Make the same of another pair."""
    gen = round((seen.created_at - at(0)) / timedelta(seconds=1000))
    return a_membership(
        number, number, gen=gen, version=seen.version, role=seen.role, status=seen.status
    )
