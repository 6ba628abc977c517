"""The keys that issuers sign with: fetched once under any concurrency, kept through outages."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, cast

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from tenure.base.clock import Clock
from tenure.identity.errors import BadKey, KeysUnavailable

Algorithm = Literal["RS256", "ES256"]
PublicKey = RSAPublicKey | EllipticCurvePublicKey

FRESH = timedelta(minutes=5)  # after this a fetch starts in the background
STALE = timedelta(hours=24)  # through an outage, known keys serve this long
COOL_DOWN = timedelta(seconds=30)  # between fetches that a token asked for
FIRST_RETRY = timedelta(seconds=1)  # after a failed fetch; doubles up to COOL_DOWN
MAX_BYTES = 256 * 1024
MAX_KEYS = 32
MIN_RSA_BITS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAddress:
    """Where an issuer publishes its keys as a JWK set."""

    url: str
    bearer: str | None = field(default=None, repr=False)  # Clerk's Backend API asks for one
    timeout: timedelta = timedelta(seconds=5)  # for the whole fetch, however it drips in


@dataclass(frozen=True, slots=True, kw_only=True)
class Pem:
    """A public key from the provider's dashboard: no network at all."""

    text: str


class KeyRing(Protocol):
    """Anything that knows an issuer's present keys."""

    async def find(self, kid: str) -> tuple[PublicKey, ...]:
        """List the keys called `kid`; none if the issuer has no such key."""
        ...

    async def renew(self, kid: str, tried: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
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

    def __init__(self, key: PublicKey) -> None:
        self._keys = (key,)

    async def find(self, kid: str) -> tuple[PublicKey, ...]:
        """Offer the one key, whatever the token calls it."""
        del kid
        return self._keys

    async def renew(self, kid: str, tried: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
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
        self, at: KeyAddress, algorithm: Algorithm, *, http: httpx.AsyncClient, clock: Clock
    ) -> None:
        self._at = at
        self._algorithm: Algorithm = algorithm
        self._http = http
        self._clock = clock
        self._keys: Mapping[str, tuple[PublicKey, ...]] = {}
        self._read_at: datetime | None = None
        self._asked_at: datetime | None = None  # when a token last caused a fetch
        self._retry_at: datetime | None = None  # after a failure: not before this
        self._failures = 0
        self._flight: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> tuple[PublicKey, ...]:
        """List the keys called `kid`.

        Errors: KeysUnavailable when the issuer cannot be asked and it would matter.
        """
        if not self._serviceable():
            await self._first()
            if kid not in self._keys:
                self._asked_at = self._clock.now()  # the answer is as new as it can be
        elif self._age() > FRESH and self._may_retry():
            self._fetch()  # not awaited: known keys answer at once
        if kid not in self._keys:
            await self._ask()
        found = self._keys.get(kid, ())
        if not found and self._failures:
            raise KeysUnavailable("a token names a key we have not seen, and the issuer is away")
        return found

    async def renew(self, kid: str, tried: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
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

    def _beyond(self, kid: str, tried: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
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
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, BadKey):
            wait = min(FIRST_RETRY * 2**self._failures, COOL_DOWN)
            self._failures = min(self._failures + 1, 8)
            self._retry_at = self._clock.now() + wait
        else:
            self._keys, self._read_at = keys, self._clock.now()
            self._failures, self._retry_at = 0, None
        finally:
            self._flight = None

    async def _read(self) -> Mapping[str, tuple[PublicKey, ...]]:
        headers = {"accept": "application/json"}
        if self._at.bearer:
            headers["authorization"] = f"Bearer {self._at.bearer}"
        body = bytearray()
        async with asyncio.timeout(self._at.timeout.total_seconds()):
            async with self._http.stream("GET", self._at.url, headers=headers) as answer:
                answer.raise_for_status()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise BadKey("the issuer's key set is too large")
        return read_jwks(bytes(body), self._algorithm)


def read_jwks(body: bytes, algorithm: Algorithm) -> Mapping[str, tuple[PublicKey, ...]]:
    """Pick the usable keys out of a JWK set, by `kid` ("" where it has none).

    Errors: BadKey when not one key is usable; an unusable key beside good ones is passed over.
    Source: RFC 7517.
    """
    try:
        entries: object = msgspec.json.decode(body, type=dict[str, Any]).get("keys")
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise BadKey("the issuer's key set is not a JSON object") from exc
    found: dict[str, tuple[PublicKey, ...]] = {}
    for entry in _entries(entries):
        key, kid = _public_key(entry, algorithm), entry.get("kid", "")
        if key is not None and isinstance(kid, str):
            found[kid] = (*found.get(kid, ()), key)
    if not found:
        raise BadKey(f"the issuer's key set holds no usable {algorithm} key")
    return found


def read_pem(text: str, algorithm: Algorithm) -> PublicKey:
    r"""Read a public key as dashboards give it, with line ends that an `.env` file made `\n`.

    Errors: BadKey.
    """
    pem = text.replace("\\n", "\n").strip().encode()
    if not pem.startswith(b"-----BEGIN"):
        raise BadKey("the configured key is not a PEM public key")
    try:
        key: object = jwt.get_algorithm_by_name(algorithm).prepare_key(pem)
    except (jwt.PyJWTError, ValueError, TypeError) as exc:
        raise BadKey("the configured key is not a PEM public key") from exc
    if not _is_usable(key, algorithm):
        raise BadKey(f"the configured key cannot verify {algorithm}, or is too short")
    return cast("PublicKey", key)


def open_ring(
    source: KeyAddress | Pem,
    algorithm: Algorithm,
    *,
    http: httpx.AsyncClient | None,
    clock: Clock,
) -> KeyRing:
    """Make the ring that fits where the keys come from."""
    if isinstance(source, Pem):
        return FixedKey(read_pem(source.text, algorithm))
    if http is None:
        raise BadKey("keys at an address need an HTTP client")
    return FetchedKeys(source, algorithm, http=http, clock=clock)


def _entries(entries: object) -> Iterable[dict[str, Any]]:
    """List the members of a key set that are objects, and not more than a sane number."""
    if not isinstance(entries, list):
        raise BadKey("the issuer's key set has no list of keys")
    members = cast("list[object]", entries)[:MAX_KEYS]
    return [cast("dict[str, Any]", e) for e in members if isinstance(e, dict)]


def _public_key(entry: dict[str, Any], algorithm: Algorithm) -> PublicKey | None:
    """Make a key from one entry; None if it is of another kind, private, weak or broken."""
    if entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK(entry, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError):
        return None
    return key if _is_usable(key, algorithm) else None


def _is_usable(key: object, algorithm: Algorithm) -> bool:
    """Say whether this is a public key of the right kind and strength."""
    if algorithm == "RS256":
        return isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS
    return isinstance(key, EllipticCurvePublicKey) and key.curve.name == "secp256r1"
