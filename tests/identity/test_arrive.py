import asyncio
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import pytest

from tenure.base.clock import StoppedClock
from tenure.base.db import Db, Scope, open_pool
from tenure.base.ids import CountedIds, RandomIds
from tenure.identity import arrive as just_in_time
from tenure.identity.claims import Principal
from tests.journal.builders import row, rows

from .builders import Registry, a_membership, gone

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COUNTS: LiteralString = """
    SELECT (SELECT count(*) FROM tenure.users) AS users,
           (SELECT count(*) FROM tenure.organizations) AS organizations,
           (SELECT count(*) FROM tenure.memberships) AS memberships,
           (SELECT count(*) FROM tenure.identities) AS identities
    """


def a_principal(**changes: object) -> Principal:
    base: dict[str, object] = {
        "provider": "clerk",
        "issuer": "https://issuer.test",
        "user_id": "user_1",
        "session_id": "sess_1",
        "org_id": "org_1",
        "org_slug": "engines",
        "role": "admin",
        "permissions": frozenset(),
        "actor": None,
        "issued_at": NOON,
        "expires_at": NOON,
    }
    return Principal(**base | changes)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock(NOON)


async def arrive(db: Db, clock: StoppedClock, **changes: object) -> Scope:
    return await just_in_time.arrive(db, clock, RandomIds(), a_principal(**changes))


async def counts(db: Db) -> tuple[int, ...]:
    return tuple((await row(db, COUNTS)).values())


async def set_member(db: Db, **changes: str) -> None:
    async with db.statement() as tx:
        await tx.execute(
            """
            UPDATE tenure.memberships SET status = coalesce(%(status)s, status),
                                          role = coalesce(%(role)s, role),
                                          holds_seat = holds_seat AND %(status)s IS NULL
            """,
            {"status": None, "role": None} | changes,
        )


async def test_who_comes_for_the_first_time_gets_rows(db: Db, clock: StoppedClock) -> None:
    scope = await arrive(db, clock)

    assert await counts(db) == (1, 1, 1, 2)
    assert scope.role == "admin"
    member = await row(db, "SELECT * FROM tenure.memberships")
    assert (member["org_id"], member["user_id"]) == (scope.org_id, scope.user_id)
    assert (member["role"], member["status"]) == ("admin", "active")
    org = await row(db, "SELECT name, slug FROM tenure.organizations")
    assert org == {"name": "engines", "slug": "engines"}


async def test_who_comes_again_finds_the_same_rows_and_writes_nothing(
    db: Db, clock: StoppedClock
) -> None:
    first = await arrive(db, clock)
    before = await rows(db, "SELECT xmin::text FROM tenure.memberships")

    assert await arrive(db, clock) == first

    assert await rows(db, "SELECT xmin::text FROM tenure.memberships") == before
    assert await counts(db) == (1, 1, 1, 2)


async def test_fifty_arrivals_at_once_make_one_user_one_organization_one_membership(
    db: Db, url: str, clock: StoppedClock
) -> None:
    """T6: double clicks and many nodes make no second row."""
    async with open_pool(url, size=8, timeout=30) as other:
        scopes = await asyncio.gather(
            *(arrive(one, clock) for one in [db, Db(other)] for _ in range(25))
        )

    assert len(set(scopes)) == 1
    assert await counts(db) == (1, 1, 1, 2)
    told = await rows(db, "SELECT action FROM tenure.audit_log ORDER BY seq")
    assert [line["action"] for line in told] == ["organization.created", "member.joined"]


async def test_many_people_of_many_organizations_at_once(
    db: Db, url: str, clock: StoppedClock
) -> None:
    pairs = [(f"user_{u}", f"org_{o}") for u in range(6) for o in range(4)]
    async with open_pool(url, size=8, timeout=30) as other:
        await asyncio.gather(
            *(
                arrive(one, clock, user_id=user, org_id=org)
                for user, org in pairs
                for one in (db, Db(other))
            )
        )

    assert await counts(db) == (6, 4, 24, 10)


async def test_who_acts_for_herself_gets_no_organization(db: Db, clock: StoppedClock) -> None:
    scope = await arrive(db, clock, org_id=None, org_slug=None, role=None)

    assert (scope.org_id, scope.role) == (None, None)
    assert await counts(db) == (1, 0, 0, 1)


async def test_a_later_organization_joins_the_same_user(db: Db, clock: StoppedClock) -> None:
    alone = await arrive(db, clock, org_id=None)
    later = await arrive(db, clock, org_slug=None, role=None)

    assert later.user_id == alone.user_id
    assert later.role == "member"
    assert (await row(db, "SELECT name FROM tenure.organizations")) == {"name": "org_1"}


@pytest.mark.parametrize("status", ["inactive", "pending"])
async def test_who_was_removed_stays_removed_however_good_the_token(
    db: Db, clock: StoppedClock, status: str
) -> None:
    """M6: a token never brings a membership back."""
    await arrive(db, clock)
    await set_member(db, status=status)

    scope = await arrive(db, clock)

    assert scope.role is None
    assert (await row(db, "SELECT status FROM tenure.memberships")) == {"status": status}


async def test_the_role_is_the_rows_and_not_the_tokens(db: Db, clock: StoppedClock) -> None:
    """T6: the token is no second source of truth."""
    await arrive(db, clock)
    await set_member(db, role="viewer")

    assert (await arrive(db, clock, role="admin")).role == "viewer"
    assert (await row(db, "SELECT role FROM tenure.memberships")) == {"role": "viewer"}


async def test_the_same_id_at_another_provider_is_somebody_else(
    db: Db, clock: StoppedClock
) -> None:
    one = await arrive(db, clock)
    two = await arrive(db, clock, provider="workos")

    assert one.user_id != two.user_id
    assert one.org_id != two.org_id


async def test_an_arrival_is_told_in_the_audit_log_with_time_and_actor(
    db: Db, clock: StoppedClock, ids: CountedIds
) -> None:
    """M7: and as caused by a token, which she brought."""
    scope = await just_in_time.arrive(db, clock, ids, a_principal())

    lines = await rows(db, "SELECT at, actor, action, details FROM tenure.audit_log ORDER BY seq")
    assert [line["at"] for line in lines] == [NOON] * 2
    assert lines[1]["actor"] == f"user:{scope.user_id}"
    assert [line["action"] for line in lines] == ["organization.created", "member.joined"]
    assert lines[1]["details"] == {
        "role": "admin",
        "status": "active",
        "seat": True,
        "cause": "token",
    }


async def test_who_arrives_takes_a_seat_only_if_there_is_one(db: Db, clock: StoppedClock) -> None:
    """M6: a token is as good a way in as any other, and no better."""
    await arrive(db, clock)
    await rows(db, "UPDATE tenure.seats SET fixed = 1 RETURNING 1")

    scope = await arrive(db, clock, user_id="user_2")

    assert scope.role == "admin"
    held = await rows(db, "SELECT holds_seat FROM tenure.memberships ORDER BY created_at, id")
    assert sorted(row["holds_seat"] for row in held) == [False, True]


async def due(db: Db) -> set[str]:
    found = await rows(db, "SELECT kind, id FROM tenure.subjects WHERE dirty_seq > settled_seq")
    return {f"{row['kind']} {row['id']}" for row in found}


async def settle(db: Db, at: datetime) -> None:
    """Let everything have been looked at."""
    await rows(
        db,
        """
        UPDATE tenure.subjects
           SET settled_seq = dirty_seq, claimed_seq = dirty_seq, settled_at = %s RETURNING 1
        """,
        at,
    )


async def test_whoever_only_a_token_told_of_is_asked_for(db: Db, clock: StoppedClock) -> None:
    """S2, M6: the row is provisional: the provider confirms it, or takes it away."""
    await arrive(db, clock)

    assert await due(db) == {"clerk.user user_1", "clerk.membership org_1/user_1"}


async def test_a_token_and_a_row_that_differ_ask_the_provider_once(
    db: Db, clock: StoppedClock
) -> None:
    """T6: the row decides; however often the same token comes, one look is enough."""
    await arrive(db, clock)
    await set_member(db, role="viewer")
    await settle(db, NOON - timedelta(seconds=1))

    await arrive(db, clock)
    assert await due(db) == {"clerk.membership org_1/user_1"}
    await settle(db, NOON + timedelta(seconds=1))
    for _ in range(3):
        await arrive(db, clock)
    assert await due(db) == set()

    await arrive(db, clock, issued_at=NOON + timedelta(minutes=1))  # the next token still differs
    assert await due(db) == {"clerk.membership org_1/user_1"}


async def test_a_token_and_a_row_that_agree_ask_nobody(db: Db, clock: StoppedClock) -> None:
    await arrive(db, clock)
    await settle(db, NOON)

    await arrive(db, clock)

    assert await due(db) == set()


@pytest.mark.parametrize("how", ["event", "asked", "before we knew her"])
async def test_a_removed_member_is_not_brought_back_by_her_token(
    db: Db, clock: StoppedClock, how: str
) -> None:
    """M7: gram#6053: neither a row that is over, nor the tombstone of one we never saw."""
    ours = Registry(db=db, clock=clock)
    if how != "before we knew her":
        await ours.put(a_membership())
    if how == "asked":
        await ours.miss()
    else:
        await ours.drop(gone())
    before = await rows(db, "SELECT * FROM tenure.memberships")

    for _ in range(2):
        scope = await arrive(db, clock)
        assert scope.role is None

    assert await rows(db, "SELECT * FROM tenure.memberships") == before
    assert "clerk.membership org_1/user_1" in await due(db)  # she may have joined again


@pytest.mark.parametrize("over", ["user", "org"])
@pytest.mark.parametrize("was_known", [True, False])
async def test_nobody_and_nothing_deleted_is_brought_back_by_a_token(
    db: Db,
    clock: StoppedClock,
    over: str,
    was_known: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """M7: a token outlives the user and the organization that it names."""
    ours = Registry(db=db, clock=clock)
    if was_known:
        await ours.put(a_membership())
    await (ours.drop_user(at=NOON) if over == "user" else ours.drop_org(at=NOON))
    before = await counts(db)

    assert (await arrive(db, clock)).role is None

    assert await counts(db) == before
    standing = await rows(db, "SELECT 1 FROM tenure.memberships WHERE removed_at IS NULL")
    assert standing == []


async def test_a_deleted_user_without_an_organization_is_not_brought_back(
    db: Db, clock: StoppedClock
) -> None:
    """M7: who acts for herself."""
    await Registry(db=db, clock=clock).drop_user(at=NOON)

    scope = await arrive(db, clock, org_id=None, org_slug=None, role=None)

    assert scope.user_id is None
    assert await counts(db) == (0, 0, 0, 0)


async def test_a_token_that_races_a_deletion_leaves_no_membership(
    db: Db, clock: StoppedClock
) -> None:
    """M7: whichever comes first, she is out at the end."""
    ours = Registry(db=db, clock=clock, ids=RandomIds())
    for number in range(20):
        name = {"user_id": f"user_{number}"}
        await asyncio.gather(
            arrive(db, clock, **name),
            ours.drop_user(number, at=NOON),
            arrive(db, clock, **name),
        )

    assert await rows(db, "SELECT 1 FROM tenure.memberships WHERE removed_at IS NULL") == []
    await ours.check()
