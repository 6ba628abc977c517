"""The symptoms of public threads about refresh tokens that are good for one use, and no symptom."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from cryptography.fernet import Fernet

from tenure.base.db import Db
from tenure.base.ids import RandomIds
from tenure.identity import refresh, rotation
from tenure.identity.arrive import arrive
from tenure.identity.errors import ProviderKeyRefused
from tenure.identity.refresh import (
    Broker,
    CodeRefused,
    OrganizationRefused,
    SessionOver,
    SignInDelayed,
    UnknownSession,
)
from tenure.identity.sealed import NotOurSeal
from tenure.identity.vault import key_of
from tests.identity.refresh_scene import Cloud, Scene, a_cloud, a_scene
from tests.journal.builders import until

MINUTES = 6 * 60  # an access token lives five


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with a_cloud() as made:
        yield made


@pytest.fixture
async def scene(db: Db, cloud: Cloud) -> AsyncIterator[Scene]:
    async with a_scene(db, cloud) as made:
        yield made


@pytest.fixture
def broker(scene: Scene) -> Broker:
    return scene.a_broker()


async def test_a_sign_in_gives_a_handle_and_a_verified_token(scene: Scene, broker: Broker) -> None:
    user = scene.cloud.a_user()
    org = scene.cloud.an_org(user)

    handle, live = await broker.begin(scene.cloud.a_code(user, org))

    assert handle.startswith("tns_")
    assert (live.user_id, live.org_id, live.is_fresh) == (user, org, True)
    assert live.principal is not None
    assert (live.principal.user_id, live.principal.org_id) == (user, org)
    assert live.expires_at == live.principal.expires_at


async def test_nothing_in_the_row_opens_a_door(scene: Scene, broker: Broker) -> None:
    """M8: neither handle nor token can be read from the database."""
    handle, live = await broker.begin(scene.cloud.a_code())
    told = str(await scene.raw(handle))

    assert handle not in told
    assert live.access_token not in told
    given = scene.cloud.workos.world.state.refresh_tokens
    assert not [token for token in given if token in told]


async def test_many_requests_at_once_spend_one_refresh_token(scene: Scene) -> None:
    """M8: authkit-nextjs#28: parallel requests; only the first one succeeded."""
    brokers = [scene.a_broker() for _ in range(4)]
    handle, first = await brokers[0].begin(scene.cloud.a_code())
    await scene.pass_(MINUTES)

    lives = await asyncio.gather(*(b.refresh(handle) for b in brokers for _ in range(5)))

    assert len({live.access_token for live in lives} - {first.access_token}) == 1
    assert all(live.is_fresh and live.principal for live in lives)
    assert await scene.turns(handle) == 1


async def test_a_request_that_comes_seconds_later_gets_the_pair_of_the_first(scene: Scene) -> None:
    """M8: authkit-remix#7: the same token 3 s later was refused, and the user logged out."""
    one, other = scene.a_broker(), scene.a_broker()
    handle, _ = await one.begin(scene.cloud.a_code())
    await scene.pass_(MINUTES)

    first = await one.refresh(handle)
    await scene.pass_(3)
    assert await other.refresh(handle) == first
    await scene.pass_(28)
    later = await other.refresh(handle)

    assert later.access_token != first.access_token
    assert await scene.turns(handle) == 2


async def test_there_is_no_stale_cookie_to_refresh_with(scene: Scene, broker: Broker) -> None:
    """M8: workos-node#1184: a refresh whose new cookie was not saved; ours never changes."""
    handle, _ = await broker.begin(scene.cloud.a_code())
    tokens = set()
    for _ in range(5):
        await scene.pass_(MINUTES)
        tokens.add((await scene.a_broker().refresh(handle)).access_token)

    assert len(tokens) == await scene.turns(handle) == 5


async def test_a_refused_token_is_not_sent_again_and_again(scene: Scene, broker: Broker) -> None:
    """M8: kcap-cli#946, #949: each process sent the dead token once more."""
    handle, _ = await broker.begin(scene.cloud.a_code())
    session_id = (await scene.row(handle)).external_id
    scene.cloud.ask("POST", "/user_management/sessions/revoke", session_id=session_id)
    await scene.pass_(MINUTES)
    with pytest.raises(SessionOver, match="does not renew"):
        await broker.refresh(handle)
    asked = scene.cloud.asked()

    for other in (broker, scene.a_broker()):
        with pytest.raises(SessionOver):
            await other.refresh(handle)

    assert scene.cloud.asked() == asked
    row = await scene.raw(handle)
    assert (row["ended_why"], row["refresh_token"], row["access_token"]) == ("refused", None, None)


async def test_a_session_that_an_event_ended_gives_no_token_though_its_last_one_is_good(
    scene: Scene, broker: Broker
) -> None:
    """M8: solana-developer-platform#896, objectstack#15396: claims outlived the removal."""
    handle, _ = await broker.begin(scene.cloud.a_code())
    asked = scene.cloud.asked()
    async with scene.db.statement() as tx:
        await tx.execute(
            """
            INSERT INTO tenure.revoked_sessions (provider, session_id, user_id, revoked_at)
            SELECT provider, external_id, user_external_id, now() FROM tenure.sessions
            """
        )

    for _ in range(2):
        with pytest.raises(SessionOver, match="has ended the session"):
            await broker.refresh(handle)

    assert scene.cloud.asked() == asked
    assert (await scene.row(handle)).ended_why == "revoked"


async def test_a_fresh_token_has_the_claims_of_now(scene: Scene, broker: Broker) -> None:
    """M8: clerk-android#603: stale claims of an organization after the removal."""
    user = scene.cloud.a_user()
    org = scene.cloud.an_org(user)
    handle, _ = await broker.begin(scene.cloud.a_code(user))
    await scene.pass_(60)

    live = await broker.refresh(handle, org_id=org)
    assert live.org_id == org
    assert live.principal is not None
    assert live.principal.org_id == org

    members = "/user_management/organization_memberships"
    found = scene.cloud.ask("GET", f"{members}?user_id={user}")["data"][0]["id"]
    scene.cloud.ask("DELETE", f"{members}/{found}")
    await scene.pass_(60)
    try:
        again = await broker.refresh(handle)
    except SessionOver:
        return  # WorkOS ends sessions in an organization that was left
    assert again.org_id is None


async def test_a_switch_right_after_a_refresh_is_a_turn_of_its_own(
    scene: Scene, broker: Broker
) -> None:
    user = scene.cloud.a_user()
    org, other = scene.cloud.an_org(user), scene.cloud.an_org(user)
    handle, _ = await broker.begin(scene.cloud.a_code(user, org))

    lives = await asyncio.gather(*(broker.refresh(handle, org_id=other) for _ in range(5)))

    assert {live.org_id for live in lives} == {other}
    assert await scene.turns(handle) == 1


async def test_two_who_want_different_organizations_both_get_theirs(scene: Scene) -> None:
    user = scene.cloud.a_user()
    orgs = [scene.cloud.an_org(user), scene.cloud.an_org(user)]
    one, other = scene.a_broker(), scene.a_broker()
    handle, _ = await one.begin(scene.cloud.a_code(user, orgs[0]))
    await scene.pass_(MINUTES)

    await asyncio.gather(one.refresh(handle, org_id=orgs[0]), other.refresh(handle, org_id=orgs[1]))

    assert await scene.turns(handle) == 2
    assert (await scene.row(handle)).ended_why is None


async def test_a_refused_switch_leaves_the_session_where_it_was(
    scene: Scene, broker: Broker
) -> None:
    user = scene.cloud.a_user()
    org = scene.cloud.an_org(user)
    handle, _ = await broker.begin(scene.cloud.a_code(user, org))

    with pytest.raises(OrganizationRefused, match="organization_membership_not_found"):
        await broker.refresh(handle, org_id=scene.cloud.an_org())

    row = await scene.row(handle)
    assert (row.ended_why, row.in_doubt_for, row.held_for, row.failures) == (None, None, None, 0)
    assert (await broker.refresh(handle)).org_id == org


async def test_a_stranger_s_handle_is_no_session(broker: Broker) -> None:
    for act in (broker.refresh, broker.end):
        with pytest.raises(UnknownSession):
            await act("tns_nobody")


async def test_a_code_is_good_for_one_sign_in(scene: Scene, broker: Broker) -> None:
    code = scene.cloud.a_code()
    await broker.begin(code)

    with pytest.raises(CodeRefused, match="invalid_grant"):
        await broker.begin(code)


async def test_a_sign_in_while_the_provider_is_away_is_put_off(
    scene: Scene, broker: Broker
) -> None:
    code = scene.cloud.a_code()
    scene.cloud.fail("429", seconds=7)
    with pytest.raises(SignInDelayed) as told:
        await broker.begin(code)

    assert told.value.retry_after.total_seconds() == 7
    assert (await broker.begin(code))[1].is_fresh


async def test_a_wrong_key_of_ours_ends_nobody_s_session(scene: Scene, broker: Broker) -> None:
    """M8: a deployment with the wrong WORKOS_API_KEY must not sign everybody out."""
    handle, first = await broker.begin(scene.cloud.a_code())
    wrong = scene.a_broker(api_key="sk_" + RandomIds().token("", 8))
    await scene.pass_(60)

    assert not (held := await wrong.refresh(handle)).is_fresh
    assert held.access_token == first.access_token
    await scene.pass_(MINUTES)
    with pytest.raises(ProviderKeyRefused):
        await wrong.refresh(handle)
    with pytest.raises(ProviderKeyRefused):
        await wrong.begin(scene.cloud.a_code())

    await scene.pass_(5)
    assert (await broker.refresh(handle)).is_fresh


async def test_the_key_changes_and_sessions_stay(scene: Scene) -> None:
    """M8: TENURE_SESSION_KEY is replaced under way; who lacks the key loses nobody's session."""
    later = Fernet.generate_key().decode()
    handle, _ = await scene.a_broker().begin(scene.cloud.a_code())
    await scene.pass_(MINUTES)

    with pytest.raises(NotOurSeal):
        await scene.a_broker(keys=(later,)).refresh(handle)
    assert (await scene.row(handle)).ended_why is None
    assert (await scene.a_broker(keys=(later, *scene.keys)).refresh(handle)).is_fresh
    assert (await scene.a_broker(keys=(later,)).refresh(handle)).is_fresh


async def test_tokens_moved_to_another_row_do_not_open(scene: Scene, broker: Broker) -> None:
    """M8: who can write rows cannot take over a session."""
    victim, _ = await broker.begin(scene.cloud.a_code())
    thief, _ = await broker.begin(scene.cloud.a_code())
    async with scene.db.statement() as tx:
        await tx.execute(
            """
            UPDATE tenure.sessions t SET access_token = v.access_token,
                   refresh_token = v.refresh_token, refresh_hash = v.refresh_hash
              FROM tenure.sessions v WHERE t.handle_hash = %s AND v.handle_hash = %s
            """,
            (key_of(thief), key_of(victim)),
        )

    with pytest.raises(NotOurSeal):
        await broker.refresh(thief)


async def test_signing_out_ends_the_session_here_and_at_the_provider(
    scene: Scene, broker: Broker
) -> None:
    handle, live = await broker.begin(scene.cloud.a_code())
    session_id = (await scene.row(handle)).external_id

    assert await broker.end(handle)

    with pytest.raises(SessionOver, match="signed out"):
        await broker.refresh(handle)
    assert scene.cloud.workos.world.sessions.rows[session_id]["status"] == "revoked"
    async with scene.db.statement() as tx:
        cur = await tx.execute("SELECT session_id, user_id FROM tenure.revoked_sessions")
        assert await cur.fetchall() == [{"session_id": session_id, "user_id": live.user_id}]
    assert await broker.end(handle)


async def test_signing_out_is_told_to_every_gate_once_and_with_the_row(
    scene: Scene, broker: Broker
) -> None:
    """M6: where the user has a row; of who never came by, no gate remembers anything."""
    handle, live = await broker.begin(scene.cloud.a_code())
    assert live.principal is not None
    await arrive(scene.db, scene.cloud.clock, RandomIds(), live.principal)
    async with scene.db.statement() as tx:
        await tx.execute("DELETE FROM tenure.news")

    await asyncio.gather(*(scene.a_broker().end(handle) for _ in range(3)))

    async with scene.db.statement() as tx:
        cur = await tx.execute(
            """
            SELECT n.topic, n.payload, i.external_id
              FROM tenure.news n JOIN tenure.identities i USING (user_id)
            """
        )
        told = await cur.fetchall()
    what = {"what": ["session"]}
    assert told == [{"topic": "identity.changed", "payload": what, "external_id": live.user_id}]


async def test_a_provider_that_is_away_learns_of_the_sign_out_later(
    scene: Scene, broker: Broker
) -> None:
    handle, _ = await broker.begin(scene.cloud.a_code())
    session_id = (await scene.row(handle)).external_id
    scene.cloud.fail("500", match="POST /user_management/sessions/revoke")

    assert not await broker.end(handle)
    assert (await scene.row(handle)).ended_why == "signed_out"
    assert await broker.revoke_due() == 1
    assert await broker.revoke_due() == 0
    assert scene.cloud.workos.world.sessions.rows[session_id]["status"] == "revoked"


async def test_a_refresh_under_way_does_not_bring_back_who_signed_out(
    scene: Scene, broker: Broker
) -> None:
    handle, _ = await broker.begin(scene.cloud.a_code())
    await scene.pass_(MINUTES)
    scene.cloud.fail("latency", seconds=0.5)
    asked = scene.cloud.asked()
    refreshing = asyncio.create_task(broker.refresh(handle))

    async def is_asked() -> bool:
        return scene.cloud.asked() > asked

    await until(is_asked)

    await scene.a_broker().end(handle)

    with pytest.raises(SessionOver, match="signed out"):
        await refreshing
    assert (await scene.raw(handle))["access_token"] is None


async def test_who_has_a_good_token_is_not_kept_waiting_for_a_slow_provider(
    scene: Scene, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "PATIENCE", rotation.WAITS[0])
    handle, first = await broker.begin(scene.cloud.a_code())
    await scene.pass_(60)
    scene.cloud.fail("latency", seconds=1)

    live = await broker.refresh(handle)

    assert (live.is_fresh, live.access_token) == (False, first.access_token)
    await broker.close()  # waits for what goes on
    assert await scene.turns(handle) == 1
    assert (await broker.refresh(handle)).is_fresh
