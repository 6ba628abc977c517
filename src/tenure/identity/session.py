"""The verifier: a session token goes in, who is asking comes out, with no network in the way."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import httpx
import jwt
import msgspec

from tenure.base.clock import Clock
from tenure.identity.claims import Claims, ClerkClaims, Principal
from tenure.identity.errors import (
    BadKey,
    BadToken,
    ForeignIssuer,
    NoToken,
    TokenExpired,
    WrongParty,
)
from tenure.identity.keys import Algorithm, KeyAddress, KeyRing, Pem, PublicKey, open_ring

MAX_TOKEN = 16 * 1024  # characters
MAX_LEEWAY = timedelta(seconds=10)
MAX_RECALL = timedelta(minutes=5)  # a long-lived token has its signature checked again after this
REFUSED_HEADERS = frozenset({"jku", "x5u", "jwk", "x5c", "crit", "b64"})

_jws = jwt.PyJWS()


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Somebody whose tokens we trust, and on what terms."""

    provider: str
    names: frozenset[str]  # every exact `iss` it signs with
    keys: KeyAddress | Pem
    read: Callable[[bytes], Claims]  # raises msgspec.MsgspecError on what is not its claims
    algorithm: Algorithm = "RS256"
    authorized_parties: frozenset[str] = frozenset()  # allowed `azp`; empty: not checked
    azp_optional: bool = False  # whether a token without `azp` passes although parties are named
    audiences: frozenset[str] = frozenset()  # allowed `aud`; empty: not checked
    max_lifetime: timedelta = timedelta(days=1)  # from `iat` to `exp`


def clerk(
    frontend_api: str,
    *,
    keys: KeyAddress | Pem | None = None,
    authorized_parties: Sequence[str] = (),
    azp_optional: bool = False,
    audiences: Sequence[str] = (),
    max_lifetime: timedelta = timedelta(days=1),
) -> Issuer:
    """Trust one Clerk instance, by its Frontend API URL.

    `azp_optional` lets tokens pass that have no `azp`, as Clerk makes them for requests without
    an Origin header (native applications, scripts); a wrong `azp` is refused all the same.
    """
    name = frontend_api.rstrip("/")
    return Issuer(
        provider="clerk",
        names=frozenset({name}),
        keys=keys or KeyAddress(url=f"{name}/.well-known/jwks.json"),
        read=msgspec.json.Decoder(ClerkClaims).decode,
        authorized_parties=frozenset(authorized_parties),
        azp_optional=azp_optional,
        audiences=frozenset(audiences),
        max_lifetime=max_lifetime,
    )


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
        self._trusted: dict[str, tuple[Issuer, KeyRing]] = {}
        for issuer in issuers:
            ring = open_ring(issuer.keys, issuer.algorithm, http=http, clock=clock)
            for name in issuer.names:
                if name in self._trusted:
                    raise BadKey(f"two issuers are both called {name}")
                self._trusted[name] = (issuer, ring)

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
        issuer, ring = self._issuer(unproven)
        if alg != issuer.algorithm:
            raise BadToken("the token is signed by an algorithm we refuse", reason="algorithm")
        claims = _read(issuer, await _proven(token, kid, issuer.algorithm, ring))
        now = self._clock.now()
        check_times(claims, issuer, now=now, leeway=self._leeway)
        check_parties(claims, issuer)
        principal = claims.principal(issuer.provider)
        self._seen.put(token, principal, min(principal.expires_at + self._leeway, now + MAX_RECALL))
        return principal

    async def warm_up(self) -> None:
        """Have every issuer's keys at hand before the first token comes.

        Errors: KeysUnavailable.
        """
        for _, ring in self._trusted.values():
            await ring.warm()

    async def close(self) -> None:
        """Stop what runs in the background; the HTTP client stays the caller's."""
        for _, ring in self._trusted.values():
            await ring.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    def _issuer(self, name: str) -> tuple[Issuer, KeyRing]:
        trusted = self._trusted.get(name)
        if trusted is None:
            raise ForeignIssuer("the token was made by an issuer this service does not trust")
        return trusted


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


async def _proven(token: str, kid: str, algorithm: Algorithm, ring: KeyRing) -> bytes:
    """Give the payload that a key of the issuer has signed, asking for newer keys if none has."""
    keys = await ring.find(kid)
    if not keys:
        raise BadToken("the token is signed with a key the issuer does not have", reason="kid")
    payload = _payload(token, algorithm, keys)
    if payload is None:
        payload = _payload(token, algorithm, await ring.renew(kid, keys))
    if payload is None:
        raise BadToken("the token's signature is wrong", reason="signature")
    return payload


def _payload(token: str, algorithm: Algorithm, keys: tuple[PublicKey, ...]) -> bytes | None:
    """Give the payload if one of `keys` has signed it, None if none has."""
    for key in keys:
        try:
            return _jws.decode_complete(token, key, algorithms=[algorithm])["payload"]
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
    given = {claims.aud} if isinstance(claims.aud, str) else set(claims.aud or ())
    if issuer.audiences and issuer.audiences.isdisjoint(given):
        raise WrongParty("the token was made for another audience")
