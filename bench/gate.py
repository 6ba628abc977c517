"""The gate: warm and cold, beside one bare verification of the same token."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from statistics import median

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bench.result import Result, middle, spread
from bench.town import Town
from tenure.base.clock import SystemClock
from tenure.base.db import Db, open_pool
from tenure.base.ids import RandomIds
from tenure.gate.cache import FactsCache
from tenure.gate.check import Gate
from tenure.gate.model import Needs
from tenure.identity.issuers import clerk
from tenure.identity.keys import Pem
from tenure.identity.session import Verifier

ISSUER = "https://clerk.bench.example"
ROUNDS, WARM, COLD, PEOPLE = 7, 20_000, 400, 500
NEEDS = Needs(roles=frozenset({"admin"}), features=frozenset({"reports"}))  # the whole chain
BOUGHT = """
    WITH customers AS (
        INSERT INTO tenure.stripe_customers (org_id, stripe_customer_id, livemode)
        SELECT id, 'cus_' || replace(id::text, '-', ''), false FROM tenure.organizations
        RETURNING org_id, stripe_customer_id
    ), entitled AS (
        INSERT INTO tenure.entitlements (stripe_customer_id, lookup_key, org_id, feature_id)
        SELECT stripe_customer_id, 'reports', org_id, 'feat_x' FROM customers
    )
    INSERT INTO tenure.subscriptions (id, stripe_customer_id, org_id, status, created_at, looked_at,
                                      look_fence)
    SELECT 'sub_' || replace(org_id::text, '-', ''), stripe_customer_id, org_id, 'active', now(),
           now(), 1 FROM customers
    """


def measure(town: Town) -> Iterator[Result]:
    """Measure one process's gate; nobody looks its people up, whom the provider does not know."""
    town.rest_worker()
    yield from asyncio.run(_measure(town.admin))
    town.forget()


async def _measure(url: str) -> list[Result]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    tokens = [_token(key, n) for n in range(PEOPLE)]
    async with _gate(url, pem.decode()) as gate:
        for token in tokens:
            await gate.check(token, NEEDS)  # everybody's rows are there now
        async with gate.db.transaction() as tx:
            await tx.execute(BOUGHT)
        gate.cache.hears(news=True)
        for token in tokens:
            if not (await gate.check(token, NEEDS)).allowed:
                raise AssertionError("the gate should be open to everybody here")
        warm = [_warm(gate, tokens[0]) for _ in range(ROUNDS)]
        bare = [_bare(pem, tokens[0]) for _ in range(ROUNDS)]
        cold = [await _cold(gate, tokens) for _ in range(ROUNDS)]
    against = "one bare RS256 verification by PyJWT"
    return [
        Result(
            name="gate decision, warm, p50",
            value=middle(warm),
            unit="µs",
            target="≤ 20, ratio ≤ 0.3",
            baseline=middle(bare),
            against=against,
            spread=spread(warm),
        ),
        Result(
            name="gate decision, cold facts, p99",
            value=middle([p99 for _, p99 in cold]),
            unit="ms",
            target="≤ 2",
            spread=spread([p99 for _, p99 in cold]),
        ),
        Result(
            name="gate decision, cold facts, p50",
            value=middle([p50 for p50, _ in cold]),
            unit="ms",
            spread=spread([p50 for p50, _ in cold]),
        ),
    ]


@asynccontextmanager
async def _gate(url: str, pem: str) -> AsyncIterator[Gate]:
    clock = SystemClock()
    cache = FactsCache(max_age=timedelta(minutes=5))
    cache.hears(news=True)
    async with (
        open_pool(url) as pool,
        Verifier([clerk(ISSUER, keys=Pem(text=pem))], clock=clock) as verifier,
    ):
        yield Gate(
            verifier=verifier,
            db=Db(pool),
            clock=clock,
            ids=RandomIds(),
            livemode=False,
            cache=cache,
        )


def _warm(gate: Gate, token: str) -> float:
    """Time one decision: the median, in µs."""
    return _median(lambda: gate.recall(token, NEEDS), WARM)


def _bare(pem: bytes, token: str) -> float:
    key = serialization.load_pem_public_key(pem)
    return _median(lambda: jwt.decode(token, key, algorithms=["RS256"]), WARM // 10)


def _median(act: Callable[[], object], times: int) -> float:
    took: list[int] = []
    for _ in range(times):
        began = time.perf_counter_ns()
        if act() is None:
            raise AssertionError("the gate forgot: this would not measure a warm decision")
        took.append(time.perf_counter_ns() - began)
    return median(took) / 1000


async def _cold(gate: Gate, tokens: list[str]) -> tuple[float, float]:
    """Time decisions whose facts must be read: p50 and p99, in ms."""
    took: list[float] = []
    for n in range(COLD):
        gate.cache.hears(news=True)  # forgets everything
        took.append(await _timed(lambda token=tokens[n % PEOPLE]: gate.check(token, NEEDS)))
    took.sort()
    return took[len(took) // 2], took[int(len(took) * 0.99)]


async def _timed(act: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await act()
    return (time.perf_counter() - began) * 1000


def _token(key: rsa.RSAPrivateKey, n: int) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": f"user_{n}",
        "sid": f"sess_{n}",
        "v": 2,
        "iat": now,
        "nbf": now - 5,
        "exp": now + 3600,
        "o": {"id": f"org_{n}", "slg": f"org-{n}", "rol": "admin"},
    }
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "bench"})
