"""B1: keys of every issuer: one fetch under any concurrency, bounded by strangers, kept."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tenure.identity import errors
from tenure.identity.issuers import oidc
from tenure.identity.session import Verifier
from tenure.sandbox.supabase import signing
from tests.identity.authorities import DISCOVERY, KINDS, Authority, an_authority, shared_key


@pytest.fixture(params=KINDS)
def authority(request: pytest.FixtureRequest) -> Iterator[Authority]:
    with an_authority(request.param) as authority:
        yield authority


@pytest.fixture
def supabase() -> Iterator[Authority]:
    with an_authority("supabase") as authority:
        yield authority


@pytest.fixture
def openid() -> Iterator[Authority]:
    with an_authority("oidc") as authority:
        yield authority


async def outcomes(verifier: Verifier, tokens: list[str]) -> set[str]:
    """Verify all at once; say what came out."""
    seen = await asyncio.gather(*map(verifier.verify, tokens), return_exceptions=True)
    return {type(one).__name__ for one in seen}


async def refusal(verifier: Verifier, token: str) -> str:
    with pytest.raises(errors.BadToken) as caught:
        await verifier.verify(token)
    return str(caught.value.facts["reason"])


async def test_twenty_cold_verifications_fetch_once(authority: Authority) -> None:
    """T6, B1: whoever the issuer is."""
    authority.delay = 0.1
    async with authority.verifier() as verifier:
        assert await outcomes(verifier, [authority.sign(n) for n in range(20)]) == {"Principal"}
    assert authority.fetches() == 1
    assert authority.asked[DISCOVERY] == (authority.kind == "oidc")


async def test_two_hundred_unknown_kids_fetch_once_in_thirty_seconds(authority: Authority) -> None:
    """T6, B1"""
    flood = [authority.sign(n, headers={"kid": f"unknown_{n}"}) for n in range(200)]
    async with authority.verifier() as verifier:
        assert await verifier.verify(authority.sign())
        for expected in (2, 2, 3):
            assert await outcomes(verifier, flood) == {"BadToken"}
            assert authority.fetches() == expected
            authority.clock.tick(timedelta(seconds=15))


async def test_bad_signatures_fetch_once_in_thirty_seconds(authority: Authority) -> None:
    """B1"""
    flood = [authority.sign(n, by="stranger") for n in range(20)]
    async with authority.verifier() as verifier:
        assert await verifier.verify(authority.sign())
        assert await outcomes(verifier, flood) == {"BadToken"}
        assert await outcomes(verifier, flood) == {"BadToken"}
    assert authority.fetches() == 2


@pytest.mark.parametrize("kid", ["", "key_1"])
async def test_old_and_new_key_overlap_until_the_old_one_is_taken_back(
    authority: Authority, kid: str
) -> None:
    """B1: with a new kid, and with the same, as Clerk does it."""
    old = authority.sign(1)
    async with authority.verifier() as verifier:
        await verifier.verify(authority.sign())
        authority.rotate(keep=True, kid=kid)
        assert await outcomes(verifier, [old, authority.sign(2)]) == {"Principal"}
        authority.keys = authority.keys[:1]
        authority.clock.tick(timedelta(seconds=30))
        authority.sign()
    async with authority.verifier() as cold:
        assert await outcomes(cold, [old]) == {"BadToken"}
        assert await outcomes(cold, [authority.sign(3)]) == {"Principal"}


async def test_known_keys_serve_through_an_outage_of_24_hours(authority: Authority) -> None:
    """B1"""
    async with authority.verifier() as verifier:
        await verifier.verify(authority.sign())
        authority.broken = True
        authority.clock.tick(timedelta(hours=23))
        for number in range(3):
            assert await verifier.verify(authority.sign(number))
        assert await outcomes(verifier, [authority.sign(headers={"kid": "?"})]) == {
            "KeysUnavailable"
        }
        authority.clock.tick(timedelta(hours=2))
        assert await outcomes(verifier, [authority.sign()]) == {"KeysUnavailable"}


async def test_a_key_taken_back_while_nobody_asked_does_not_pass_once_more(
    authority: Authority,
) -> None:
    async with authority.verifier() as verifier:
        await verifier.verify(authority.sign())
        stolen = authority.keys[0]
        authority.rotate(keep=False)
        authority.clock.tick(timedelta(minutes=16))
        assert await refusal(verifier, authority.sign(1, key=stolen)) in {"kid", "signature"}


async def test_an_issuer_that_is_away_does_not_shut_the_door_to_the_others(
    supabase: Authority, openid: Authority
) -> None:
    openid.broken = True
    async with supabase.verifier(openid.issuer) as verifier:
        await verifier.warm_up()
        assert await verifier.verify(supabase.sign())
        with pytest.raises(errors.KeysUnavailable):
            await verifier.verify(openid.sign())
    async with openid.verifier() as alone:
        with pytest.raises(errors.KeysUnavailable):
            await alone.warm_up()


async def test_the_key_decides_the_algorithm_and_not_the_header(supabase: Authority) -> None:
    """B1: one set holds both kinds while a project changes, even under one name."""
    rsa = signing.make("key_1", "RS256", "previously_used")
    supabase.keys.append(rsa)
    async with supabase.verifier() as verifier:
        assert await verifier.verify(supabase.sign(1))
        assert await verifier.verify(supabase.sign(2, key=rsa))
        lies: list[dict[str, Any]] = [
            {"headers": {"alg": "RS256"}},
            {"headers": {"alg": "ES256"}, "key": rsa},
            {"headers": {"alg": "HS256"}},
            {"by": "hs256_with_public_pem"},
            {"by": "hs256_with_public_pem", "key": rsa},
        ]
        for lie in lies:
            assert await refusal(verifier, supabase.sign(3, **lie)) == "signature"
        for alg in ("none", "HS384", "RS512", "PS256", "ES384", "EdDSA"):
            assert await refusal(verifier, supabase.sign(3, headers={"alg": alg})) == "algorithm"


async def test_both_kinds_of_supabase_tokens_pass_during_the_migration(
    supabase: Authority,
) -> None:
    """B1: the shared secret signs without a kid, or with one that is not published."""
    legacy = shared_key()
    async with supabase.verifier() as verifier:
        for number, token in enumerate(
            [
                supabase.sign(0),
                supabase.sign(1, key=legacy),
                supabase.sign(2, key=legacy, headers={"kid": "9f2b"}),
            ]
        ):
            assert (await verifier.verify(token)).user_id.endswith(str(number + 1))
        assert await refusal(verifier, supabase.sign(key=legacy, by="stranger")) == "signature"
    assert supabase.fetches() == 1, "the secret needs no network"


async def test_a_project_that_publishes_no_key_yet_is_no_outage(supabase: Authority) -> None:
    supabase.keys, former = [], supabase.keys[0]
    async with supabase.verifier() as verifier:
        await verifier.warm_up()
        assert await verifier.verify(supabase.sign(key=shared_key()))
        assert await refusal(verifier, supabase.sign(key=former)) == "kid"
        assert await refusal(verifier, supabase.sign(key=former)) == "kid"
        assert supabase.fetches() == 2
        supabase.keys = [former]
        supabase.clock.tick(timedelta(seconds=30))
        assert await verifier.verify(supabase.sign())


async def test_a_foreign_configuration_is_not_believed(openid: Authority) -> None:
    """B1: an issuer that vouches for another's keys, or moves them where they can be changed."""
    for lie in (
        {"issuer": openid.url + "/"},
        {"issuer": "https://evil.example.com"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 5},
    ):
        openid.configuration = lie
        async with openid.verifier() as verifier:
            assert await outcomes(verifier, [openid.sign()]) == {"KeysUnavailable"}
        assert openid.fetches() == 0


async def test_keys_that_move_are_found_again(openid: Authority) -> None:
    async with openid.verifier() as verifier:
        await verifier.verify(openid.sign())
        openid.moved = "/elsewhere"
        openid.clock.tick(timedelta(minutes=16))
        assert await verifier.verify(openid.sign(1)), "known keys serve meanwhile"
        openid.rotate(keep=False)
        openid.clock.tick(timedelta(minutes=1))
        assert await verifier.verify(openid.sign(2))
    assert openid.asked == {"/keys": 2, DISCOVERY: 2, "/elsewhere": 1}


async def test_without_an_audience_an_issuer_cannot_be_configured() -> None:
    with pytest.raises(errors.BadKey, match="audience"):
        oidc("https://login.example.com/", [])
