"""Token in, decision out: rows in time, warm without a question, the row above the token."""

import asyncio
from datetime import timedelta

import pytest
import structlog
from psycopg.rows import DictRow

from tenure.base.db import DatabaseAway, Db, open_pool
from tenure.gate.cache import FactsCache
from tenure.gate.model import ANY_MEMBER, Needs, Reason
from tenure.identity import store as identity
from tenure.identity.claims import Principal
from tenure.identity.errors import KeysUnavailable
from tests.gate.builders import LONG, a_gate, org_of, put_customer, subscribe, until
from tests.identity.clerk_scene import Scene


def hearing(max_age: timedelta = LONG) -> FactsCache:
    cache = FactsCache(max_age=max_age)
    cache.hears(news=True)
    return cache


async def rows(db: Db, query: str) -> list[DictRow]:
    async with db.statement() as tx:
        return await (await tx.execute(query.encode())).fetchall()


async def arrived(db: Db, scene: Scene, token: str) -> Principal:
    """Let the bearer of a token come for the first time."""
    async with a_gate(db, scene.clerk.url, scene.clock, seed=99) as gate:
        await gate.check(token, Needs())
        return await gate.verifier.verify(token)


async def test_the_first_request_makes_the_rows(db: Db, scene: Scene) -> None:
    """M6: rows come just in time, from the verified token."""
    session = scene.a_session()
    async with a_gate(db, scene.clerk.url, scene.clock) as gate:
        decision = await gate.check(scene.mint(session_id=session["id"]), ANY_MEMBER)

    assert decision.allowed
    assert decision.facts is not None
    assert decision.facts.role == "admin"
    assert decision.facts.user_id
    assert decision.facts.org_id
    actions = await rows(db, "SELECT action FROM tenure.audit_log ORDER BY seq")
    assert [row["action"] for row in actions] == ["organization.created", "member.joined"]


async def test_many_first_requests_make_the_rows_once(db: Db, scene: Scene) -> None:
    """Nobody is told half of a newcomer: each of them sees the user, the organization, the role."""
    token = scene.mint(session_id=scene.a_session()["id"])
    async with a_gate(db, scene.clerk.url, scene.clock, cache=hearing()) as gate:
        decisions = await asyncio.gather(*(gate.check(token, ANY_MEMBER) for _ in range(30)))

    assert {d.facts and (d.facts.user_id, d.facts.org_id, d.facts.role) for d in decisions} == {
        (decisions[0].facts.user_id, decisions[0].facts.org_id, "admin")  # type: ignore[union-attr]
    }
    assert all(d.allowed and d.facts and d.facts.user_id for d in decisions)
    assert len(await rows(db, "SELECT FROM tenure.memberships")) == 1


async def test_half_a_newcomer_is_seen_by_nobody(db: Db, scene: Scene) -> None:
    """Between the first look and the rows nothing is kept: it would say that she has no rows."""
    token = scene.mint(session_id=scene.a_session()["id"])
    async with a_gate(db, scene.clerk.url, scene.clock, cache=hearing()) as gate:
        who = await gate.verifier.verify(token)
        async with db.transaction() as tx:
            await identity.lock_names(
                tx, who.provider, [who.user_id]
            )  # somebody else makes her rows just now
            coming = asyncio.create_task(gate.check(token, ANY_MEMBER))
            await until(lambda: _somebody_waits(db))
            assert gate.recall(token, ANY_MEMBER) is None

        assert (await coming).allowed


async def _somebody_waits(db: Db) -> bool:
    query = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    return bool(await rows(db, query))


async def test_a_warm_decision_asks_nobody(url: str, scene: Scene) -> None:
    """M6, T6: neither the network nor the database; here the pool is closed, and no key fetched."""
    token = scene.mint(session_id=scene.a_session()["id"])
    async with open_pool(url) as pool:
        db = Db(pool)
        who = await arrived(db, scene, token)
        await subscribe(db, who)
        async with a_gate(db, scene.clerk.url, scene.clock, cache=hearing()) as gate:
            await gate.check(token, Needs())
            fetched = scene.fetches()
            await pool.close()

            decision = await gate.check(token, Needs())
            assert gate.recall(token, Needs()) == decision

    assert (decision.allowed, decision.reason) == (True, Reason.OPEN)
    assert scene.fetches() == fetched


async def test_a_cold_decision_is_one_statement(url: str, scene: Scene) -> None:
    """M6: one SELECT reads every fact, as the server counts its transactions."""
    token = scene.mint(session_id=scene.a_session()["id"])
    async with open_pool(url, size=1) as pool:
        db = Db(pool)
        who = await arrived(db, scene, token)
        async with a_gate(db, scene.clerk.url, scene.clock, cache=hearing()) as gate:
            before = await _lent(db)
            await gate.facts(who)
            assert await _lent(db) - before == 1 + 1  # and the question how often

            await gate.facts(who)  # warm
            assert await _lent(db) - before == 1 + 1 + 1


async def _lent(db: Db) -> int:
    """Say how often a connection of the pool was lent."""
    async with db.statement() as tx:
        assert tx._pool is not None  # noqa: SLF001 (psycopg_pool's own count is the witness)
        return tx._pool.get_stats()["requests_num"]  # noqa: SLF001 (as above)


async def test_a_removed_member_is_refused_although_the_token_says_admin(
    db: Db, scene: Scene
) -> None:
    """M6: the row decides, however long the token is good, and nothing brings it back."""
    token = scene.mint(session_id=scene.a_session()["id"])
    who = await arrived(db, scene, token)
    await subscribe(db, who)
    assert who.role == "admin"
    async with db.statement() as tx:
        await tx.execute("UPDATE tenure.memberships SET status = 'inactive', holds_seat = false")

    async with a_gate(db, scene.clerk.url, scene.clock, cache=hearing()) as gate:
        answers = [await gate.check(token, needs) for needs in (Needs(), ANY_MEMBER, Needs())]

    assert [a.reason for a in answers] == [Reason.NOT_A_MEMBER] * 3
    statuses = await rows(db, "SELECT status FROM tenure.memberships")
    assert [row["status"] for row in statuses] == ["inactive"]


async def test_a_token_and_a_row_that_differ_are_logged(db: Db, scene: Scene) -> None:
    """M6: the row wins, and the drift is told."""
    token = scene.mint(session_id=scene.a_session()["id"])
    await arrived(db, scene, token)
    async with db.statement() as tx:
        await tx.execute("UPDATE tenure.memberships SET role = 'member'")

    with structlog.testing.capture_logs() as lines:
        async with a_gate(db, scene.clerk.url, scene.clock) as gate:
            decision = await gate.check(
                token, Needs(subscription=False, roles=frozenset({"admin"}))
            )

    assert decision.reason is Reason.ROLE
    drift = [line for line in lines if line["event"] == "gate.drift.role"]
    assert [(d["said"], d["is_now"]) for d in drift] == [("admin", "member")]


async def test_who_acts_for_herself_stands_on_her_own_subscription(db: Db, scene: Scene) -> None:
    user = scene.post("/v1/users", first_name="Grace")
    session = scene.post("/v1/sessions", user_id=user["id"])
    token = scene.mint(session_id=session["id"])
    async with a_gate(db, scene.clerk.url, scene.clock) as gate:
        refused = await gate.check(token, Needs())
        assert refused.facts is not None
        async with db.transaction() as tx:
            await put_customer(tx, user_id=refused.facts.user_id)
            await tx.execute(
                """
                INSERT INTO tenure.subscriptions (id, stripe_customer_id, user_id, status,
                                                  created_at, looked_at, look_fence)
                SELECT 'sub_own', stripe_customer_id, user_id, 'trialing', now(), now(), 1
                  FROM tenure.stripe_customers
                """
            )
        gate.cache.drop(org_id=None, user_id=refused.facts.user_id)
        passed = await gate.check(token, Needs())

    assert refused.reason is Reason.NO_SUBSCRIPTION
    assert (passed.allowed, passed.reason) == (True, Reason.TRIAL)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"claims": {"exp": 1}}, "identity.token_expired"),
        ({"without": ["exp"]}, "identity.bad_token"),
        ({"sign": "none"}, "identity.bad_token"),
        ({"sign": "stranger"}, "identity.bad_token"),
        ({"sign": "hs256_with_public_pem"}, "identity.bad_token"),
        ({"claims": {"iss": "https://stranger.example.com"}}, "identity.foreign_issuer"),
        ({"claims": {"sts": "pending"}}, "identity.pending_session"),
    ],
)
async def test_a_token_that_proves_nothing_is_not_signed_in(
    db: Db, scene: Scene, asked: dict, code: str
) -> None:
    """B4: a refused token is a decision too, with the code of what is wrong."""
    async with a_gate(db, scene.clerk.url, scene.clock) as gate:
        decision = await gate.check(scene.mint(**asked), Needs())

    assert (decision.allowed, decision.reason, decision.code) == (False, Reason.NOT_SIGNED_IN, code)
    assert decision.change


async def test_without_keys_nobody_decides(db: Db, scene: Scene) -> None:
    token = scene.mint(claims={"iss": "http://127.0.0.1:9"})
    async with a_gate(db, "http://127.0.0.1:9", scene.clock) as gate:
        with pytest.raises(KeysUnavailable):
            await gate.check(token, Needs())


async def test_without_the_database_nobody_decides(url: str, scene: Scene) -> None:
    """M6: no facts, no decision: the gate stays shut."""
    token = scene.mint(session_id=scene.a_session()["id"])
    pool = open_pool(url, timeout=1.0)
    async with pool, a_gate(Db(pool), scene.clerk.url, scene.clock) as gate:
        await pool.close()
        with pytest.raises(DatabaseAway):
            await gate.check(token, Needs())


async def test_an_organization_is_known_by_its_row(db: Db, scene: Scene) -> None:
    token = scene.mint(session_id=scene.a_session()["id"])
    who = await arrived(db, scene, token)
    async with a_gate(db, scene.clerk.url, scene.clock) as gate:
        explained = await gate.explain(who)

    assert explained.facts is not None
    assert explained.facts.org_id == await org_of(db, who)
    assert explained.reason is Reason.NO_SUBSCRIPTION
