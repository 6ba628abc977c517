"""Good tokens that count no more: the user is deleted or blocked, her session is over."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.base.db import Db
from tenure.gate import rules
from tenure.gate.asgi import GateMiddleware, Message, Receive, Scope, Send
from tenure.gate.cache import FactsCache
from tenure.gate.check import Gate
from tenure.gate.model import ANY_MEMBER, Reason
from tenure.gate.store import get_facts
from tenure.identity import people
from tenure.identity.claims import Principal
from tenure.identity.model import SeenSession, SeenUser
from tests.identity.builders import Registry
from tests.identity.clerk_scene import Scene
from tests.identity.test_arrive import a_principal

from .builders import LONG, NOW, a_gate, some_facts

FRESH = replace(ANY_MEMBER, fresh=True)
SECOND = timedelta(seconds=1)
End = Callable[[Registry, Principal], Awaitable[object]]


async def delete(ours: Registry, who: Principal) -> object:
    async with ours.acting() as act:
        return await people.drop_user(act, who.user_id, act.grave(ours.clock.now()))


async def block(ours: Registry, who: Principal) -> object:
    return await ours.put_user(_seen(who, ours, blocked=True))


async def end_session(ours: Registry, who: Principal) -> object:
    assert who.session_id is not None
    seen = SeenSession(id=who.session_id, user_id=who.user_id, ended_at=ours.clock.now())
    async with ours.acting() as act:
        return await people.end_session(act, seen)


async def end_all_sessions(ours: Registry, who: Principal) -> object:
    """Refuse whatever was issued until now, as after a stolen device."""
    async with ours.db.statement() as tx:
        return await tx.execute(
            """
            UPDATE tenure.users u SET valid_after = %s FROM tenure.identities i
             WHERE i.user_id = u.id AND i.external_id = %s
            """,
            (who.issued_at + SECOND, who.user_id),
        )


ENDS: dict[str, tuple[End, str]] = {
    "deleted": (delete, "identity.user_deleted"),
    "blocked": (block, "identity.user_blocked"),
    "signed out": (end_session, "identity.session_ended"),
    "all sessions ended": (end_all_sessions, "identity.session_ended"),
}
EVERY_END = pytest.mark.parametrize(("end", "code"), list(ENDS.values()), ids=list(ENDS))


def _seen(who: Principal, ours: Registry, *, blocked: bool) -> SeenUser:
    return SeenUser(
        id=who.user_id, email=None, name=None, blocked=blocked, version=ours.clock.now()
    )


@pytest.fixture
def ours(db: Db, scene: Scene) -> Registry:
    return Registry(db=db, clock=scene.clock)


def remembering() -> FactsCache:
    cache = FactsCache(max_age=LONG)
    cache.hears(news=True)  # and never hears any: what it remembers stays
    return cache


@pytest.fixture
async def gate(db: Db, scene: Scene) -> AsyncIterator[Gate]:
    async with a_gate(db, scene.clerk.url, scene.clock, cache=remembering()) as made:
        yield made


@pytest.fixture
async def client(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    async def an_app(scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        start: Message = {"type": "http.response.start", "status": 200, "headers": []}
        await send(start)
        await send({"type": "http.response.body", "body": b"in"})

    transport = httpx.ASGITransport(GateMiddleware(an_app, gate, lambda _: ANY_MEMBER))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as made:
        yield made


def a_token(scene: Scene) -> str:
    return scene.mint(session_id=scene.a_session()["id"])


@EVERY_END
async def test_what_is_over_is_refused_with_its_code(
    gate: Gate, scene: Scene, ours: Registry, end: End, code: str
) -> None:
    """M6, T6: however long the token is good: the next decision that reads says so."""
    token = a_token(scene)
    who = await gate.verifier.verify(token)
    assert (await gate.check(token, FRESH)).allowed

    await end(ours, who)
    refused = await gate.check(token, FRESH)

    assert (refused.allowed, refused.reason, refused.code) == (False, Reason.NOT_SIGNED_IN, code)
    assert refused.change


@EVERY_END
async def test_what_is_over_stays_over_for_whoever_remembers_it(
    gate: Gate, scene: Scene, ours: Registry, end: End, code: str
) -> None:
    """T6: the warm path, which asks nobody, looks at the same facts."""
    token = a_token(scene)
    who = await gate.verifier.verify(token)
    await gate.check(token, ANY_MEMBER)
    await end(ours, who)
    await gate.check(token, FRESH)

    warm = gate.recall(token, ANY_MEMBER)

    assert warm is not None
    assert (warm.allowed, warm.code) == (False, code)


@EVERY_END
async def test_writes_are_read_afresh(
    client: httpx.AsyncClient, gate: Gate, scene: Scene, ours: Registry, *, end: End, code: str
) -> None:
    """M6, T6: dpp#896: until the news has come a GET may still pass; a POST never does."""
    token = a_token(scene)
    headers = {"authorization": f"Bearer {token}"}
    assert (await client.get("/", headers=headers)).status_code == 200
    await end(ours, await gate.verifier.verify(token))

    assert (await client.get("/", headers=headers)).status_code == 200
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        refused = await client.request(method, "/", headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, code)


async def test_a_removed_member_cannot_write_although_reads_are_remembered(
    client: httpx.AsyncClient, gate: Gate, scene: Scene, ours: Registry
) -> None:
    """M6: objectstack#15396: the membership row is read for every write."""
    token = a_token(scene)
    headers = {"authorization": f"Bearer {token}"}
    await client.get("/", headers=headers)
    who = await gate.verifier.verify(token)
    async with ours.db.statement() as tx:
        await tx.execute(
            """
            UPDATE tenure.memberships SET status = 'inactive', holds_seat = false
             WHERE user_id = (SELECT user_id FROM tenure.identities WHERE external_id = %s)
            """,
            (who.user_id,),
        )

    refused = await client.post("/", headers=headers)

    assert refused.status_code == 403
    assert refused.json()["error"]["code"] == "gate.not_a_member"


async def test_another_session_of_the_same_user_goes_on(
    gate: Gate, scene: Scene, ours: Registry
) -> None:
    """T6: one device signed out is not the other."""
    first = scene.a_session()
    other = scene.post("/v1/sessions", user_id=first["user_id"])
    ended, going_on = (scene.mint(session_id=one["id"]) for one in (first, other))
    await gate.check(ended, FRESH)
    await end_session(ours, await gate.verifier.verify(ended))

    assert not (await gate.check(ended, FRESH)).allowed
    assert (await gate.check(going_on, FRESH)).allowed


async def test_a_session_that_ended_before_its_user_came_is_over(
    gate: Gate, scene: Scene, ours: Registry
) -> None:
    """T6: the event overtook the first request."""
    token = a_token(scene)
    await end_session(ours, await gate.verifier.verify(token))

    refused = await gate.check(token, ANY_MEMBER)

    assert (refused.allowed, refused.code) == (False, "identity.session_ended")


async def test_a_user_who_was_deleted_before_she_came_is_deleted(
    gate: Gate, scene: Scene, ours: Registry
) -> None:
    """M6: nothing but the deletion ever came: she gets no rows, and is told why."""
    token = a_token(scene)
    await delete(ours, await gate.verifier.verify(token))

    for needs in (ANY_MEMBER, FRESH):
        refused = await gate.check(token, needs)
        assert (refused.allowed, refused.code) == (False, "identity.user_deleted")


async def test_a_token_issued_later_counts_again(gate: Gate, scene: Scene, ours: Registry) -> None:
    """M6: all sessions ended means those until then."""
    session = scene.a_session()["id"]
    old = scene.mint(session_id=session)
    who = await gate.verifier.verify(old)
    await gate.check(old, FRESH)
    await end_all_sessions(ours, who)
    assert not (await gate.check(old, FRESH)).allowed

    scene.clock.tick(2 * SECOND)
    new = scene.mint(session_id=session)

    assert (await gate.check(new, FRESH)).allowed


async def test_whoever_is_unblocked_is_let_in_again(
    gate: Gate, scene: Scene, ours: Registry
) -> None:
    token = a_token(scene)
    who = await gate.verifier.verify(token)
    await gate.check(token, FRESH)
    await block(ours, who)
    assert not (await gate.check(token, FRESH)).allowed

    scene.clock.tick(SECOND)
    await ours.put_user(_seen(who, ours, blocked=False))

    assert (await gate.check(token, FRESH)).allowed


async def test_a_block_that_has_an_end_ends_by_itself(db: Db, ours: Registry) -> None:
    """Supabase bans until a moment."""
    await ours.put_user(SeenUser(id="user_1", email=None, name=None, version=NOW))
    async with db.statement() as tx:
        await tx.execute("UPDATE tenure.users SET blocked_until = %s", (NOW,))
        who = a_principal(org_id=None)
        before = await get_facts(tx, who, livemode=False, at=NOW - SECOND)
        after = await get_facts(tx, who, livemode=False, at=NOW)

    assert (before.is_blocked, after.is_blocked) == (True, False)


@given(
    deleted=st.booleans(),
    blocked=st.booleans(),
    ended=st.booleans(),
    age=st.none() | st.integers(-3, 3),
    session=st.sampled_from(["sess_1", None]),
)
def test_a_token_counts_exactly_while_nothing_of_it_is_over(
    deleted: bool,  # noqa: FBT001 (drawn by hypothesis)
    blocked: bool,  # noqa: FBT001 (as above)
    ended: bool,  # noqa: FBT001 (as above)
    age: int | None,
    session: str | None,
) -> None:
    """T6: the whole table."""
    who: Any = a_principal(session_id=session)
    facts = some_facts(
        is_deleted=deleted,
        is_blocked=blocked,
        ended_sessions=frozenset({"sess_1"} if ended else ()),
        valid_after=None if age is None else who.issued_at + age * SECOND,
    )
    is_over = deleted or blocked or (ended and session is not None) or (age or 0) > 0

    assert (rules.over(facts, who) is not None) == is_over
