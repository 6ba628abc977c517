"""Keys and tokens: what a Supabase project signs, rightly and, for tests, wrongly."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

Algorithm = Literal["ES256", "RS256", "HS256"]
State = Literal["standby", "in_use", "previously_used", "revoked"]
Signer = Literal["project", "stranger", "none", "hs256_with_public_pem"]
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
LEGACY = "legacy"  # what we call the shared secret; its tokens carry no `kid`


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One signing key of the project, in one of Supabase's four states."""

    kid: str
    algorithm: Algorithm
    state: State
    text: str  # a private key as PEM, or the shared secret

    def now(self, state: State) -> "SigningKey":
        """Move it to another state."""
        return replace(self, state=state)

    @property
    def material(self) -> Private | bytes:
        """What it signs with."""
        return self.text.encode() if self.algorithm == "HS256" else _opened(self.text)

    @property
    def checker(self) -> Any:  # noqa: ANN401 (whatever PyJWT wants for the algorithm)
        """What its signatures are checked with."""
        material = self.material
        return material if isinstance(material, bytes) else material.public_key()

    def public_pem(self) -> str:
        """Write the public half as PEM; nothing for a shared secret."""
        material = self.material
        if isinstance(material, bytes):
            return ""
        spki = PublicFormat.SubjectPublicKeyInfo
        return material.public_key().public_bytes(Encoding.PEM, spki).decode()

    def jwk(self) -> dict[str, Any]:
        """Write the public half as a member of a key set."""
        known = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.checker, as_dict=True)
        return known | {
            "alg": self.algorithm,
            "ext": True,
            "key_ops": ["verify"],
            "kid": self.kid,
            "use": "sig",
        }


def make(kid: str, algorithm: Algorithm, state: State) -> SigningKey:
    """Make a new key pair."""
    pem = _fresh(algorithm).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return SigningKey(kid=kid, algorithm=algorithm, state=state, text=pem.decode())


def jwks(keys: list[SigningKey]) -> dict[str, Any]:
    """Publish what may be checked with: no revoked key, and never the shared secret."""
    shown = [k for k in keys if k.algorithm != "HS256" and k.state != "revoked"]
    return {"keys": [key.jwk() for key in shown]}


def sign(
    claims: Mapping[str, Any],
    key: SigningKey,
    *,
    headers: Mapping[str, Any] | None = None,
    by: Signer = "project",
) -> str:
    """Make a token, byte by byte, so that a wrong one can be made as easily as a right one."""
    alg = {"none": "none", "hs256_with_public_pem": "HS256"}.get(by, key.algorithm)
    named = {} if key.kid == LEGACY else {"kid": key.kid}
    header = {"alg": alg, **named, "typ": "JWT", **(headers or {})}
    body = f"{_b64(json.dumps(header))}.{_b64(json.dumps(dict(claims)))}".encode()
    return f"{body.decode()}.{_b64(_signature(body, key, by))}"


def _signature(body: bytes, key: SigningKey, by: Signer) -> bytes:
    if by == "none":
        return b""
    if by == "hs256_with_public_pem":
        return hmac.new(key.public_pem().encode(), body, hashlib.sha256).digest()
    material: Any = _stranger(key.algorithm) if by == "stranger" else key.material
    return jwt.get_algorithm_by_name(key.algorithm).sign(body, material)


def _b64(data: str | bytes) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _fresh(algorithm: Algorithm) -> Private:
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


@cache
def _stranger(algorithm: Algorithm) -> Private | bytes:
    """Make a key that nobody publishes, once per process."""
    return b"somebody else's secret, long enough" if algorithm == "HS256" else _fresh(algorithm)


@cache
def _opened(pem: str) -> Private:
    return cast("Private", load_pem_private_key(pem.encode(), None))
