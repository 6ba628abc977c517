"""What was decided, and why: found by subject and by owner, counted, and forgotten in time."""

from datetime import timedelta
from uuid import UUID

from tenure.base.db import Db, Tx
from tenure.identity import decisions
from tenure.identity.act import decided
from tenure.identity.rules import Fate
from tenure.journal.model import Subject

from .builders import HOUR, NOON, rows

PAIR, OTHER = Subject("clerk.membership", "org_1/user_1"), Subject("clerk.user", "user_1")
ORG, USER = UUID(int=1), UUID(int=2)


async def put(tx: Tx, subject: Subject, reason: str, **changes: object) -> None:
    base = {"verdict": "applied", "org_id": ORG, "user_id": USER}
    made = decided(reason, **base | changes)  # type: ignore[arg-type]
    await decisions.append(tx, [(subject, made)], at=NOON, seq=3)


async def test_what_was_decided_is_found_by_its_subject_oldest_first(tx: Tx) -> None:
    """M7: with the look that decided, and its details."""
    await put(tx, PAIR, "joined", details={"id": "mem_1"})
    await put(tx, OTHER, "changed")
    await put(tx, PAIR, "older_than_known", verdict="ignored")

    first, second = await decisions.list_of_subject(tx, PAIR)

    assert (first.verdict, first.reason, first.details, first.seq, first.at) == (
        "applied",
        "joined",
        {"id": "mem_1"},
        3,
        NOON,
    )
    assert (second.verdict, second.reason) == ("ignored", "older_than_known")
    assert await decisions.list_of_subject(tx, PAIR, from_seq=4) == []
    assert len(await decisions.list_of_subject(tx, PAIR, limit=1)) == 1


async def test_what_was_decided_is_found_by_whom_it_is_about_newest_first(tx: Tx) -> None:
    await put(tx, PAIR, "joined")
    await put(tx, OTHER, "changed", org_id=None)

    of_user = await decisions.list_of_owner(tx, user_id=USER)
    of_org = await decisions.list_of_owner(tx, org_id=ORG)

    assert [one.reason for one in of_user] == ["changed", "joined"]
    assert [one.reason for one in of_org] == ["joined"]
    assert await decisions.list_of_owner(tx, org_id=UUID(int=9)) == []


async def test_decisions_are_counted_by_reason_provider_and_time(tx: Tx) -> None:
    """M10: what the absence limit stands on."""
    await put(tx, PAIR, "missing_at_provider")
    await put(tx, OTHER, "missing_at_provider")
    await put(tx, Subject("workos.user", "user_1"), "missing_at_provider")
    await put(tx, PAIR, "older_than_known", verdict="ignored")

    async def count(provider: str, since: timedelta) -> int:
        return await decisions.count_of(
            tx, provider, reason="missing_at_provider", since=NOON + since
        )

    assert await count("clerk", -HOUR) == 2
    assert await count("workos", -HOUR) == 1
    assert await count("clerk", timedelta(0)) == 0
    assert await decisions.count_ignored(tx, PAIR, since=NOON - HOUR) == 1
    assert await decisions.count_ignored(tx, OTHER, since=NOON - HOUR) == 0


async def test_old_decisions_are_forgotten_a_few_at_a_time(db: Db) -> None:
    async with db.transaction() as tx:
        for _ in range(5):
            await put(tx, PAIR, "joined")
        await tx.execute("UPDATE tenure.decisions SET at = clock_timestamp() WHERE id % 5 = 0")
    async with db.statement() as tx:
        dropped = [await decisions.drop_old(tx, kept=timedelta(days=1), limit=3) for _ in range(3)]

    assert dropped == [3, 1, 0]
    assert len(await rows(db, "SELECT 1 FROM tenure.decisions")) == 1


def test_a_fate_says_itself_what_was_made_of_it() -> None:
    """M7: no decision is told as applied that wrote nothing."""
    for fate in Fate:
        verdict = decided(fate).verdict
        assert (verdict == "applied") == fate.writes
        assert (verdict == "unchanged") == (fate is Fate.SAME)
