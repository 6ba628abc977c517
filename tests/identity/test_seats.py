"""Seats: counted where members are written, never above the limit, and always explained."""

import asyncio
from dataclasses import replace
from itertools import count
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenure.base.db import Db, open_pool
from tenure.base.ids import RandomIds
from tenure.identity.errors import NoFreeSeat
from tenure.identity.model import OrgId, Seats, Status
from tenure.identity.seats import SeatDesk, refuse_full

from .builders import DEACTIVATE, NOON, Registry, a_membership, a_user, an_org, at, gone, rows

PEOPLE = 5
FRESH = count(100)  # an organization of its own for every example


@pytest.fixture
def ours(db: Db) -> Registry:
    return Registry(db=db)


def desk(ours: Registry, **changes: Any) -> SeatDesk:
    return SeatDesk(db=ours.db, clock=ours.clock, ids=ours.ids, **changes)


async def an_organization(ours: Registry, *, limit: int | None, org: int = 1) -> OrgId:
    await ours.put_org(an_org(org))
    await ours.limit(limit, org)
    found = await ours.org_id(org)
    assert found is not None
    return found


async def waiting(ours: Registry) -> list[str]:
    """Name the users who are beyond the limit."""
    found = await rows(
        ours.db,
        """
        SELECT i.external_id FROM tenure.memberships m
          JOIN tenure.identities i ON i.user_id = m.user_id
         WHERE NOT m.holds_seat AND m.status IN ('pending', 'active') ORDER BY i.external_id
        """,
    )
    return [row["external_id"] for row in found]


async def test_fifty_joins_at_once_get_exactly_the_seats_there_are(
    ours: Registry, url: str
) -> None:
    """M7: aurora#474: 50 transactions at once, 5 seats: 5 hold one, 45 are kept without."""
    await an_organization(ours, limit=5)
    async with open_pool(url, size=12, timeout=60) as pool:
        many = replace(ours, db=Db(pool), ids=RandomIds())
        reasons = await asyncio.gather(*(many.put(a_membership(user)) for user in range(1, 51)))

    assert reasons == [["joined"]] * 50
    assert len(await ours.holders()) == 5
    assert len(await waiting(ours)) == 45
    seats = await ours.seats()
    assert (seats.used, seats.seat_limit, seats.free) == (5, 5, 0)
    await ours.check()


async def test_joins_and_leaves_at_once_keep_the_count(ours: Registry, url: str) -> None:
    """M7: miru-web#2407: the counter is never a step away from the rows."""
    await an_organization(ours, limit=7)
    await ours.put(*(a_membership(user) for user in range(1, 11)))
    async with open_pool(url, size=12, timeout=60) as pool:
        many = replace(ours, db=Db(pool), ids=RandomIds())
        await asyncio.gather(
            *(many.drop(gone(user), user) for user in range(1, 6)),
            *(many.put(a_membership(user)) for user in range(11, 21)),
        )

    assert (await ours.seats()).used == 7
    assert len(await waiting(ours)) == 8
    await ours.check()


async def test_a_seat_that_becomes_free_goes_to_whoever_waits_longest(ours: Registry) -> None:
    """M6: not to whoever happens to join next."""
    await an_organization(ours, limit=1)
    for user, born in ((1, 100), (2, 300), (3, 200)):
        await ours.put(a_membership(user, created_at=at(born)))
    assert await ours.holders() == {"user_1"}

    await ours.drop(gone(1), 1)
    assert await ours.holders() == {"user_3"}
    await ours.drop_user(3, at=at(9000))
    assert await ours.holders() == {"user_2"}

    told = (await ours.history(2))[-1]
    assert (told.seat, told.cause) == ((False, True), "seats")
    await ours.check()


async def test_who_joined_again_waits_behind_those_who_stayed(ours: Registry) -> None:
    """M6: her first life does not count."""
    await an_organization(ours, limit=1)
    await ours.put(a_membership(1, created_at=at(100)))
    await ours.put(a_membership(2, created_at=at(200)))
    await ours.drop(gone(2), 2)
    await ours.put(a_membership(3, created_at=at(300)))
    await ours.put(a_membership(2, gen=2, created_at=at(2000)))

    await ours.drop(gone(1), 1)

    assert await ours.holders() == {"user_3"}


async def test_within_one_change_the_longest_waiting_comes_first(ours: Registry) -> None:
    """M6: also when the change touches her herself, and when somebody new comes with it."""
    await an_organization(ours, limit=1)
    for user in (1, 2, 3):
        await ours.put(a_membership(user, created_at=at(user)))

    await ours.put(
        a_membership(4, created_at=at(0)),  # new to us, however old
        a_membership(3, created_at=at(3), role="admin", version=at(2000)),
        a_membership(2, created_at=at(2), role="admin", version=at(2000)),
        a_membership(1, created_at=at(1), status=Status.INACTIVE, version=at(2000)),
    )

    assert await ours.holders() == {"user_2"}
    await ours.check()


@pytest.mark.parametrize("end", ["inactive", "deleted", "missing", "user_deleted"])
async def test_whoever_is_not_here_holds_no_seat(ours: Registry, end: str) -> None:
    """M6: better-auth#10080: inactive and removed members are not counted."""
    workos = replace(ours, provider="workos")
    await workos.put_org(an_org())
    await workos.put(a_membership(1), a_membership(2))
    if end == "inactive":
        await workos.put(a_membership(1, status=Status.INACTIVE, version=at(1500)))
    elif end == "deleted":
        await workos.drop(gone(1), 1)
    elif end == "missing":
        await workos.miss(1)
    else:
        await workos.drop_user(1, at=at(9000))

    assert await workos.holders() == {"user_2"}
    assert (await workos.seats()).used == 1
    await ours.check()


async def test_an_invited_member_holds_a_seat(ours: Registry) -> None:
    """M6: it is promised to her; when she takes it up nothing is counted twice."""
    await an_organization(ours, limit=1)
    await ours.put(a_membership(1, status=Status.PENDING))
    assert (await ours.seats()).used == 1
    await ours.put(a_membership(1, version=at(1100)))
    assert (await ours.seats()).used == 1
    await ours.check()


@pytest.mark.parametrize(
    ("provider", "status", "wish"),
    [
        ("workos", Status.ACTIVE, "inactive"),
        ("workos", Status.PENDING, "removed"),
        ("clerk", Status.ACTIVE, "removed"),
    ],
)
async def test_where_the_limit_deactivates_whoever_is_beyond_it_is_shut_out(
    ours: Registry, provider: str, status: Status, wish: str
) -> None:
    """M10: TENURE_OVER_LIMIT: out here at once, and the provider is asked to follow."""
    strict = replace(ours, provider=provider, policy=DEACTIVATE)
    await an_organization(strict, limit=1)
    await strict.put(a_membership(1))

    await strict.put(a_membership(2, status=status))

    out = await strict.stands(2)
    assert (out.status, out.wish, out.wished_by) == (Status.INACTIVE, wish, "tenure:seat_limit")
    told = await rows(ours.db, "SELECT payload FROM tenure.news WHERE topic = 'member.wished'")
    assert [row["payload"] for row in told] == [{"provider": provider, "membership": str(out.id)}]
    assert (await strict.stands(1)).status is Status.ACTIVE
    await ours.check()


async def test_where_the_limit_is_tolerated_whoever_is_beyond_it_stays(ours: Registry) -> None:
    """M10: the default: kept, without a seat, and nothing is asked of the provider."""
    await an_organization(ours, limit=1)
    await ours.put(a_membership(1), a_membership(2))

    beyond = await ours.stands(2)
    assert (beyond.status, beyond.holds_seat, beyond.wish) == (Status.ACTIVE, False, None)


async def test_lowering_the_limit_takes_seats_from_the_last_who_came(ours: Registry) -> None:
    """M6: nobody is thrown out, and nobody's seat depends on chance."""
    org = await an_organization(ours, limit=None)
    await ours.put(*(a_membership(user, created_at=at(user)) for user in (3, 1, 2)))

    await desk(ours).fix(org, 2, actor="ops:1")
    assert await ours.holders() == {"user_1", "user_2"}
    await desk(ours).fix(org, 0, actor="ops:1")
    assert await ours.holders() == set()
    raised = await desk(ours).fix(org, 1, actor="ops:1")

    assert await ours.holders() == {"user_1"}
    assert (raised.used, raised.fixed, raised.seat_limit) == (1, 1, 1)
    assert await waiting(ours) == ["user_2", "user_3"]
    await ours.check()


async def test_a_limit_set_by_hand_beats_what_was_bought_until_it_is_taken_back(
    ours: Registry,
) -> None:
    org = await an_organization(ours, limit=None)
    await ours.put(*(a_membership(user) for user in (1, 2, 3)))
    await ours.limit(2, bought=True)
    assert (await ours.seats()).used == 2

    by_hand = await desk(ours).fix(org, 3, actor="ops:1")
    assert (by_hand.seat_limit, by_hand.used) == (3, 3)
    back = await desk(ours).fix(org, None, actor="ops:1")

    assert (back.seat_limit, back.used) == (2, 2)
    await ours.check()


async def test_a_limit_is_told_with_who_set_it(ours: Registry) -> None:
    org = await an_organization(ours, limit=None)
    await desk(ours).fix(org, 2, actor="ops:1")

    told = await rows(
        ours.db, "SELECT actor, details FROM tenure.audit_log WHERE action = 'seats.limited'"
    )
    assert told == [{"actor": "ops:1", "details": {"limit": 2}}]


async def test_seats_are_explained(ours: Registry) -> None:
    """M6: who holds one, who waits, and whether the count is right."""
    org = await an_organization(ours, limit=1)
    await ours.put(a_membership(1, created_at=at(1)), a_membership(2, created_at=at(2)))

    told = await desk(ours).explain(org)

    assert told is not None
    assert [m.external_id for m in told.holders] == ["mem_1_1_1"]
    assert [m.external_id for m in told.waiting] == ["mem_1_2_1"]
    assert told.is_right
    assert await desk(ours).explain(OrgId(RandomIds().uuid())) is None


async def test_a_wrong_count_is_found_and_setting_the_limit_corrects_it(ours: Registry) -> None:
    org = await an_organization(ours, limit=5)
    await ours.put(a_membership(1))
    await rows(ours.db, "UPDATE tenure.seats SET used = 4 RETURNING 1")
    told = await desk(ours).explain(org)
    assert told is not None
    assert not told.is_right

    await desk(ours).fix(org, 5, actor="ops:1")
    await ours.check()


async def test_the_database_itself_refuses_a_seat_too_many(ours: Registry) -> None:
    """A10, M7: a CHECK, whatever the program thinks."""
    await an_organization(ours, limit=1)
    await ours.put(a_membership(1))

    with pytest.raises(psycopg.errors.CheckViolation):
        await rows(ours.db, "UPDATE tenure.seats SET used = 2 RETURNING 1")
    with pytest.raises(psycopg.errors.CheckViolation):
        await rows(ours.db, "UPDATE tenure.seats SET fixed = 0 RETURNING 1")
    with pytest.raises(psycopg.errors.CheckViolation):
        await rows(ours.db, "UPDATE tenure.memberships SET status = 'inactive' RETURNING 1")


async def test_every_organization_has_its_seats_from_the_first_moment(ours: Registry) -> None:
    await ours.put_org(an_org())

    seats = await ours.seats()
    assert (seats.used, seats.seat_limit, seats.free) == (0, None, None)


def some_seats(used: int, limit: int | None) -> Seats:
    return Seats(
        org_id=OrgId(RandomIds().uuid()),
        bought=limit,
        fixed=None,
        seat_limit=limit,
        used=used,
        version=1,
    )


@given(used=st.integers(0, 9), limit=st.none() | st.integers(0, 9), invited=st.integers(0, 9))
def test_somebody_may_join_while_members_and_invited_are_fewer_than_the_seats(
    used: int, limit: int | None, invited: int
) -> None:
    """M6: chmonitor#2070: no off-by-one."""
    full = limit is not None and used + invited >= limit
    if not full:
        refuse_full(some_seats(used, limit), invited=invited)
        return
    with pytest.raises(NoFreeSeat) as refused:
        refuse_full(some_seats(used, limit), invited=invited)
    assert refused.value.facts == {"used": used, "limit": limit, "invited": invited}


PERSON = st.integers(1, PEOPLE)
STEP = st.one_of(
    st.tuples(st.just("join"), PERSON, st.sampled_from([*Status])),
    st.tuples(st.just("again"), PERSON, st.just(None)),
    st.tuples(st.just("drop"), PERSON, st.just(None)),
    st.tuples(st.just("miss"), PERSON, st.just(None)),
    st.tuples(st.just("token"), PERSON, st.just(None)),
    st.tuples(st.just("fix"), st.none() | st.integers(0, 4), st.just(None)),
    st.tuples(st.just("buy"), st.none() | st.integers(0, 4), st.just(None)),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEP, max_size=14), strict=st.booleans())
async def test_after_any_life_the_counter_says_what_the_rows_say(
    ours: Registry,
    steps: list[tuple[Any, ...]],
    strict: bool,  # noqa: FBT001 (drawn by hypothesis)
) -> None:
    """M6, M7: and while somebody waits no seat is free, unless the limit shuts people out."""
    org = next(FRESH)
    live = replace(ours, policy=DEACTIVATE) if strict else ours
    await live.put_org(an_org(org))
    clock = count(1)
    gens = dict.fromkeys(range(1, PEOPLE + 1), 1)
    for what, who, status in steps:
        await _step(live, org, (what, who, status), gens, next(clock))
        await live.check()
        assert await _is_fair(live, org)


async def _step(
    ours: Registry, org: int, step: tuple[Any, ...], gens: dict[int, int], tick: int
) -> None:
    what, who, status = step
    if what in {"fix", "buy"}:
        await ours.limit(who, org, bought=what == "buy")
        return
    user = org * 100 + who
    if what == "again":
        gens[who] += 1
    shown = a_membership(user, org, gen=gens[who], version=at(gens[who] * 1000 + tick))
    if what in {"join", "again"}:
        await ours.put(replace(shown, status=status or Status.ACTIVE))
    elif what == "drop":
        await ours.drop(gone(user, org, gen=gens[who]), user, org)
    elif what == "miss":
        await ours.miss(user, org)
    else:
        await ours.admit(user, org)


async def _is_fair(ours: Registry, org: int) -> bool:
    seats = await ours.seats(org)
    left = await rows(
        ours.db,
        """
        SELECT 1 FROM tenure.memberships
         WHERE org_id = %s AND NOT holds_seat AND status IN ('pending', 'active')
        """,
        seats.org_id,
    )
    return not left or seats.free == 0


async def test_who_is_only_named_is_not_counted_before_she_joins(ours: Registry) -> None:
    await ours.put_user(a_user(version=NOON))
    await ours.put_org(an_org())

    assert (await ours.seats()).used == 0
