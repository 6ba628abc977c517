"""The keys that issuers sign with: where they come from, and which of them we take."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tenure.identity.errors import BadKey

Algorithm = Literal["RS256", "ES256", "HS256"]
PublicKey = RSAPublicKey | EllipticCurvePublicKey

OF_KIND: dict[str, Algorithm] = {"RSA": "RS256", "EC": "ES256"}  # by a JWK's `kty`

FETCH_SECONDS = timedelta(seconds=5)
MAX_KEYS = 32
MIN_RSA_BITS = 2048
MIN_SECRET = 32  # bytes, as many as the hash has (RFC 7518, 3.2)


@dataclass(frozen=True, slots=True)
class Key:
    """What a signature is checked with, and the one algorithm that it is good for.

    The algorithm is the key's, whatever a token's header says.
    """

    algorithm: Algorithm
    material: PublicKey | bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAddress:
    """Where an issuer publishes its keys as a JWK set."""

    url: str
    bearer: str | None = field(default=None, repr=False)  # Clerk's Backend API asks for one
    timeout: timedelta = FETCH_SECONDS  # for the whole fetch, however it drips in


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """An issuer that says itself where its keys are.

    Source: OpenID Connect Discovery 1.0, section 4.
    """

    issuer: str  # exactly as its tokens say it
    timeout: timedelta = FETCH_SECONDS  # for both fetches together

    @property
    def url(self) -> str:
        """Where its configuration is."""
        return f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pem:
    """A public key from the provider's dashboard: no network at all."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSecret:
    """A secret that the issuer shares with us and signs with (HS256)."""

    text: str = field(repr=False)


class _Configuration(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


_configuration = msgspec.json.Decoder(_Configuration)


def read_jwks(body: bytes, algorithms: Collection[Algorithm]) -> Mapping[str, tuple[Key, ...]]:
    """Pick the usable keys out of a JWK set, by `kid` ("" where it has none).

    A set may hold keys of several algorithms while an issuer changes from one to another, and
    may be empty, as that of a Supabase project is that still signs with its shared secret.
    Errors: BadKey when not one of its keys is usable; an unusable one beside good ones is passed
            over.
    Source: RFC 7517.
    """
    try:
        entries: object = msgspec.json.decode(body, type=dict[str, Any]).get("keys")
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise BadKey("the issuer's key set is not a JSON object") from exc
    found: dict[str, tuple[Key, ...]] = {}
    if entries == []:
        return found
    for entry in _entries(entries):
        key, kid = _public_key(entry, algorithms), entry.get("kid", "")
        if key is not None and isinstance(kid, str):
            found[kid] = (*found.get(kid, ()), key)
    if not found:
        raise BadKey(f"the issuer's key set holds no usable {_listed(algorithms)} key")
    return found


def read_discovery(body: bytes, issuer: str) -> str:
    """Read where an issuer's keys are out of its configuration.

    Errors: BadKey, also when it is another issuer's: that one could vouch for anybody.
    """
    try:
        said = _configuration.decode(body)
        scheme = urlsplit(said.jwks_uri).scheme
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as exc:
        raise BadKey("the issuer's configuration names no keys") from exc
    if said.issuer != issuer:
        raise BadKey(
            f"the configuration found there is that of the issuer {said.issuer[:200]!r}; "
            "names must be equal, slash and all"
        )
    if scheme not in {"https", urlsplit(issuer).scheme}:
        raise BadKey("the issuer's keys are at an address that anybody on the way can change")
    return said.jwks_uri


def read_pem(text: str, algorithms: Collection[Algorithm]) -> Key:
    r"""Read a public key as dashboards give it, with line ends that an `.env` file made `\n`.

    Errors: BadKey.
    """
    pem = text.replace("\\n", "\n").strip().encode()
    if not pem.startswith(b"-----BEGIN"):
        raise BadKey("the configured key is not a PEM public key")
    try:
        public: object = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise BadKey("the configured key is not a PEM public key") from exc
    if (key := _fitting(public, algorithms)) is None:
        raise BadKey(f"the configured key cannot verify {_listed(algorithms)}, or is too short")
    return key


def read_secret(text: str) -> Key:
    """Read a shared secret.

    Errors: BadKey when it can be guessed, or is a public key: then anybody could sign with it.
    """
    secret = text.encode()
    if len(secret) < MIN_SECRET:
        raise BadKey(f"the shared secret is shorter than {MIN_SECRET} characters")
    if b"-----BEGIN" in secret:
        raise BadKey("the shared secret is a PEM key, which is no secret")
    return Key("HS256", secret)


def _entries(entries: object) -> Iterable[dict[str, Any]]:
    """List the members of a key set that are objects, and not more than a sane number."""
    if not isinstance(entries, list):
        raise BadKey("the issuer's key set has no list of keys")
    members = cast("list[object]", entries)[:MAX_KEYS]
    return [cast("dict[str, Any]", e) for e in members if isinstance(e, dict)]


def _public_key(entry: dict[str, Any], algorithms: Collection[Algorithm]) -> Key | None:
    """Make a key from one entry; None if it is of another kind, private, weak or broken."""
    algorithm = OF_KIND.get(str(entry.get("kty")))
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    if entry.get("use", "sig") != "sig":
        return None
    try:
        public: object = jwt.PyJWK(entry, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError):
        return None
    return _fitting(public, algorithms)


def _fitting(public: object, algorithms: Collection[Algorithm]) -> Key | None:
    """Say what a key is good for: by its kind, and only if it is public, strong and wanted."""
    if isinstance(public, RSAPublicKey) and public.key_size >= MIN_RSA_BITS:
        return Key("RS256", public) if "RS256" in algorithms else None
    if isinstance(public, EllipticCurvePublicKey) and public.curve.name == "secp256r1":
        return Key("ES256", public) if "ES256" in algorithms else None
    return None


def _listed(algorithms: Collection[Algorithm]) -> str:
    return " or ".join(sorted(algorithms))
