"""Changes are heard as they are committed, on every node; who is deaf believes less."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import LiteralString
from uuid import UUID

import pytest
import structlog
from psycopg import AsyncConnection

from tenure.base.db import Db, open_pool
from tenure.gate.cache import DEAF, FactsCache
from tenure.gate.check import Gate
from tenure.gate.model import Needs, Reason
from tenure.gate.watch import watching
from tenure.journal import news
from tenure.schema import apply, changes
from tests.conftest import Frail, recreate
from tests.gate.builders import LONG, a_gate, some_facts, subscribe, until
from tests.identity.clerk_scene import Scene

KEY = ("clerk", "user_a", "org_a")
OLD = DEAF.total_seconds() + 5  # seconds: good only where news is heard


@asynccontextmanager
async def ears(url: str, cache: FactsCache) -> AsyncIterator[None]:
    """Watch, once we hear."""
    async with watching(url, cache):
        await until(lambda: hears(cache))
        yield


async def hears(cache: FactsCache) -> bool:
    """Say whether facts are believed for longer than a deaf process believes them."""
    return cache._good_for > DEAF.total_seconds()  # noqa: SLF001 (there is no other sign)


async def is_dropped(cache: FactsCache) -> bool:
    return cache.get(KEY) is None


def keep(cache: FactsCache) -> None:
    cache.put(KEY, some_facts(), epoch=cache.epoch, began=_now())


def _now() -> float:
    return asyncio.get_running_loop().time()  # the monotonic clock


async def test_news_drops_facts_once_it_is_committed_and_not_before(db: Db, url: str) -> None:
    """M6: NOTIFY at the commit; a change that is rolled back drops nothing."""
    cache = FactsCache(max_age=LONG)
    async with ears(url, cache):
        keep(cache)
        epoch = cache.epoch
        with pytest.raises(ZeroDivisionError):
            await _told_and_rolled_back(db)
        async with db.transaction() as tx:  # a later change of somebody else has been heard
            await news.append(tx, "billing.changed", org_id=UUID(int=7))
        await until(lambda: _has_moved(cache, epoch))
        assert cache.get(KEY) is not None

        async with db.transaction() as tx:
            await news.append(tx, "billing.changed", org_id=UUID(int=1))
        await until(lambda: is_dropped(cache), within=5)


async def _told_and_rolled_back(db: Db) -> None:
    async with db.transaction() as tx:
        await news.append(tx, "billing.changed", org_id=UUID(int=1))
        raise ZeroDivisionError


async def _has_moved(cache: FactsCache, epoch: int) -> bool:
    return cache.epoch > epoch


async def test_a_change_closes_the_gate_on_every_node(db: Db, url: str, scene: Scene) -> None:
    """M6: two gates, each with a pool and a cache of its own, both warm and open."""
    token = scene.mint(session_id=scene.a_session()["id"])
    async with AsyncExitStack() as stack:
        gates = [await _node(stack, url, scene, seed) for seed in (1, 2)]
        await gates[0].check(token, Needs())
        org = await subscribe(db, await gates[0].verifier.verify(token))
        gates[0].cache.drop(org_id=org, user_id=None)
        assert [(await gate.check(token, Needs())).allowed for gate in gates] == [True, True]

        async with db.transaction() as tx:
            await tx.execute("UPDATE tenure.subscriptions SET status = 'canceled'")
            await news.append(tx, "billing.changed", org_id=org)

        for gate in gates:
            await until(lambda gate=gate: _is_closed(gate, token), within=5)


async def _node(stack: AsyncExitStack, url: str, scene: Scene, seed: int) -> Gate:
    pool = await stack.enter_async_context(open_pool(url, size=2))
    cache = FactsCache(max_age=LONG)
    await stack.enter_async_context(ears(url, cache))
    return await stack.enter_async_context(
        a_gate(Db(pool), scene.clerk.url, scene.clock, cache=cache, seed=seed)
    )


async def _is_closed(gate: Gate, token: str) -> bool:
    decision = await gate.check(token, Needs())
    return not decision.allowed and decision.reason is Reason.ENDED


@pytest.mark.parametrize("payload", ["", "not json", "[]", "{}", '{"org_id": 5, "user_id": null}'])
async def test_a_note_that_makes_no_sense_drops_everything(
    db: Db, url: str, payload: LiteralString
) -> None:
    cache = FactsCache(max_age=LONG)
    async with ears(url, cache):
        keep(cache)
        async with db.statement() as tx:
            await tx.execute("SELECT pg_notify('tenure_news', %s)", (payload,))
        await until(lambda: is_dropped(cache), within=5)
        assert await hears(cache)


async def test_a_lost_connection_means_deaf_and_then_hearing_again(db: Db, url: str) -> None:
    """M6: when the listener dies, facts are good for a second only, until it listens again."""
    cache = FactsCache(max_age=LONG)
    async with ears(url, cache):
        keep(cache)
        with structlog.testing.capture_logs() as lines:
            async with db.statement() as tx:
                await tx.execute(
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE application_name = 'tenure gate' AND datname = current_database()
                    """
                )
            await until(lambda: _is_deaf(cache))
            assert cache.get(KEY) is None
            await until(lambda: hears(cache))

    assert "gate.watch.deaf" in {line["event"] for line in lines}


async def _is_deaf(cache: FactsCache) -> bool:
    return not await hears(cache)


async def test_it_hears_again_when_postgres_comes_back(frail: Frail) -> None:
    """M6: a restart of Postgres needs no restart of ours."""
    server = frail.on()
    address = recreate(server, "tenure_watch", "template0")
    apply.apply(address, changes.load())
    cache = FactsCache(max_age=LONG)
    async with ears(address, cache):
        frail.off()
        await until(lambda: _is_deaf(cache))
        frail.on()
        await until(lambda: hears(cache))
        keep(cache)
        async with await AsyncConnection.connect(address, autocommit=True) as conn:
            await conn.execute(
                'SELECT pg_notify(\'tenure_news\', \'{"org_id": null, "user_id": "x"}\')'
            )
        await until(lambda: is_dropped(cache), within=5)


async def test_facts_are_believed_for_a_moment_only_where_nobody_answers() -> None:
    cache = FactsCache(max_age=LONG)
    async with watching("host=127.0.0.1 port=9 connect_timeout=1", cache):
        keep(cache)
        cache.put(KEY, some_facts(), epoch=cache.epoch, began=_now() - OLD)

        assert cache.get(KEY) is None
