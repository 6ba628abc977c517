from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tenure.base.clock import StoppedClock
from tenure.identity import errors
from tenure.identity.claims import Claims
from tenure.identity.issuers import clerk
from tenure.identity.keys import KeyAddress, Pem
from tenure.identity.session import Verifier, bearer
from tests.identity.clerk_scene import START, Scene, a_scene

NOW = START.timestamp()


@pytest.fixture(scope="module")
def shared() -> Iterator[Scene]:
    with a_scene() as scene:
        yield scene


@pytest.fixture
def scene(shared: Scene) -> Scene:
    shared.clock.at = START
    return shared


@pytest.mark.parametrize("version", [1, 2])
async def test_both_claim_versions_name_the_same_person(scene: Scene, version: int) -> None:
    """T6, B1: version 1 says `org:admin`, version 2 says `admin`; we say `admin`."""
    session = scene.a_session()
    path = f"/v1/sessions/{session['id']}/tokens?v={version}"
    async with scene.verifier() as verifier:
        who = await verifier.verify(scene.post(path)["jwt"])

    assert (who.provider, who.issuer) == ("clerk", scene.clerk.url)
    assert (who.user_id, who.session_id) == (session["user_id"], session["id"])
    assert (who.org_id, who.org_slug) == (session["org"]["id"], session["org"]["slug"])
    assert who.role == "admin"
    dashboard = {"org:dashboard:read", "org:dashboard:manage"}
    assert who.permissions == dashboard | {"org:reports:read"}
    assert who.expires_at - who.issued_at == timedelta(seconds=60)
    assert who.actor is None


async def test_without_an_active_organization_there_is_no_role(scene: Scene) -> None:
    async with scene.verifier() as verifier:
        for version in (1, 2):
            who = await verifier.verify(scene.mint(v=version))
            assert (who.org_id, who.role, who.permissions) == (None, None, frozenset())


async def test_impersonation_names_the_actor(scene: Scene) -> None:
    act = {"iss": "https://dashboard.example.com", "sid": "sess_9", "sub": "user_admin"}
    async with scene.verifier() as verifier:
        assert (await verifier.verify(scene.mint(claims={"act": act}))).actor == "user_admin"


async def test_unknown_header_parameters_are_fine(scene: Scene) -> None:
    async with scene.verifier() as verifier:
        await verifier.verify(scene.mint(headers={"oiat": 1, "something_new": {"a": [1]}}))


REFUSED: dict[str, tuple[type[errors.NotProven], dict[str, Any]]] = {
    "alg none": (errors.BadToken, {"sign": "none"}),
    "HS256 with the public key": (errors.BadToken, {"sign": "hs256_with_public_pem"}),
    "another RSA algorithm": (errors.BadToken, {"headers": {"alg": "RS512"}}),
    "alg of a wrong type": (errors.BadToken, {"headers": {"alg": ["RS256"]}}),
    "a stranger's signature": (errors.BadToken, {"sign": "stranger"}),
    "jku": (errors.BadToken, {"headers": {"jku": "https://evil.example.com/keys"}}),
    "x5u": (errors.BadToken, {"headers": {"x5u": "https://evil.example.com/cert"}}),
    "jwk": (errors.BadToken, {"headers": {"jwk": {"kty": "RSA"}}}),
    "crit": (errors.BadToken, {"headers": {"crit": ["b64"], "b64": True}}),
    "kid of a wrong type": (errors.BadToken, {"headers": {"kid": 7}}),
    "no exp": (errors.BadToken, {"without": ["exp"]}),
    "no iat": (errors.BadToken, {"without": ["iat"]}),
    "no sub": (errors.BadToken, {"without": ["sub"]}),
    "no iss": (errors.BadToken, {"without": ["iss"]}),
    "empty sub": (errors.BadToken, {"claims": {"sub": ""}}),
    "a NUL in sub": (errors.BadToken, {"claims": {"sub": "user_\x00"}}),
    "exp as text": (errors.BadToken, {"claims": {"exp": "9999999999"}}),
    "exp as a truth value": (errors.BadToken, {"claims": {"exp": True}}),
    "exp beyond any calendar": (errors.BadToken, {"claims": {"exp": 10**30}}),
    "negative iat": (errors.BadToken, {"claims": {"iat": -1}}),
    "a life longer than allowed": (errors.BadToken, {"claims": {"exp": NOW + 1e6}}),
    "exp before iat": (errors.BadToken, {"claims": {"iat": NOW + 4, "exp": NOW + 3}}),
    "iat in the future": (errors.BadToken, {"claims": {"iat": NOW + 20}}),
    "nbf in the future": (errors.BadToken, {"claims": {"nbf": NOW + 20}}),
    "an unknown version": (errors.BadToken, {"claims": {"v": 3}}),
    "an organization without id": (errors.BadToken, {"claims": {"o": {"rol": "admin"}}}),
    "masks that are no numbers": (
        errors.BadToken,
        {"claims": {"fea": "o:x", "o": {"id": "org_1", "per": "read", "fpm": "one"}}},
    ),
    "expired": (errors.TokenExpired, {"claims": {"exp": NOW - 6}}),
    "foreign issuer": (errors.ForeignIssuer, {"claims": {"iss": "https://clerk.example.com"}}),
    "issuer plus a slash": (errors.ForeignIssuer, {"claims": {"iss": "SLASH"}}),
    "wrong azp": (errors.WrongParty, {"claims": {"azp": "https://evil.example.com"}}),
    "empty azp": (errors.WrongParty, {"claims": {"azp": ""}}),
    "no azp": (errors.WrongParty, {"without": ["azp"]}),
    "pending": (errors.PendingSession, {"claims": {"sts": "pending"}}),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_wrong_token_is_refused_by_name(scene: Scene, name: str) -> None:
    """B1: what the official SDK lets through (no exp, foreign iss, pending) is refused too."""
    error, asked = REFUSED[name]
    if asked.get("claims", {}).get("iss") == "SLASH":
        asked = {"claims": {"iss": scene.clerk.url + "/"}}
    token = scene.mint(**asked)
    async with scene.verifier() as verifier:
        with pytest.raises(error) as caught:
            await verifier.verify(token)

        assert type(caught.value) is error
        assert verifier.recall(token) is None
    assert caught.value.hint
    for part in token.split("."):
        assert not part or part not in str(caught.value)


async def test_the_algorithm_is_the_issuers_and_asks_nobody(scene: Scene) -> None:
    """B1: the header's `alg` never picks the algorithm; a wrong one costs no look at the keys."""
    before = scene.fetches()
    async with scene.verifier() as verifier:
        for sign in ("none", "hs256_with_public_pem"):
            with pytest.raises(errors.BadToken) as caught:
                await verifier.verify(scene.mint(sign=sign))
            assert caught.value.facts == {"reason": "algorithm"}
    assert scene.fetches() == before


async def test_a_reader_cannot_smuggle_in_another_issuer(scene: Scene) -> None:
    issuer = clerk(scene.clerk.url, keys=Pem(text=scene.clerk.world.state.keys[0].public_pem()))
    other = Claims(iss="https://other.example.com", sub="user_1", iat=NOW, exp=NOW + 60)
    verifier = Verifier([replace(issuer, read=lambda _: other)], clock=scene.clock)
    with pytest.raises(errors.BadToken, match="two issuers"):
        await verifier.verify(scene.mint())


MALFORMED = ["", ".", "..", "...", "a.b", "a.b.c", "ak_opaque", "é.é.é", "\ud800.a.b", "x" * 20_000]


@pytest.mark.parametrize("token", MALFORMED)
async def test_what_is_no_token_is_a_bad_token(scene: Scene, token: str) -> None:
    async with scene.verifier() as verifier:
        with pytest.raises(errors.BadToken):
            await verifier.verify(token)


async def test_a_signed_token_above_the_size_limit_is_refused(scene: Scene) -> None:
    async with scene.verifier() as verifier:
        with pytest.raises(errors.BadToken, match="longer than 16384"):
            await verifier.verify(scene.mint(claims={"padding": "x" * 20_000}))


async def test_leeway_is_given_both_ways_and_no_further(scene: Scene) -> None:
    token = scene.mint()
    async with scene.verifier() as verifier:
        scene.clock.at = START + timedelta(seconds=64.9)
        assert await verifier.verify(token)
        scene.clock.at = START + timedelta(seconds=65)
        assert verifier.recall(token) is None
        with pytest.raises(errors.TokenExpired):
            await verifier.verify(token)
    async with scene.verifier() as verifier:
        scene.clock.at = START - timedelta(seconds=5)
        assert await verifier.verify(token)
    async with scene.verifier() as verifier:
        scene.clock.at = START - timedelta(seconds=5.1)
        with pytest.raises(errors.BadToken, match="not valid yet"):
            await verifier.verify(token)


def test_a_leeway_above_ten_seconds_cannot_be_configured(clock: StoppedClock) -> None:
    with pytest.raises(ValueError, match="leeway"):
        Verifier([], clock=clock, leeway=timedelta(seconds=11))


async def test_azp_may_be_absent_only_where_that_is_allowed(scene: Scene) -> None:
    async with scene.verifier(azp_optional=True) as verifier:
        await verifier.verify(scene.mint(without=["azp"]))
        with pytest.raises(errors.WrongParty):
            await verifier.verify(scene.mint(claims={"azp": "https://evil.example.com"}))
    async with scene.verifier(authorized_parties=[]) as verifier:
        await verifier.verify(scene.mint(claims={"azp": "https://any.example.com"}))


async def test_aud_is_checked_where_it_is_configured(scene: Scene) -> None:
    named = scene.mint(claims={"aud": ["other", "tenure"]})
    foreign = scene.mint(claims={"aud": "other"})
    async with scene.verifier(audiences=["tenure"]) as verifier:
        await verifier.verify(named)
        for token in (foreign, scene.mint()):
            with pytest.raises(errors.WrongParty, match="audience"):
                await verifier.verify(token)
    async with scene.verifier() as verifier:
        await verifier.verify(foreign)


async def test_a_verified_token_is_remembered_until_it_expires(scene: Scene) -> None:
    """T6: the warm path asks nobody, and ends with the token."""
    token = scene.mint()
    async with scene.verifier() as verifier:
        assert verifier.recall(token) is None
        who = await verifier.verify(token)
        scene.fail("refuse")
        try:
            assert verifier.recall(token) is who
            assert await verifier.verify(token) is who
        finally:
            scene.heal()
        scene.clock.tick(timedelta(seconds=66))
        assert verifier.recall(token) is None


async def test_a_long_lived_token_is_checked_again_after_five_minutes(scene: Scene) -> None:
    token = scene.mint(claims={"exp": NOW + 3600})
    async with scene.verifier() as verifier:
        await verifier.verify(token)
        scene.clock.tick(timedelta(minutes=5))
        assert verifier.recall(token) is None
        assert await verifier.verify(token)


async def test_memory_is_bounded_and_keeps_what_is_used(scene: Scene) -> None:
    issuer = clerk(scene.clerk.url, keys=Pem(text=scene.clerk.world.state.keys[0].public_pem()))
    verifier = Verifier([issuer], clock=scene.clock, remember=8)
    first, *others = [scene.sign(n) for n in range(40)]
    await verifier.verify(first)
    for token in others:
        await verifier.verify(token)
        assert verifier.recall(first), "used all the time, so never forgotten"

    assert sum(verifier.recall(token) is not None for token in others) <= 8


async def test_with_a_pem_there_is_no_network(scene: Scene) -> None:
    """T6: the dashboard's PEM key needs no fetch, also with the line ends of an `.env` file."""
    pem = scene.clerk.world.state.keys[0].public_pem()
    for text in (pem, pem.replace("\n", "\\n")):
        verifier = Verifier([clerk(scene.clerk.url, keys=Pem(text=text))], clock=scene.clock)
        assert (await verifier.verify(scene.sign(3))).user_id == "user_3"
        with pytest.raises(errors.BadToken):
            await verifier.verify(scene.mint(sign="hs256_with_public_pem"))
        with pytest.raises(errors.BadToken, match="signature"):
            await verifier.verify(scene.mint(sign="stranger"))


def test_two_issuers_of_one_name_cannot_be_configured(scene: Scene) -> None:
    issuer = clerk(scene.clerk.url, keys=Pem(text=scene.clerk.world.state.keys[0].public_pem()))
    with pytest.raises(errors.BadKey, match="two issuers"):
        Verifier([issuer, issuer], clock=scene.clock)


async def test_the_key_of_one_instance_does_not_open_another(scene: Scene) -> None:
    with a_scene() as other:
        mine = clerk(scene.clerk.url, keys=Pem(text=scene.clerk.world.state.keys[0].public_pem()))
        theirs = clerk(other.clerk.url, keys=Pem(text=other.clerk.world.state.keys[0].public_pem()))
        verifier = Verifier([mine, theirs], clock=scene.clock)
        await verifier.verify(scene.mint())
        await verifier.verify(other.mint())
        with pytest.raises(errors.BadToken, match="signature"):
            await verifier.verify(other.mint(claims={"iss": scene.clerk.url}))


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic abc", "abc"])
def test_a_request_without_a_bearer_token_has_no_token(header: str | None) -> None:
    with pytest.raises(errors.NoToken):
        bearer(header)


@pytest.mark.parametrize("header", ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c "])
def test_the_scheme_is_read_in_any_case(header: str) -> None:
    assert bearer(header) == "a.b.c"


def test_a_secret_key_never_shows_in_an_issuer() -> None:
    shown = repr(KeyAddress(url="https://api.example.com/v1/jwks", bearer="sk_secret"))
    assert "sk_secret" not in shown
