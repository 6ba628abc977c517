import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from tenure.identity.errors import BadKey, BadToken, KeysUnavailable, NotProven
from tenure.identity.keys import KeyAddress, read_jwks, read_pem
from tenure.identity.rings import FetchedKeys
from tenure.identity.session import Verifier
from tenure.sandbox.clerk.signing import SigningKey
from tests.identity.clerk_scene import Scene, a_scene

AT = KeyAddress(url="http://keys.invalid/jwks.json")


@pytest.fixture
def scene() -> Iterator[Scene]:
    with a_scene() as scene:
        yield scene


async def outcomes(verifier: Verifier, tokens: list[str]) -> list[str]:
    """Verify all at once; say for each what came out."""
    seen = await asyncio.gather(*map(verifier.verify, tokens), return_exceptions=True)
    return [type(one).__name__ for one in seen]


async def until_fetched(scene: Scene, times: int) -> None:
    for _ in range(500):
        if scene.fetches() >= times:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"no fetch number {times}")


async def test_twenty_cold_verifications_fetch_once(scene: Scene) -> None:
    """T6, B1: the official SDK fetches twenty times."""
    scene.fail("latency", count=1, seconds=0.1, match="/.well-known")
    async with scene.verifier() as verifier:
        seen = await outcomes(verifier, [scene.sign(n) for n in range(20)])

    assert seen == ["Principal"] * 20
    assert scene.fetches() == 1


@pytest.mark.parametrize("at_once", [True, False])
async def test_two_hundred_unknown_kids_fetch_once(scene: Scene, *, at_once: bool) -> None:
    """B1: a stranger cannot make us flood the issuer; one more fetch only after 30 s."""
    flood = [scene.sign(n, kid=f"ins_unknown_{n}") for n in range(200)]
    async with scene.verifier() as verifier:
        if at_once:
            seen = await outcomes(verifier, flood)
        else:
            seen = [(await outcomes(verifier, [token]))[0] for token in flood]
        assert seen == ["BadToken"] * 200
        assert scene.fetches() == 1

        assert await verifier.verify(scene.sign())
        scene.clock.tick(timedelta(seconds=30))
        await outcomes(verifier, flood)
        assert scene.fetches() == 2


async def test_unknown_kids_fetch_once_when_keys_are_warm(scene: Scene) -> None:
    async with scene.verifier() as verifier:
        await verifier.verify(scene.sign())
        await outcomes(verifier, [scene.sign(n, kid=f"ins_{n}") for n in range(50)])
    assert scene.fetches() == 2


async def test_bad_signatures_under_a_known_kid_fetch_once_per_30_s(scene: Scene) -> None:
    async with scene.verifier() as verifier:
        await verifier.verify(scene.sign())
        for expected in (2, 2, 3):
            for _ in range(3):
                with pytest.raises(BadToken, match="signature"):
                    await verifier.verify(scene.mint(sign="stranger"))
            assert scene.fetches() == expected
            scene.clock.tick(timedelta(seconds=15))


@pytest.mark.parametrize("kid", ["same", "new"])
async def test_a_rotated_key_is_found_at_once(scene: Scene, kid: str) -> None:
    """B1: Clerk's kid names the instance, so a rotation shows only as a bad signature."""
    async with scene.verifier() as verifier:
        await verifier.verify(scene.sign())
        old = scene.sign(1)
        scene.post("/_sandbox/rotate", kid=kid)
        scene.fail("latency", count=1, seconds=0.1, match="/.well-known")
        burst = [scene.sign(n) for n in range(2, 22)]

        assert await outcomes(verifier, burst) == ["Principal"] * 20
        assert scene.fetches() == 2
        assert await outcomes(verifier, [old]) == ["BadToken"]


@pytest.mark.parametrize("kid", ["same", "new"])
async def test_old_and_new_key_are_both_good_while_they_overlap(scene: Scene, kid: str) -> None:
    async with scene.verifier() as verifier:
        await verifier.verify(scene.sign())
        old = scene.sign(1)
        scene.post("/_sandbox/rotate", kid=kid, keep_old=True)

        assert await outcomes(verifier, [scene.sign(2), old]) == ["Principal"] * 2
        assert scene.fetches() == 2
    async with scene.verifier() as cold:
        assert await outcomes(cold, [old, scene.sign(2)]) == ["Principal"] * 2


async def test_keys_are_refreshed_in_the_background_after_five_minutes(scene: Scene) -> None:
    async with scene.verifier() as verifier:
        await verifier.verify(scene.sign())
        scene.clock.tick(timedelta(minutes=5, seconds=1))
        scene.fail("latency", count=1, seconds=0.2, match="/.well-known")

        assert await outcomes(verifier, [scene.sign(n) for n in range(5)]) == ["Principal"] * 5
        assert scene.fetches() <= 2
        await until_fetched(scene, 2)


async def test_known_keys_serve_through_an_outage_of_24_hours(scene: Scene) -> None:
    async with scene.verifier() as verifier:
        await verifier.verify(scene.sign())
        scene.fail("500", match="/.well-known")
        scene.clock.tick(timedelta(hours=23))
        assert await verifier.verify(scene.sign(1))
        with pytest.raises(KeysUnavailable):
            await verifier.verify(scene.sign(2, kid="ins_unknown"))

        scene.clock.tick(timedelta(hours=2))
        with pytest.raises(KeysUnavailable):
            await verifier.verify(scene.sign(3))
        scene.heal()
        scene.clock.tick(timedelta(seconds=30))
        assert await verifier.verify(scene.sign(4))


@pytest.mark.parametrize("fault", ["500", "429", "refuse"])
async def test_without_any_keys_there_is_no_verdict_until_they_come(
    scene: Scene, fault: str
) -> None:
    scene.fail(fault, match="/.well-known")
    async with scene.verifier() as verifier:
        assert await outcomes(verifier, [scene.sign(n) for n in range(20)]) == (
            ["KeysUnavailable"] * 20
        )
        assert await outcomes(verifier, [scene.sign()]) == ["KeysUnavailable"]
        assert scene.fetches() == 1, "a failed fetch is not repeated at once"
        scene.heal()
        scene.clock.tick(timedelta(seconds=1))
        assert await verifier.verify(scene.sign())


async def test_a_slow_issuer_is_given_up(scene: Scene) -> None:
    scene.fail("latency", count=1, seconds=1, match="/.well-known")
    slow = KeyAddress(
        url=f"{scene.clerk.url}/.well-known/jwks.json", timeout=timedelta(milliseconds=50)
    )
    async with scene.verifier(keys=slow) as verifier:
        with pytest.raises(KeysUnavailable):
            await verifier.verify(scene.sign())


async def test_a_caller_who_gives_up_does_not_spoil_the_fetch_for_others(scene: Scene) -> None:
    scene.fail("latency", count=1, seconds=0.2, match="/.well-known")
    async with scene.verifier() as verifier:
        hasty = asyncio.create_task(verifier.verify(scene.sign(1)))
        patient = asyncio.create_task(verifier.verify(scene.sign(2)))
        await until_fetched(scene, 1)
        hasty.cancel()
        assert (await patient).user_id == "user_2"
        with pytest.raises(asyncio.CancelledError):
            await hasty
    assert scene.fetches() == 1


async def test_closing_stops_a_fetch_under_way(scene: Scene) -> None:
    scene.fail("latency", count=1, seconds=1, match="/.well-known")
    async with scene.verifier() as verifier:
        waiting = asyncio.create_task(verifier.verify(scene.sign()))
        await until_fetched(scene, 1)
        await verifier.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_keys_behind_the_backend_api_need_the_secret_key(scene: Scene) -> None:
    url = f"{scene.clerk.url}/v1/jwks"
    async with scene.verifier(keys=KeyAddress(url=url, bearer=scene.clerk.secret_key)) as verifier:
        await verifier.verify(scene.sign())
    async with scene.verifier(keys=KeyAddress(url=url, bearer="wrong")) as verifier:
        with pytest.raises(KeysUnavailable):
            await verifier.verify(scene.sign())


BAD_ANSWERS = {
    "not JSON": httpx.Response(200, text="<html>"),
    "not an object": httpx.Response(200, json=[]),
    "no keys": httpx.Response(200, json={"keys": []}),
    "keys of a wrong type": httpx.Response(200, json={"keys": "many"}),
    "members of a wrong type": httpx.Response(200, json={"keys": [1, None, {"kty": 7}]}),
    "a redirect": httpx.Response(302, headers={"location": "http://evil.invalid"}),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
async def test_a_nonsense_answer_keeps_the_keys_we_have(scene: Scene, name: str) -> None:
    good = httpx.Response(200, json={"keys": [scene.clerk.world.state.keys[0].jwk()]})
    answers = iter([good, BAD_ANSWERS[name]])
    kid = scene.clerk.world.state.keys[0].kid
    transport = httpx.MockTransport(lambda _: next(answers))
    async with httpx.AsyncClient(transport=transport) as http:
        ring = FetchedKeys(AT, {"RS256"}, http=http, clock=scene.clock)
        known = await ring.find(kid)
        assert len(known) == 1
        with pytest.raises(KeysUnavailable):
            await ring.find("unknown")
        assert await ring.find(kid) == known
        await ring.close()


async def test_a_key_set_without_end_is_not_read_to_its_end(scene: Scene) -> None:
    chunks_read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal chunks_read
        for _ in range(1000):
            chunks_read += 1
            yield b" " * 10_000

    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=endless()))
    async with httpx.AsyncClient(transport=transport) as http:
        ring = FetchedKeys(AT, {"RS256"}, http=http, clock=scene.clock)
        with pytest.raises(KeysUnavailable):
            await ring.find("any")
    assert chunks_read < 50


def rsa_jwk(bits: int = 2048, **changes: object) -> dict[str, object]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key()
    jwk = json.loads(RSAAlgorithm.to_jwk(key)) | {"kid": "k", "use": "sig", "alg": "RS256"}
    jwk.pop("key_ops", None)
    return jwk | changes


def test_only_keys_fit_for_the_algorithm_are_taken() -> None:
    private = json.loads(RSAAlgorithm.to_jwk(SigningKey.make("k").private())) | {"kid": "private"}
    unfit = [
        rsa_jwk(use="enc"),
        rsa_jwk(alg="RS512"),
        rsa_jwk(bits=1024),
        rsa_jwk(kid=5),
        rsa_jwk(n="AQAB"),
        rsa_jwk(e=None),
        private,
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {"kty": "EC", "crv": "P-256", "kid": "half"},
    ]
    for entry in unfit:
        with pytest.raises(BadKey):
            read_jwks(json.dumps({"keys": [entry]}).encode(), {"RS256"})
    keys = read_jwks(json.dumps({"keys": [*unfit, rsa_jwk(kid="good")]}).encode(), {"RS256"})
    assert list(keys) == ["good"]


def test_es256_keys_are_read_for_es256_issuers_only() -> None:
    jwk = json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key()))
    body = json.dumps({"keys": [jwk | {"kid": "e"}, rsa_jwk(kid="r")]}).encode()
    assert list(read_jwks(body, {"ES256"})) == ["e"]
    assert list(read_jwks(body, {"RS256"})) == ["r"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=10,
)
NAMES = st.sampled_from(["kty", "n", "e", "kid", "use", "alg", "crv", "x", "y"])
ENTRIES = st.dictionaries(NAMES, JSON | st.sampled_from(["RSA", "EC", "RS256", "sig", "AQAB"]))


@given(st.binary() | st.builds(lambda keys: json.dumps({"keys": keys}).encode(), st.lists(ENTRIES)))
def test_no_key_set_raises_anything_but_bad_key(body: bytes) -> None:
    for algorithm in ("RS256", "ES256"):
        try:
            read_jwks(body, {algorithm})
        except BadKey:
            continue


@pytest.mark.parametrize("text", ["", "secret", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END"])
def test_a_pem_that_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(BadKey):
        read_pem(text, {"RS256"})


def test_a_private_pem_is_refused() -> None:
    with pytest.raises(BadKey):
        read_pem(SigningKey.make("k").pem, {"RS256"})


def test_unavailable_keys_do_not_count_as_a_refused_token() -> None:
    assert not issubclass(KeysUnavailable, NotProven)
