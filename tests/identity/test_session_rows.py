from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tenure.base.db import Db, Tx
from tenure.identity import session_rows as rows
from tenure.identity.rotation import Session, Why
from tenure.identity.session_rows import Claim, Sealed

KEY, OTHER = b"k" * 32, b"o" * 32
LEASE = timedelta(seconds=9)
FIRST = Sealed(
    external_id="session_1",
    user_id="user_1",
    org_id=None,
    access_token="sealed access 1",
    refresh_token="sealed refresh 1",
    refresh_hash=b"1" * 32,
    expires_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
)
SECOND = replace(FIRST, access_token="sealed access 2", refresh_hash=b"2" * 32, org_id="org_1")
THIRD = replace(FIRST, access_token="sealed access 3", refresh_hash=b"3" * 32)


async def get(tx: Tx, key: bytes = KEY) -> Session:
    found = await rows.get_session(tx, key)
    assert found is not None
    return found


async def claimed(tx: Tx) -> Claim:
    held = await rows.claim(tx, await get(tx), lease=LEASE)
    assert held is not None
    return held


async def lapse(tx: Tx) -> None:
    await tx.execute("UPDATE tenure.sessions SET lease_until = clock_timestamp()")


@pytest.fixture
async def begun(tx: Tx) -> Tx:
    await rows.put_session(tx, KEY, FIRST)
    return tx


async def test_what_was_put_is_got(begun: Tx) -> None:
    session = await get(begun)

    assert (session.user_id, session.external_id, session.org_id) == ("user_1", "session_1", None)
    assert (session.access_token, session.refresh_hash) == (FIRST.access_token, b"1" * 32)
    assert (session.held_for, session.pause, session.in_doubt_for) == (None, None, None)
    assert await rows.get_session(begun, OTHER) is None


async def test_of_two_who_read_the_same_row_one_may_claim_it(begun: Tx) -> None:
    """M8: however they interleave."""
    session = await get(begun)

    assert await rows.claim(begun, session, lease=LEASE) is not None
    assert await rows.claim(begun, session, lease=LEASE) is None
    assert await rows.claim(begun, await get(begun), lease=LEASE) is None


async def test_a_lease_that_has_lapsed_may_be_taken_and_the_token_is_in_doubt(begun: Tx) -> None:
    """M8: the one who held it may have spent the token."""
    first = await claimed(begun)
    await lapse(begun)
    second = await claimed(begun)

    assert (first.was_in_doubt, second.was_in_doubt) == (False, True)
    assert second.in_doubt_for > first.in_doubt_for
    assert second.fence > first.fence
    assert not await rows.renew(begun, first, lease=LEASE)
    assert await rows.renew(begun, second, lease=LEASE)


async def test_what_was_read_before_somebody_gave_it_back_cannot_be_claimed(begun: Tx) -> None:
    stale = await get(begun)
    await rows.give_back(begun, await claimed(begun), is_spent=True, pause=LEASE, error="away")

    assert await rows.claim(begun, stale, lease=LEASE) is None
    session = await get(begun)
    assert session.pause is not None
    assert (session.held_for, session.failures) == (None, 1)
    assert session.in_doubt_for is not None


async def test_a_token_that_was_surely_not_spent_is_not_in_doubt(begun: Tx) -> None:
    await rows.give_back(begun, await claimed(begun), is_spent=False)

    session = await get(begun)
    assert (session.in_doubt_for, session.pause, session.failures) == (None, None, 0)


async def test_a_stalled_process_cannot_end_what_another_has_renewed(begun: Tx) -> None:
    """M8: its invalid_grant is about a token that is not stored any more."""
    stalled = await claimed(begun)
    await lapse(begun)
    other = await claimed(begun)
    assert not await rows.end_session(begun, KEY, "refused", fence=stalled.fence)
    assert await rows.put_pair(begun, other, SECOND)

    assert not await rows.end_session(begun, KEY, "refused", fence=stalled.fence)
    assert not await rows.end_session(begun, KEY, "refused", fence=other.fence)
    await rows.give_back(begun, stalled, is_spent=True, pause=LEASE, error="late")
    session = await get(begun)
    assert (session.ended_why, session.pause, session.access_token) == (
        None,
        None,
        SECOND.access_token,
    )


async def test_a_pair_that_comes_late_is_stored_while_its_token_is_still_there(begun: Tx) -> None:
    """M8: the one who claimed it since may have died; nobody else has this pair."""
    stalled = await claimed(begun)
    await lapse(begun)
    await claimed(begun)

    assert await rows.put_pair(begun, stalled, SECOND)
    session = await get(begun)
    assert (session.access_token, session.org_id) == (SECOND.access_token, "org_1")
    assert (session.held_for, session.in_doubt_for) == (None, None)


async def test_a_pair_never_replaces_a_later_one(begun: Tx) -> None:
    """M8: each pair follows just the token that it was given for."""
    stalled = await claimed(begun)
    await lapse(begun)
    assert await rows.put_pair(begun, await claimed(begun), SECOND)
    assert await rows.put_pair(begun, await claimed(begun), THIRD)

    assert not await rows.put_pair(begun, stalled, SECOND)
    assert (await get(begun)).access_token == THIRD.access_token


@pytest.mark.parametrize(
    ("why", "revives"),
    [("answer_lost", True), ("refused", False), ("signed_out", False), ("revoked", False)],
)
async def test_only_a_lost_pair_that_turns_up_brings_a_session_back(
    begun: Tx,
    why: Why,
    revives: bool,  # noqa: FBT001 (a column of the table)
) -> None:
    """M8: a process with the pair in hand was stopped for longer than the grace."""
    stalled = await claimed(begun)
    await lapse(begun)
    other = await claimed(begun)
    assert await rows.end_session(begun, KEY, why, fence=other.fence)

    assert await rows.put_pair(begun, stalled, SECOND) is revives
    assert (await get(begun)).ended_why == (None if revives else why)


async def test_a_pair_of_somebody_else_is_never_stored(begun: Tx) -> None:
    stranger = replace(SECOND, user_id="user_2")

    assert not await rows.put_pair(begun, await claimed(begun), stranger)


async def test_ended_sessions_keep_no_token_and_are_forgotten(db: Db) -> None:
    async with db.statement() as tx:
        await rows.put_session(tx, KEY, FIRST)
        await rows.put_session(tx, OTHER, THIRD)
        assert await rows.end_session(tx, KEY, "signed_out", revoke=True)
        assert not await rows.end_session(tx, KEY, "revoked")
        assert await rows.drop_ended(tx, kept=timedelta(0), limit=9) == 0  # still to be revoked
        assert await rows.list_to_revoke(tx, limit=9) == [(KEY, "session_1")]
        await rows.put_revoked(tx, KEY)
        assert (await get(tx)).refresh_token is None
        assert await rows.drop_ended(tx, kept=timedelta(minutes=1), limit=9) == 0
        assert await rows.drop_ended(tx, kept=timedelta(0), limit=9) == 1
        assert await rows.drop_unused(tx, kept=timedelta(minutes=1), limit=9) == 0
        assert await rows.drop_unused(tx, kept=timedelta(0), limit=9) == 1
        await rows.put_session(tx, KEY, FIRST)
        assert await rows.drop_of_user(tx, "user_2") == 0
        assert await rows.drop_of_user(tx, "user_1") == 1


@pytest.mark.parametrize("role", ["tenure_app", "tenure_reader"])
async def test_only_the_service_itself_reads_sessions(begun: Tx, role: str) -> None:
    """A10, M8: not even sealed."""
    await begun.execute("SELECT set_config('role', %s, true)", (role,))

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await begun.execute("SELECT FROM tenure.sessions")


async def test_the_worker_s_rights_are_enough(begun: Tx) -> None:
    """A10: no superuser, no owner."""
    await begun.execute("SET LOCAL ROLE tenure_worker")
    await rows.put_session(begun, OTHER, SECOND)
    held = await claimed(begun)
    await rows.put_pair(begun, held, THIRD)
    await rows.end_session(begun, OTHER, "signed_out")

    assert await rows.list_in_doubt(begun, within=LEASE, limit=1) == []
    assert await rows.drop_unused(begun, kept=timedelta(0), limit=9) == 1
