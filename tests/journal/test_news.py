import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from tenure.base.db import Db, open_pool
from tenure.journal import news, relay
from tenure.journal.model import News, Subject
from tenure.journal.retain import retain

from .builders import (
    JOB,
    KIND,
    a_knock,
    a_subject,
    claim_one,
    forget_jobs,
    put,
    row,
    rows,
    settle,
    waiting_jobs,
)

A = UUID(int=0xA)
DAY = timedelta(days=1)
AGE: LiteralString = """
    UPDATE tenure.inbox SET received_at = received_at - interval '9 days';
    UPDATE tenure.news SET sent_at = sent_at - interval '9 days', at = at - interval '9 days'
    """


async def tell(db: Db, *topics: str, **more: object) -> None:
    async with db.transaction() as tx:
        for topic in topics:
            await news.append(tx, topic, org_id=A, payload=more)


def to_customer(item: News) -> Sequence[Subject]:
    return [Subject(KIND, str(item.payload["customer"]))]


async def test_news_is_passed_on_once_and_marks_what_its_route_says(db: Db) -> None:
    """M6: news goes up: each kind of news marks the subjects that must act on it."""
    await tell(db, "customer.created", customer="cus_1")
    await tell(db, "nobody.cares", customer="cus_2")
    assert await waiting_jobs(db) == ["relay"]

    assert await relay.relay(db, {"customer.created": to_customer}) == 2
    assert await relay.relay(db, {"customer.created": to_customer}) == 0

    assert await rows(db, "SELECT kind, id, dirty_seq FROM tenure.subjects") == [
        {"kind": KIND, "id": "cus_1", "dirty_seq": 1}
    ]
    assert JOB in await waiting_jobs(db)


async def test_a_route_gets_the_news_as_it_was_written(db: Db) -> None:
    seen: list[News] = []
    await tell(db, "a", n=1)
    await tell(db, "b", n=2)

    def keep(item: News) -> Sequence[Subject]:
        seen.append(item)
        return ()

    await relay.relay(db, {"a": keep, "b": keep})

    assert [(one.topic, one.org_id, one.user_id, one.payload) for one in seen] == [
        ("a", A, None, {"n": 1}),
        ("b", A, None, {"n": 2}),
    ]


async def test_rolled_back_news_is_never_passed_on(db: Db) -> None:
    async with db.transaction() as tx:
        await news.append(tx, "a")
        raise psycopg.Rollback

    assert await relay.relay(db, {}) == 0
    assert await waiting_jobs(db) == []


async def test_news_that_is_not_committed_is_not_passed_on_yet(db: Db, url: str) -> None:
    async with open_pool(url, size=2) as other:
        async with Db(other).transaction() as tx:
            await news.append(tx, "early")
            await tx.execute("DELETE FROM procrastinate.procrastinate_jobs")  # holds no lock then
            await relay.relay(db, {})
        assert await row(db, "SELECT topic, sent_at FROM tenure.news") == {
            "topic": "early",
            "sent_at": None,
        }
        assert await relay.relay(db, {}) == 1


async def test_two_relays_at_once_pass_each_piece_of_news_once(
    db: Db, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "BATCH", 7)
    await tell(db, *(["a"] * 100))
    passed: Counter[int] = Counter()

    def count(item: News) -> Sequence[Subject]:
        passed[item.id] += 1
        return [a_subject(item.id % 3)]

    async with open_pool(url, size=4) as other:
        sums = await asyncio.gather(
            *(relay.relay(one, {"a": count}) for one in [db, Db(other)] * 3)
        )

    assert sum(sums) == len(passed) == 100
    assert set(passed.values()) == {1}


async def test_news_whose_marks_fail_is_passed_on_by_the_next_relay(db: Db) -> None:
    await tell(db, "a", customer="cus_1")

    def broken(_: News) -> Sequence[Subject]:
        raise LookupError

    with pytest.raises(LookupError):
        await relay.relay(db, {"a": broken})

    assert await relay.relay(db, {"a": to_customer}) == 1
    assert len(await rows(db, "SELECT FROM tenure.subjects")) == 1


async def test_news_whose_wake_was_lost_is_woken_by_the_tick(db: Db) -> None:
    async with db.transaction() as tx:
        await news.append(tx, "thing.changed")
    await forget_jobs(db)

    async with db.statement() as tx:
        await news.wake_unsent(tx)

    assert await waiting_jobs(db) == ["relay"]


async def test_listeners_hear_of_news_at_its_commit_and_not_before(db: Db, url: str) -> None:
    """M6: caches are dropped by NOTIFY, after the commit."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as listener:
        await listener.execute("LISTEN tenure_news")
        async with db.transaction() as tx:
            await news.append(tx, "subscription.changed", org_id=A, payload={"secret": "kept"})
            assert [n async for n in listener.notifies(timeout=0.1, stop_after=1)] == []
        async with db.transaction() as tx:
            await news.append(tx, "taken.back")
            raise psycopg.Rollback
        await tell(db, "last")
        heard = [n async for n in listener.notifies(timeout=10, stop_after=2)]

    assert [notice.channel for notice in heard] == [news.CHANNEL] * 2
    assert [json.loads(notice.payload) for notice in heard] == [
        {"topic": "subscription.changed", "org_id": str(A), "user_id": None},
        {"topic": "last", "org_id": str(A), "user_id": None},
    ]


async def drop_old(db: Db) -> dict[str, int]:
    return await retain(db, inbox_kept=7 * DAY, news_kept=7 * DAY)


async def test_settled_events_and_sent_news_are_dropped_when_they_are_old(db: Db) -> None:
    """S6: retention runs by itself."""
    await put(db, a_knock(1), a_knock(2, subject=None, note="unknown kind"))
    await settle(db, await claim_one(db))
    await tell(db, "a")
    await relay.relay(db, {})
    assert await drop_old(db) == {"inbox": 0, "news": 0}

    async with db.statement() as tx:
        await tx.execute(AGE)

    assert await drop_old(db) == {"inbox": 2, "news": 1}
    assert await rows(db, "SELECT FROM tenure.inbox") == []


async def test_what_is_not_settled_or_not_sent_is_never_dropped(db: Db) -> None:
    """S6, B2: old is not enough: what is still due is evidence that is needed."""
    await put(db, a_knock(1))
    claim = await claim_one(db)
    await put(db, a_knock(2))  # during the look
    await settle(db, claim)
    await put(db, a_knock(3, subject=a_subject(2)))
    await tell(db, "a")
    async with db.statement() as tx:
        await tx.execute(AGE)

    assert await drop_old(db) == {"inbox": 1, "news": 0}

    left = await rows(db, "SELECT event_id FROM tenure.inbox ORDER BY 1")
    assert [one["event_id"] for one in left] == ["evt_2", "evt_3"]


async def test_retention_works_in_bounded_transactions(
    db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenure.journal.retain.BATCH", 10)
    await put(db, *(a_knock(n, subject=None, note="x") for n in range(35)))
    async with db.statement() as tx:
        await tx.execute(AGE)

    assert (await drop_old(db))["inbox"] == 35
