"""Verification of session tokens, warm and cold, beside PyJWT and the official SDKs."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median

import httpx

from bench.result import Result, middle, spread
from bench.rivals import Check, Rival, rivals
from bench.serving import serving
from bench.tokens import Authority, authorities
from tenure.base.clock import SystemClock
from tenure.base.errors import TenureError
from tenure.identity.keys import KeyAddress
from tenure.identity.session import Verifier

ROUNDS, PEOPLE, RECALLS, COLD = 7, 300, 10_000, 15
AT_ONCE, STRANGERS = 20, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An authority, where its keys are, and tokens of its."""

    authority: Authority
    at: str
    tokens: Sequence[str]
    strangers: Sequence[str]

    @asynccontextmanager
    async def verifier(self, far: str = "") -> AsyncGenerator[Verifier]:
        """Open a verifier of ours that has fetched nothing yet."""
        source = KeyAddress(url=f"{self.at}{far}{self.authority.path}")
        async with (
            httpx.AsyncClient(trust_env=False) as http,
            Verifier([self.authority.trusted(source)], clock=SystemClock(), http=http) as verifier,
        ):
            yield verifier

    def fetched(self) -> float:
        """Say how often the keys were fetched since this was asked last."""
        return float(httpx.get(f"{self.at}/count", trust_env=False).text)


def measure() -> Iterator[Result]:
    """Measure each provider's tokens, against everybody who verifies them."""
    for authority in authorities():
        env = {**os.environ, "BENCH_JWKS": authority.jwks()}
        with serving("bench.jwks:app", env) as at:
            scene = Scene(
                authority=authority,
                at=at,
                tokens=authority.tokens(PEOPLE),
                strangers=authority.tokens(STRANGERS, strangers=True),
            )
            yield from asyncio.run(_measure(scene))


async def _measure(scene: Scene) -> list[Result]:
    others = rivals(scene.authority)
    return [
        *await _warm(scene, others),
        *await _cold(scene, [rival for rival in others if rival.fetches]),
        *await _counts(scene, [rival for rival in others if rival.fetches]),
    ]


async def _warm(scene: Scene, others: Sequence[Rival]) -> list[Result]:
    """Time one verification with the keys at hand: medians, in µs."""
    checks = {rival.name: rival.make(scene.at, n) for n, rival in enumerate(others)}
    given = {rival.name: [rival.wrap(token) for token in scene.tokens] for rival in others}
    recalled: list[float] = []
    fresh: list[float] = []
    theirs: dict[str, list[float]] = {rival.name: [] for rival in others}
    for _ in range(ROUNDS):
        async with scene.verifier() as verifier:
            await verifier.warm_up()
            fresh.append(await _timed_all(verifier.verify, scene.tokens))
            recalled.append(_recalled(verifier, scene.tokens[0]))
        for name, check in checks.items():
            check(given[name][0])  # fetches
            theirs[name].append(_timed(check, given[name]))
    again, new = "token seen before, p50", "token never seen, keys here, p50"
    rows = [(again, recalled, others[0].name), *((new, fresh, other) for other in theirs)]
    return [
        _beside(f"{scene.authority.title}: {name}", ours, "µs", other, theirs[other])
        for name, ours, other in rows
    ]


async def _timed_all(verify: Callable[[str], Awaitable[object]], tokens: Sequence[str]) -> float:
    took: list[int] = []
    for token in tokens:
        began = time.perf_counter_ns()
        await verify(token)
        took.append(time.perf_counter_ns() - began)
    return median(took) / 1000


def _recalled(verifier: Verifier, token: str) -> float:
    took: list[int] = []
    for _ in range(RECALLS):
        began = time.perf_counter_ns()
        if verifier.recall(token) is None:
            raise AssertionError("the verifier forgot: this would not measure a warm one")
        took.append(time.perf_counter_ns() - began)
    return median(took) / 1000


def _timed(check: Check, given: Sequence[object]) -> float:
    took: list[int] = []
    for one in given:
        began = time.perf_counter_ns()
        check(one)
        took.append(time.perf_counter_ns() - began)
    return median(took) / 1000


async def _cold(scene: Scene, others: Sequence[Rival]) -> list[Result]:
    """Time the first verification of a process, whose keys are fetched from this machine."""
    ours: list[float] = []
    theirs: dict[str, list[float]] = {rival.name: [] for rival in others}
    for n in range(COLD):
        async with scene.verifier() as verifier:
            ours.append(await _timed_all(verifier.verify, scene.tokens[:1]) / 1000)
        for rival in others:
            check, given = rival.make(scene.at, 1_000 + n), rival.wrap(scene.tokens[0])
            theirs[rival.name].append(_timed(check, [given]) / 1000)
    name = f"{scene.authority.title}: first token, keys fetched from this machine, p50"
    return [_beside(name, ours, "ms", other, took) for other, took in theirs.items()]


async def _counts(scene: Scene, others: Sequence[Rival]) -> list[Result]:
    """Count the fetches that a cold start under load, and that strangers, can cause."""
    at_once, strangers = scene.tokens[:AT_ONCE], scene.strangers
    scene.fetched()
    async with scene.verifier("/far") as verifier:
        await asyncio.gather(*map(verifier.verify, at_once))
        ours = [scene.fetched()]
        refused = await asyncio.gather(*map(verifier.verify, strangers), return_exceptions=True)
        assert all(isinstance(one, TenureError) for one in refused), refused
        ours.append(scene.fetched())
    found: list[Result] = []
    names = (f"{AT_ONCE} cold tokens at once", f"{STRANGERS} tokens with unknown keys")
    for n, rival in enumerate(others):
        theirs = _their_counts(scene, rival, 2_000 + n)
        found += [
            _beside(
                f"{scene.authority.title}: key fetches for {name}", [mine], "", rival.name, [them]
            )
            for name, mine, them in zip(names, ours, theirs, strict=True)
        ]
    return sorted(found, key=lambda result: names.index(result.name.rpartition(" for ")[2]))


def _their_counts(scene: Scene, rival: Rival, n: int) -> list[float]:
    """Count in the same way, each verification in a thread: none of these is asynchronous."""
    check = rival.make(f"{scene.at}/far", n)
    counts: list[float] = []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        given = [rival.wrap(token) for token in scene.tokens[:AT_ONCE]]
        list(threads.map(check, given))
        counts.append(scene.fetched())
        given = [rival.wrap(token) for token in scene.strangers]
        passed = [one for one in threads.map(_refused(check), given) if not one]
    assert not passed, f"{rival.name} takes tokens of strangers"
    return [*counts, scene.fetched()]


def _refused(check: Check) -> Callable[[object], bool]:
    def refused(given: object) -> bool:
        try:
            check(given)
        except Exception:  # noqa: BLE001 (each of them says no in its own way)
            return True
        return False

    return refused


def _beside(
    name: str, ours: Sequence[float], unit: str, other: str, theirs: Sequence[float]
) -> Result:
    return Result(
        name=name,
        value=middle(ours),
        unit=unit,
        baseline=middle(theirs),
        against=other,
        spread=spread(ours),
    )
