"""The verifier: a session token goes in, who is asking comes out, with no network in the way."""

import asyncio
import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import httpx
import jwt
import msgspec

from tenure.base.clock import Clock
from tenure.identity.claims import Claims, Principal
from tenure.identity.errors import (
    BadKey,
    BadToken,
    ForeignIssuer,
    KeysUnavailable,
    NoToken,
    TokenExpired,
    WrongParty,
)
from tenure.identity.issuers import Issuer
from tenure.identity.keys import Key
from tenure.identity.rings import KeyRing, open_ring

MAX_TOKEN = 16 * 1024  # characters
MAX_LEEWAY = timedelta(seconds=10)
MAX_RECALL = timedelta(minutes=5)  # a long-lived token has its signature checked again after this
REFUSED_HEADERS = frozenset({"jku", "x5u", "jwk", "x5c", "crit", "b64"})

_jws = jwt.PyJWS()


def bearer(authorization: str | None) -> str:
    """Take the token out of an Authorization header.

    Errors: NoToken when there is no header or it speaks of another scheme.
    """
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NoToken("the request carries no session token")
    return token.strip()


class Verifier:
    """Checks tokens against the issuers we trust, and remembers those it has checked.

    One per event loop. `recall` is for the warm path, `verify` for the rest; both give the same
    answer for the same token, except that a remembered token outlives its key by up to
    MAX_RECALL (never its own `exp`).
    """

    def __init__(
        self,
        issuers: Sequence[Issuer],
        *,
        clock: Clock,
        http: httpx.AsyncClient | None = None,
        leeway: timedelta = timedelta(seconds=5),
        remember: int = 10_000,
    ) -> None:
        if not timedelta(0) <= leeway <= MAX_LEEWAY:
            raise ValueError(f"leeway must be between 0 and {MAX_LEEWAY.total_seconds():.0f} s")
        self._clock = clock
        self._leeway = leeway
        self._seen = _Recent(remember)
        self._trusted: dict[str, tuple[Issuer, Mapping[str, KeyRing]]] = {}
        for issuer in issuers:
            rings = _rings(issuer, http=http, clock=clock)
            for name in issuer.names:
                if name in self._trusted:
                    raise BadKey(f"two issuers are both called {name}")
                self._trusted[name] = (issuer, rings)

    def recall(self, token: str) -> Principal | None:
        """Answer for a token that was verified before and is still good; None otherwise."""
        kept = self._seen.get(token)
        if kept is None or self._clock.now() >= kept[1]:
            return None
        return kept[0]

    async def verify(self, token: str) -> Principal:
        """Check a token completely; no network unless its key is not here yet.

        Errors: BadToken, TokenExpired, ForeignIssuer, WrongParty, PendingSession, KeysUnavailable.
        """
        if (known := self.recall(token)) is not None:
            return known
        kid, alg, unproven = peek(token)
        issuer, rings = self._issuer(unproven)
        if (ring := rings.get(alg)) is None:
            raise BadToken("the token is signed by an algorithm we refuse", reason="algorithm")
        claims = _read(issuer, await _proven(token, kid, alg, ring))
        now = self._clock.now()
        check_times(claims, issuer, now=now, leeway=self._leeway)
        check_parties(claims, issuer)
        principal = claims.principal(issuer.provider)
        self._seen.put(token, principal, min(principal.expires_at + self._leeway, now + MAX_RECALL))
        return principal

    async def warm_up(self) -> None:
        """Have the issuers' keys at hand before the first token comes.

        Errors: KeysUnavailable where not one issuer's are to be had; one that is away must not
                shut the door to the others.
        """
        rings = self._rings()
        outcomes = await asyncio.gather(*(ring.warm() for ring in rings), return_exceptions=True)
        failures = [one for one in outcomes if one is not None]
        unexpected = [one for one in failures if not isinstance(one, KeysUnavailable)]
        for failure in unexpected or (failures if len(failures) == len(rings) else ()):
            raise failure

    async def close(self) -> None:
        """Stop what runs in the background; the HTTP client stays the caller's."""
        for ring in self._rings():
            await ring.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    def _rings(self) -> set[KeyRing]:
        return {ring for _, rings in self._trusted.values() for ring in rings.values()}

    def _issuer(self, name: str) -> tuple[Issuer, Mapping[str, KeyRing]]:
        trusted = self._trusted.get(name)
        if trusted is None:
            raise ForeignIssuer("the token was made by an issuer this service does not trust")
        return trusted


def _rings(
    issuer: Issuer, *, http: httpx.AsyncClient | None, clock: Clock
) -> Mapping[str, KeyRing]:
    """Lay out, for each algorithm that the issuer may use, the keys that may be tried."""
    published = open_ring(issuer.keys, issuer.algorithms, http=http, clock=clock)
    rings: dict[str, KeyRing] = dict.fromkeys(issuer.algorithms, published)
    if issuer.secret is not None:
        rings["HS256"] = open_ring(issuer.secret, (), http=http, clock=clock)
    return rings


class _Recent:
    """Tokens verified lately: two generations, so that forgetting costs nothing per look-up."""

    def __init__(self, size: int) -> None:
        self._half = max(1, size // 2)
        self._young: dict[str, tuple[Principal, datetime]] = {}
        self._old: dict[str, tuple[Principal, datetime]] = {}

    def get(self, token: str) -> tuple[Principal, datetime] | None:
        kept = self._young.get(token)
        if kept is None and (kept := self._old.get(token)) is not None:
            self.put(token, *kept)  # used again: it belongs to the young
        return kept

    def put(self, token: str, principal: Principal, until: datetime) -> None:
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[token] = (principal, until)


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str = ""


class _Origin(msgspec.Struct, frozen=True):
    iss: str


_any_header = msgspec.json.Decoder(dict[str, msgspec.Raw])
_header = msgspec.json.Decoder(_Header)
_origin = msgspec.json.Decoder(_Origin)


def peek(token: str) -> tuple[str, str, str]:
    """Read `kid`, `alg` and `iss` before anything is proven: enough to find the key, no more.

    Errors: BadToken, also for headers that would tell us where to find a key.
    """
    if len(token) > MAX_TOKEN:
        raise BadToken(f"the token is longer than {MAX_TOKEN} characters", reason="size")
    parts = token.split(".") if token.isascii() else ()
    if len(parts) != 3:  # noqa: PLR2004 (RFC 7515: header, payload, signature)
        raise BadToken("the token is not a signed JSON Web Token", reason="malformed")
    try:
        raw_header, raw_payload = (_decode(part) for part in parts[:2])
        named = _any_header.decode(raw_header)
        header, origin = _header.decode(raw_header), _origin.decode(raw_payload)
    except (msgspec.MsgspecError, UnicodeError, binascii.Error, RecursionError) as exc:
        raise BadToken("the token is not a signed JSON Web Token", reason="malformed") from exc
    if not REFUSED_HEADERS.isdisjoint(named):
        raise BadToken("the token's header names a key or an extension", reason="header")
    return header.kid, header.alg, origin.iss


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


async def _proven(token: str, kid: str, alg: str, ring: KeyRing) -> bytes:
    """Give the payload that a key of the issuer has signed, asking for newer keys if none has."""
    keys = await ring.find(kid)
    if not keys:
        raise BadToken("the token is signed with a key the issuer does not have", reason="kid")
    payload = _payload(token, alg, keys)
    if payload is None:
        payload = _payload(token, alg, await ring.renew(kid, keys))
    if payload is None:
        raise BadToken("the token's signature is wrong", reason="signature")
    return payload


def _payload(token: str, alg: str, keys: tuple[Key, ...]) -> bytes | None:
    """Give the payload if one of `keys` has signed it, None if none has."""
    for key in keys:
        if key.algorithm != alg:
            continue  # each key is good for one algorithm, and the header cannot change that
        try:
            return _jws.decode_complete(token, key.material, algorithms=[key.algorithm])["payload"]
        except jwt.InvalidSignatureError:
            continue
        except (jwt.PyJWTError, ValueError) as exc:
            raise BadToken("the token is not a signed JSON Web Token", reason="malformed") from exc
    return None


def _read(issuer: Issuer, payload: bytes) -> Claims:
    try:
        claims = issuer.read(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise BadToken("a claim of the token is missing or malformed", reason="claims") from exc
    if claims.iss not in issuer.names:  # a second `iss` in the JSON must not slip through
        raise BadToken("the token names two issuers", reason="claims")
    return claims


def check_times(claims: Claims, issuer: Issuer, *, now: datetime, leeway: timedelta) -> None:
    """Refuse tokens from the past, from the future, and those that live too long."""
    seconds, slack = now.timestamp(), leeway.total_seconds()
    if claims.exp <= seconds - slack:
        raise TokenExpired("the session token has expired")
    if claims.iat > seconds + slack or (claims.nbf or 0) > seconds + slack:
        raise BadToken("the token is not valid yet; is a clock wrong?", reason="early")
    lifetime = claims.exp - claims.iat
    if not 0 <= lifetime <= issuer.max_lifetime.total_seconds():
        raise BadToken("the token lives longer than its issuer may allow", reason="lifetime")


def check_parties(claims: Claims, issuer: Issuer) -> None:
    """Refuse tokens made for another application."""
    if issuer.authorized_parties and claims.azp is None and not issuer.azp_optional:
        raise WrongParty("the token does not say for which application it was made")
    if issuer.authorized_parties and claims.azp not in {None, *issuer.authorized_parties}:
        raise WrongParty("the token was made for another application")
    if issuer.client_id and claims.client not in {None, issuer.client_id}:
        raise WrongParty("the token was made for another application")
    given = {claims.aud} if isinstance(claims.aud, str) else set(claims.aud or ())
    if issuer.audiences and issuer.audiences.isdisjoint(given):
        raise WrongParty("the token was made for another audience")
