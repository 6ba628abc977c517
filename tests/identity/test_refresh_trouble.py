"""The symptoms of public threads about sessions that a passing failure destroyed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import structlog

from tenure.base.db import DatabaseAway, Db, open_pool
from tenure.identity import rotate, rotation
from tenure.identity.refresh import Broker, RefreshDelayed, RefreshRefused, SessionOver
from tenure.schema import apply, changes
from tests.conftest import Frail
from tests.identity.refresh_scene import Cloud, Scene, a_cloud, a_scene, scripted
from tests.journal.builders import until

MINUTES = 6 * 60
JWKS = "GET /sso/jwks"
TROUBLES = ["500", "429", "refuse", "done_500", "lost"]
EVERY_TROUBLE = pytest.mark.parametrize("trouble", TROUBLES)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with a_cloud() as made:
        yield made


@pytest.fixture
async def scene(db: Db, cloud: Cloud) -> AsyncIterator[Scene]:
    async with a_scene(db, cloud) as made:
        yield made


@pytest.fixture
def broker(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """One that does not wait long between its tries."""
    monkeypatch.setattr(rotation, "WAITS", (timedelta(seconds=0.05), timedelta(seconds=0.1)))
    return scene.a_broker()


@EVERY_TROUBLE
async def test_a_passing_failure_does_not_end_the_session(
    scene: Scene, broker: Broker, trouble: str
) -> None:
    """M8: authkit-react-router#79: a network error, 429 or 5xx destroyed the session."""
    handle, first = await broker.begin(scene.cloud.a_code())
    await scene.pass_(60)
    scene.cloud.fail(trouble, count=-1)

    held = await broker.refresh(handle)

    assert (held.is_fresh, held.access_token) == (False, first.access_token)
    scene.cloud.heal()
    await scene.pass_(5)
    assert (await broker.refresh(handle)).is_fresh
    assert await scene.turns(handle) == 1


@EVERY_TROUBLE
async def test_an_expired_token_and_an_outage_are_an_answer_to_come_again(
    scene: Scene, broker: Broker, trouble: str
) -> None:
    """M8: authkit-nextjs#461: any error while the token had expired deleted the cookie."""
    handle, _ = await broker.begin(scene.cloud.a_code())
    await scene.pass_(MINUTES)
    scene.cloud.fail(trouble, count=-1)

    with pytest.raises(RefreshDelayed) as told:
        await broker.refresh(handle)

    assert timedelta(0) < told.value.retry_after <= rotation.GRACE
    scene.cloud.heal()
    await scene.pass_(5)
    assert (await broker.refresh(handle)).is_fresh
    assert (await scene.raw(handle))["last_error"] is None


async def test_an_outage_of_an_hour_signs_nobody_out(scene: Scene, broker: Broker) -> None:
    """M8: authkit-remix#88: a brief outage discarded a refresh token that was still valid."""
    handle, _ = await broker.begin(scene.cloud.a_code())
    scene.cloud.fail("500", count=-1)
    for _ in range(6):
        await scene.pass_(600)
        with pytest.raises(RefreshDelayed):
            await broker.refresh(handle)
    scene.cloud.heal()

    await scene.pass_(60)
    assert (await broker.refresh(handle)).is_fresh


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [
        (400, b'{"error": "invalid_grant", "error_description": "Session has ended."}', "refused"),
        (403, b'{"code": "mfa_enrollment", "message": "enroll"}', "mfa_enrollment"),
        (400, b'{"error": "sso_required", "error_description": "use SSO"}', "sso_required"),
    ],
)
async def test_what_is_terminal_is_told_apart_and_said(
    scene: Scene, broker: Broker, status: int, said: bytes, why: str
) -> None:
    """M8: workos-node#1663: callers could not tell a dead session from a passing failure."""
    handle, _ = await broker.begin(scene.cloud.a_code())
    await scene.pass_(60)
    async with scripted((status, said)) as url:
        with pytest.raises(SessionOver) as told:
            await scene.a_broker(api_base=url).refresh(handle)

    assert told.value.facts == {"why": why}
    assert (await scene.row(handle)).ended_why == why


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>a proxy says hello</html>"),
        (200, b'{"access_token": "a.b.c", "user": {"id": "user_1"}}'),  # and no refresh token
        (302, b""),
        (404, b"no such page"),
        (408, b""),
        (502, b"<html>Bad gateway</html>"),
    ],
)
async def test_what_is_no_answer_of_the_provider_is_a_passing_failure(
    scene: Scene, broker: Broker, answer: tuple[int, bytes]
) -> None:
    """M8: a load balancer's page is no invalid_grant."""
    handle, _ = await broker.begin(scene.cloud.a_code())
    await scene.pass_(60)
    async with scripted(*[answer] * rotation.TRIES) as url:
        assert not (await scene.a_broker(api_base=url).refresh(handle)).is_fresh

    row = await scene.row(handle)
    assert row.ended_why is None
    assert row.in_doubt_for is not None
    await scene.pass_(5)
    assert (await broker.refresh(handle)).is_fresh


async def test_a_refusal_that_nobody_knows_keeps_the_session(scene: Scene, broker: Broker) -> None:
    """M8: only what the documentation calls terminal ends a session."""
    handle, _ = await broker.begin(scene.cloud.a_code())
    await scene.pass_(MINUTES)
    async with scripted((400, b'{"error": "brand_new_error"}')) as url:
        with pytest.raises(RefreshRefused, match="brand_new_error"):
            await scene.a_broker(api_base=url).refresh(handle)

    await scene.pass_(5)
    assert (await broker.refresh(handle)).is_fresh


@pytest.mark.parametrize("after", [0, 10, 24])
async def test_a_lost_answer_is_fetched_with_the_same_token_within_the_grace(
    scene: Scene, broker: Broker, after: int
) -> None:
    """M8: kcap-cli#946: the provider had rotated, its answer was lost, the chain was broken."""
    handle, _ = await broker.begin(scene.cloud.a_code())
    await scene.pass_(MINUTES)
    scene.cloud.fail("lost", count=rotation.TRIES)
    with pytest.raises(RefreshDelayed):
        await broker.refresh(handle)
    assert await scene.turns(handle) == 1

    await scene.pass_(after)
    async with scene.db.statement() as tx:  # its pause is over
        await tx.execute("UPDATE tenure.sessions SET retry_at = NULL")
    live = await scene.a_broker().refresh(handle)

    assert live.is_fresh
    assert await scene.turns(handle) == 1


async def test_an_answer_lost_for_longer_than_the_grace_is_the_end_and_is_said(
    scene: Scene, broker: Broker
) -> None:
    """M8: kcap-cli#946: nothing can bring that session back, and the user learns why."""
    handle, _ = await broker.begin(scene.cloud.a_code())
    await scene.pass_(MINUTES)
    scene.cloud.fail("lost", count=rotation.TRIES)
    with pytest.raises(RefreshDelayed):
        await broker.refresh(handle)

    await scene.pass_(31)
    with pytest.raises(SessionOver, match="its answer was lost for too long"):
        await broker.refresh(handle)


async def test_one_lost_answer_is_nobody_s_business(scene: Scene, broker: Broker) -> None:
    """M8: the next try, with the same token, gets the same pair."""
    handle, _ = await broker.begin(scene.cloud.a_code())
    await scene.pass_(MINUTES)
    scene.cloud.fail("done_500")
    scene.cloud.fail("lost")

    assert (await broker.refresh(handle)).is_fresh
    assert await scene.turns(handle) == 1


async def test_a_session_left_in_doubt_is_rescued_though_nobody_comes_by(
    scene: Scene, broker: Broker
) -> None:
    """M8: the user comes back after minutes; by then the grace is long over."""
    handle, first = await broker.begin(scene.cloud.a_code())
    await scene.pass_(60)
    scene.cloud.fail("lost", count=rotation.TRIES)
    await broker.refresh(handle)

    assert await broker.rescue() == 0  # it pauses
    await scene.pass_(5)
    assert await scene.a_broker().rescue() == 1
    assert await broker.rescue() == 0
    await scene.pass_(MINUTES - 60)

    live = await broker.refresh(handle)
    assert live.is_fresh
    assert live.access_token != first.access_token
    assert await scene.turns(handle) == 2


async def test_a_switch_that_was_lost_right_after_the_sign_in_is_rescued_too(
    scene: Scene, broker: Broker
) -> None:
    """M8: the stored pair is young, and its refresh token is spent all the same."""
    user = scene.cloud.a_user()
    org = scene.cloud.an_org(user)
    handle, _ = await broker.begin(scene.cloud.a_code(user))
    scene.cloud.fail("lost", count=rotation.TRIES)
    with pytest.raises(RefreshDelayed):
        await broker.refresh(handle, org_id=org)

    await scene.pass_(5)
    assert await scene.a_broker().rescue() == 1

    assert (await broker.refresh(handle)).org_id == org
    assert await scene.turns(handle) == 1


async def test_brokers_that_are_open_rescue_by_themselves(
    scene: Scene, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenure.identity.refresh.RESCUE_EVERY", timedelta(seconds=0.05))
    handle, _ = await broker.begin(scene.cloud.a_code())
    await scene.pass_(60)
    scene.cloud.fail("lost", count=rotation.TRIES)
    await broker.refresh(handle)
    await scene.pass_(5)

    async def is_rescued() -> bool:
        return (await scene.row(handle)).in_doubt_for is None

    async with broker:
        await until(is_rescued)

    assert await scene.turns(handle) == 1


async def test_a_busy_provider_is_left_alone_for_as_long_as_it_asks(
    scene: Scene, broker: Broker
) -> None:
    """M8: 429 is an answer, not a reason to knock harder."""
    handle, _ = await broker.begin(scene.cloud.a_code())
    await scene.pass_(MINUTES)
    scene.cloud.fail("429", seconds=40)
    asked = scene.cloud.asked()
    for _ in range(3):
        with pytest.raises(RefreshDelayed) as told:
            await scene.a_broker().refresh(handle)
        assert 38 < told.value.retry_after.total_seconds() <= 40

    assert scene.cloud.asked() == asked + 1
    await scene.pass_(41)
    assert (await broker.refresh(handle)).is_fresh


async def test_a_new_key_that_is_not_published_yet_costs_no_session(
    scene: Scene, broker: Broker
) -> None:
    """M8: the official SDK drops the new pair when its key is unknown, and the old one is spent."""
    handle, _ = await broker.begin(scene.cloud.a_code())
    await scene.pass_(MINUTES)
    scene.cloud.ask("POST", "/_sandbox/rotate", publish=False)

    live = await broker.refresh(handle)

    assert (live.is_fresh, live.principal, live.doubt) == (True, None, "identity.bad_token")
    keys = scene.cloud.workos.world.state.keys
    scene.cloud.ask("POST", "/_sandbox/rotate", kid=keys[0].kid)
    await scene.pass_(31)  # a strange key is asked for once in a while
    again = await broker.refresh(handle)
    assert again.principal is not None
    assert await scene.turns(handle) == 2


async def test_an_outage_of_the_key_server_costs_no_session(scene: Scene) -> None:
    """M8: and neither does a key server that is away."""
    scene.cloud.fail("500", count=-1, match=JWKS)
    broker = scene.a_broker()
    handle, live = await broker.begin(scene.cloud.a_code())
    await scene.pass_(MINUTES)
    later = await broker.refresh(handle)

    for one in (live, later):
        assert (one.principal, one.doubt) == (None, "identity.keys_unavailable")
    scene.cloud.heal()
    await scene.pass_(60)
    assert (await scene.a_broker().refresh(handle)).principal is not None


async def test_a_pair_in_hand_waits_for_a_database_that_restarts(
    frail: Frail, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M8: a failover between the provider's answer and the row loses no session."""
    monkeypatch.setattr(rotate, "STORE_AGAIN", 0.05)
    address = frail.on()
    apply.apply(address, changes.load())
    async with open_pool(address, size=4, timeout=1) as pool, a_scene(Db(pool), cloud) as scene:
        broker = scene.a_broker()
        handle, _ = await broker.begin(cloud.a_code())
        await scene.pass_(MINUTES)
        cloud.fail("latency", seconds=2)
        asked = cloud.asked()
        refreshing = asyncio.create_task(broker.refresh(handle))

        async def is_asked() -> bool:
            return cloud.asked() > asked

        async def is_in_hand() -> bool:
            return any(line["event"] == "identity.session.pair_waits" for line in lines)

        await until(is_asked)
        with structlog.testing.capture_logs() as lines:
            await asyncio.to_thread(frail.off)  # while the answer is on its way
            await until(is_in_hand)
        await asyncio.to_thread(frail.on)
        try:
            live = await refreshing
        except DatabaseAway:  # the row could not be read; the pair is in it all the same
            await broker.close()
            live = await broker.refresh(handle)

        assert live.is_fresh
        assert await scene.turns(handle) == 1
