import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.fernet import Fernet
from workos import BadRequestError, RateLimitExceededError, ServerError, WorkOSClient
from workos.session import Session, seal_session_from_auth_response

from tenure.sandbox.workos.app import Running, running_workos
from tests.sandbox.workos.inside import Room, a_room

AUTHENTICATE = "/user_management/authenticate"


def claims(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


async def refreshed(room: Room, token: str, org: str | None = None) -> Any:
    return await room.sdk.user_management.authenticate_with_refresh_token(
        refresh_token=token, organization_id=org
    )


async def test_an_access_token_carries_workos_claims(room: Room) -> None:
    """B5, B1"""
    org, user = await room.a_pair()
    await room.a_member(org, user, "admin")
    given = {"entitlements": ["seats"], "feature_flags": ["beta"]}
    await room.post(f"/_sandbox/organizations/{org}", **given)
    answer = await room.signed_in(user, org)
    keys = await room.sdk.user_management.get_jwks(room.workos.client_id)
    raw = (await room.get(f"/sso/jwks/{room.workos.client_id}"))["keys"][0]

    said = jwt.decode(answer.access_token, jwt.PyJWK(raw), options={"verify_exp": False})

    now = int(room.clock.at.timestamp())
    assert said.pop("jti")
    assert said.pop("sid").startswith("session_01")
    assert said == {
        "iss": f"http://workos.test/user_management/{room.workos.client_id}",
        "sub": user,
        "org_id": org,
        "role": "admin",
        "roles": ["admin"],
        "permissions": ["members:manage", "reports:read"],
        "entitlements": ["seats"],
        "feature_flags": ["beta"],
        "iat": now,
        "exp": now + 300,
    }
    assert keys.keys[0].kid == raw["kid"]
    assert (answer.user.id, answer.organization_id) == (user, org)
    assert answer.authentication_method == "GoogleOAuth"


async def test_outside_of_an_organization_a_token_names_none(room: Room) -> None:
    said = claims((await room.signed_in(await room.a_user())).access_token)
    assert set(said) == {"iss", "sub", "sid", "jti", "exp", "iat"}


async def test_a_code_works_once_and_not_for_long(room: Room) -> None:
    user = await room.a_user()
    users = room.sdk.user_management
    code = (await room.post("/_sandbox/codes", user_id=user))["code"]
    await users.authenticate_with_code(code=code)
    late = (await room.post("/_sandbox/codes", user_id=user))["code"]
    room.pass_(600)
    for spent in (code, late):
        with pytest.raises(BadRequestError) as caught:
            await users.authenticate_with_code(code=spent)
        assert caught.value.error == "invalid_grant"
    org = await room.an_org()
    refused = await room.refused("POST", "/_sandbox/codes", user_id=user, organization_id=org)
    assert refused == (422, "user_not_member_of_organization")


async def test_a_password_signs_in_to_the_only_organization(room: Room) -> None:
    org, user = await room.an_org(), await room.a_user("p@example.com", password="correct horse")
    await room.a_member(org, user)
    users = room.sdk.user_management
    answer = await users.authenticate_with_password(email="p@example.com", password="correct horse")
    assert answer.organization_id == org
    assert "correct" not in (await room.http.get(f"/user_management/users/{user}")).text
    wrong = {"grant_type": "password", "email": "p@example.com", "password": "wrong"}
    wrong |= {"client_id": room.workos.client_id, "client_secret": room.workos.api_key}
    assert await room.refused("POST", AUTHENTICATE, **wrong) == (401, "invalid_credentials")


async def test_a_refresh_token_is_spent_once_and_keeps_the_session(room: Room) -> None:
    """B5: the npm emulator makes a new session each time."""
    first = await room.signed_in(await room.a_user())
    second = await refreshed(room, first.refresh_token)
    assert second.refresh_token != first.refresh_token
    assert claims(second.access_token)["sid"] == claims(first.access_token)["sid"]
    assert (await refreshed(room, second.refresh_token)).refresh_token


async def test_a_spent_token_gets_the_same_pair_for_thirty_seconds(room: Room) -> None:
    """B5: a retry after a lost answer is no second rotation (workos-node#1663)."""
    first = await room.signed_in(await room.a_user())
    second = await refreshed(room, first.refresh_token)
    third = await refreshed(room, second.refresh_token)
    room.pass_(30)
    assert await refreshed(room, first.refresh_token) == second
    room.pass_(0.001)
    with pytest.raises(BadRequestError) as caught:
        await refreshed(room, first.refresh_token)
    assert caught.value.error == "invalid_grant"
    assert caught.value.error_description == "Refresh token already exchanged."
    assert (await refreshed(room, third.refresh_token)).refresh_token


async def test_twenty_refreshes_at_once_give_one_pair(room: Room) -> None:
    first = await room.signed_in(await room.a_user())
    answers = await asyncio.gather(*(refreshed(room, first.refresh_token) for _ in range(20)))
    assert len({answer.refresh_token for answer in answers}) == 1


async def test_a_refresh_switches_to_an_organization_of_the_user(room: Room) -> None:
    org, user = await room.a_pair()
    other, foreign = await room.an_org("Other"), await room.an_org("Foreign")
    await room.a_member(org, user)
    await room.a_member(other, user)
    first = await room.signed_in(user, org)
    with pytest.raises(BadRequestError, match="not an active member"):
        await refreshed(room, first.refresh_token, foreign)
    second = await refreshed(room, first.refresh_token, other)
    assert claims(second.access_token)["org_id"] == second.organization_id == other
    third = await refreshed(room, second.refresh_token)
    assert third.organization_id == other, "it stays there"


async def test_a_removed_member_gets_no_token_for_the_organization(room: Room) -> None:
    org, user = await room.a_pair()
    made = await room.a_member(org, user)
    first = await room.signed_in(user, org)
    await room.sdk.organization_membership.delete_organization_membership(made.id)
    second = await refreshed(room, first.refresh_token)
    assert second.organization_id is None
    assert "org_id" not in claims(second.access_token)


async def test_a_revoked_session_refreshes_no_more_and_says_so_once(room: Room) -> None:
    users = room.sdk.user_management
    user = await room.a_user()
    one, two = await room.signed_in(user), await room.signed_in(user)
    before = await room.last_event()
    sid = claims(one.access_token)["sid"]
    for _ in range(2):
        await users.revoke_session(session_id=sid)
    out = await room.http.get(
        users.get_logout_url(
            session_id=claims(two.access_token)["sid"], return_to="http://app.test/"
        )
    )
    assert out.headers["location"] == "http://app.test/"
    assert await room.kinds(before) == ["session.revoked", "session.revoked"]
    for answer in (one, two):
        with pytest.raises(BadRequestError) as caught:
            await refreshed(room, answer.refresh_token)
        assert caught.value.error == "invalid_grant"
    assert (await users.list_sessions(user)).data == []
    path = "/user_management/sessions/revoke"
    assert (await room.refused("POST", path, session_id="session_0"))[0] == 404


async def test_an_impersonated_session_says_by_whom(room: Room) -> None:
    impersonator = {"email": "support@example.com", "reason": "ticket 7"}
    user = await room.a_user()
    given = {"user_id": user, "impersonator": impersonator, "auth_method": "impersonation"}
    code = (await room.post("/_sandbox/codes", **given))["code"]
    answer = await room.sdk.user_management.authenticate_with_code(code=code)
    assert answer.impersonator.email == "support@example.com"
    assert claims(answer.access_token)["act"] == {"sub": "support@example.com"}
    (session,) = (await room.sdk.user_management.list_sessions(user)).data
    assert session.impersonator.reason == "ticket 7"


async def test_an_answer_that_is_lost_was_a_rotation(room: Room) -> None:
    """B5: the same token brings the lost pair while the grace lasts, and nothing after it."""
    first = await room.signed_in(await room.a_user())
    for name, error in (("lost", httpx.ReadError), ("done_500", ServerError)):
        await room.post("/_sandbox/faults", name=name, match=f"POST {AUTHENTICATE}")
        with pytest.raises(Exception) as caught:  # noqa: PT011 (whatever the SDK makes of it)
            await refreshed(room, first.refresh_token)
        cause = caught.value.__cause__ or caught.value
        assert isinstance(cause.__cause__ or cause, error)
        pair = await refreshed(room, first.refresh_token)
        assert pair.refresh_token != first.refresh_token
        first = pair
    await room.post("/_sandbox/faults", name="done_500", match=AUTHENTICATE)
    with pytest.raises(ServerError):
        await refreshed(room, first.refresh_token)
    room.pass_(30.001)
    with pytest.raises(BadRequestError):
        await refreshed(room, first.refresh_token)


async def test_a_refusal_before_the_rotation_spends_nothing(room: Room) -> None:
    first = await room.signed_in(await room.a_user())
    for name, error in (("500", ServerError), ("429", RateLimitExceededError)):
        await room.post("/_sandbox/faults", name=name, match=AUTHENTICATE)
        with pytest.raises(error):
            await refreshed(room, first.refresh_token)
    room.pass_(31)
    assert (await refreshed(room, first.refresh_token)).refresh_token


async def test_an_application_shows_its_id_and_secret() -> None:
    async with a_room(api_key="sk_test_known", client_id="client_known") as room:
        good = {"client_id": "client_known", "client_secret": "sk_test_known"}
        for wrong in ({"client_id": "x"}, {"client_secret": "x"}):
            given = {"grant_type": "refresh_token", **good, **wrong}
            assert await room.refused("POST", AUTHENTICATE, **given) == (400, "invalid_client")
        given = {"grant_type": "carrier_pigeon", **good}
        assert await room.refused("POST", AUTHENTICATE, **given) == (400, "unsupported_grant_type")
        assert (await room.refused("GET", "/sso/jwks/client_other"))[0] == 404


@pytest.fixture(scope="module")
def workos() -> Iterator[Running]:
    with running_workos() as running:
        yield running


def test_the_official_session_authenticates_and_refreshes_over_the_wire(workos: Running) -> None:
    """B5: sealed cookie, keys by HTTP, switch of organization."""
    password = Fernet.generate_key().decode()
    with (
        httpx.Client(trust_env=False, base_url=workos.url) as http,
        WorkOSClient(
            api_key=workos.api_key,
            client_id=workos.client_id,
            base_url=workos.url,
            jwt_issuer=f"{workos.url}/user_management/{workos.client_id}",
            http_client=http,
        ) as sdk,
    ):
        user = sdk.user_management.create_user(email="ada@example.com")
        org = sdk.organizations.create_organization(name="Acme")
        sdk.organization_membership.create_organization_membership(
            user_id=user.id, organization_id=org.id
        )
        code = http.post("/_sandbox/codes", json={"user_id": user.id}).json()["code"]
        answer = sdk.user_management.authenticate_with_code(code=code)
        sealed = seal_session_from_auth_response(
            access_token=answer.access_token,
            refresh_token=answer.refresh_token,
            user=answer.user.to_dict(),
            cookie_password=password,
        )
        session = Session(client=sdk, session_data=sealed, cookie_password=password)
        before = session.authenticate()
        assert before.authenticated
        assert before.organization_id is None
        after = session.refresh(organization_id=org.id)
        assert after.authenticated
        assert (after.session_id, after.organization_id) == (before.session_id, org.id)
        assert after.role == "member"
