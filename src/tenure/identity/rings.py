"""Rings of keys: fetched once under any concurrency, renewed in time, kept through outages."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Protocol

import httpx

from tenure.base.clock import Clock
from tenure.base.log import log
from tenure.identity.errors import BadKey, KeysUnavailable
from tenure.identity.keys import (
    Algorithm,
    Discovery,
    Key,
    KeyAddress,
    Pem,
    SharedSecret,
    read_discovery,
    read_jwks,
    read_pem,
    read_secret,
)

FRESH = timedelta(minutes=5)  # after this a fetch starts in the background
IDLE = timedelta(minutes=15)  # after this it is waited for: a key may have been taken back
STALE = timedelta(hours=24)  # through an outage, known keys serve this long
COOL_DOWN = timedelta(seconds=30)  # between fetches that a token asked for
FIRST_RETRY = timedelta(seconds=1)  # after a failed fetch; doubles up to COOL_DOWN
MAX_BYTES = 256 * 1024


class KeyRing(Protocol):
    """Anything that knows an issuer's present keys."""

    async def find(self, kid: str) -> tuple[Key, ...]:
        """List the keys called `kid`; none if the issuer has no such key."""
        ...

    async def renew(self, kid: str, tried: tuple[Key, ...]) -> tuple[Key, ...]:
        """List the keys called `kid` that are not among `tried`, asking the issuer if need be."""
        ...

    async def warm(self) -> None:
        """Have keys at hand; raise KeysUnavailable where there are none to be had."""
        ...

    async def close(self) -> None:
        """Stop what runs in the background."""
        ...


class FixedKey:
    """A ring with one key that fits every `kid`."""

    def __init__(self, key: Key) -> None:
        self._keys = (key,)

    async def find(self, kid: str) -> tuple[Key, ...]:
        """Offer the one key, whatever the token calls it."""
        del kid
        return self._keys

    async def renew(self, kid: str, tried: tuple[Key, ...]) -> tuple[Key, ...]:
        """Offer nothing: there is no other key."""
        del kid, tried
        return ()

    async def warm(self) -> None:
        """Nothing to do: the key is here."""

    async def close(self) -> None:
        """Do nothing: nothing runs."""


class FetchedKeys:
    """A ring that is fetched over HTTP.

    Promise: at most one fetch is under way, whoever asks; tokens (an unknown `kid`, a bad
             signature) cause at most one fetch per COOL_DOWN; a fetch that fails changes nothing.
    """

    def __init__(
        self,
        at: KeyAddress | Discovery,
        algorithms: Collection[Algorithm],
        *,
        http: httpx.AsyncClient,
        clock: Clock,
    ) -> None:
        self._at = at
        self._algorithms = algorithms
        self._url = at.url if isinstance(at, KeyAddress) else None  # None: not discovered yet
        self._http = http
        self._clock = clock
        self._keys: Mapping[str, tuple[Key, ...]] = {}
        self._read_at: datetime | None = None
        self._asked_at: datetime | None = None  # when a token last caused a fetch
        self._retry_at: datetime | None = None  # after a failure: not before this
        self._failures = 0
        self._flight: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> tuple[Key, ...]:
        """List the keys called `kid`.

        Errors: KeysUnavailable when the issuer cannot be asked and it would matter.
        """
        if not self._serviceable():
            await self._first()
            if kid not in self._keys:
                self._asked_at = self._clock.now()  # the answer is as new as it can be
        elif self._age() > FRESH and self._may_retry():
            await self._freshen()
        if kid not in self._keys:
            await self._ask()
        found = self._keys.get(kid, ())
        if not found and self._failures:
            raise KeysUnavailable("a token names a key we have not seen, and the issuer is away")
        return found

    async def renew(self, kid: str, tried: tuple[Key, ...]) -> tuple[Key, ...]:
        """List keys called `kid` beyond `tried`: a `kid` may outlive its key, as Clerk's does."""
        if not self._beyond(kid, tried):
            await self._ask()
        return self._beyond(kid, tried)

    async def warm(self) -> None:
        """Fetch keys where none are at hand.

        Errors: KeysUnavailable.
        """
        if not self._serviceable():
            await self._first()

    async def close(self) -> None:
        """Stop a fetch that is still under way."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)

    def _beyond(self, kid: str, tried: tuple[Key, ...]) -> tuple[Key, ...]:
        return tuple(key for key in self._keys.get(kid, ()) if key not in tried)

    def _age(self) -> timedelta:
        return timedelta.max if self._read_at is None else self._clock.now() - self._read_at

    def _serviceable(self) -> bool:
        return self._age() <= STALE

    def _may_retry(self) -> bool:
        return self._retry_at is None or self._clock.now() >= self._retry_at

    def _cooled_down(self) -> bool:
        return self._asked_at is None or self._clock.now() - self._asked_at >= COOL_DOWN

    async def _first(self) -> None:
        """Fetch because nothing usable is here."""
        if self._may_retry() or self._flight is not None:
            await asyncio.shield(self._fetch())
        if not self._serviceable():
            raise KeysUnavailable("the issuer's signing keys could not be fetched")

    async def _freshen(self) -> None:
        """Fetch in the background: known keys answer at once, unless nobody asked for long."""
        flight = self._fetch()
        if self._age() > IDLE and not self._failures:
            await asyncio.shield(flight)

    async def _ask(self) -> None:
        """Fetch because a token made us doubt, which strangers can do: hence the cool-down.

        A fetch under way is joined in any case, so that a burst after a rotation passes as one.
        """
        if self._flight is None:
            if not self._cooled_down():
                return
            self._asked_at = self._clock.now()
        await asyncio.shield(self._fetch())

    def _fetch(self) -> asyncio.Task[None]:
        """Join the fetch under way, or start one; it outlives a caller who gives up."""
        if self._flight is None:
            self._flight = asyncio.create_task(self._refresh())
        return self._flight

    async def _refresh(self) -> None:
        try:
            keys = await self._read()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, BadKey) as exc:
            wait = min(FIRST_RETRY * 2**self._failures, COOL_DOWN)
            self._failures = min(self._failures + 1, 8)
            self._retry_at = self._clock.now() + wait
            log.warning(
                "identity.keys.not_fetched",
                url=self._url or self._at.url,
                why=f"{type(exc).__name__}: {exc}",
            )
            if isinstance(self._at, Discovery):
                self._url = None  # the keys may have moved
        else:
            self._keys, self._read_at = keys, self._clock.now()
            self._failures, self._retry_at = 0, None
        finally:
            self._flight = None

    async def _read(self) -> Mapping[str, tuple[Key, ...]]:
        async with asyncio.timeout(self._at.timeout.total_seconds()):
            if isinstance(self._at, Discovery) and self._url is None:
                self._url = read_discovery(await self._get(self._at.url), self._at.issuer)
            found = read_jwks(await self._get(self._url or self._at.url), self._algorithms)
        if self._keys and not found:
            raise BadKey("the issuer's key set is empty, and was not before")
        return found

    async def _get(self, url: str) -> bytes:
        headers = {"accept": "application/json"}
        if isinstance(self._at, KeyAddress) and self._at.bearer:
            headers["authorization"] = f"Bearer {self._at.bearer}"
        body = bytearray()
        async with self._http.stream("GET", url, headers=headers) as answer:
            answer.raise_for_status()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise BadKey("the issuer's answer is too large")
        return bytes(body)


def open_ring(
    source: KeyAddress | Discovery | Pem | SharedSecret,
    algorithms: Collection[Algorithm],
    *,
    http: httpx.AsyncClient | None,
    clock: Clock,
) -> KeyRing:
    """Make the ring that fits where the keys come from."""
    if isinstance(source, Pem):
        return FixedKey(read_pem(source.text, algorithms))
    if isinstance(source, SharedSecret):
        return FixedKey(read_secret(source.text))
    if http is None:
        raise BadKey("keys at an address need an HTTP client")
    return FetchedKeys(source, algorithms, http=http, clock=clock)
