"""Keys and tokens: what a Clerk instance signs, rightly and, for tests, wrongly."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Self, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

Signer = Literal["instance", "stranger", "none", "hs256_with_public_pem"]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One RSA key of the instance; `kid` is the instance's id and need not change with the key."""

    kid: str
    pem: str

    @classmethod
    def make(cls, kid: str) -> Self:
        """Make a new key."""
        return cls(kid=kid, pem=_new_pem())

    def private(self) -> RSAPrivateKey:
        """Open the private half."""
        return _opened(self.pem)

    def public_pem(self) -> str:
        """Write the public half as Clerk's dashboard shows it."""
        spki = PublicFormat.SubjectPublicKeyInfo
        return self.private().public_key().public_bytes(Encoding.PEM, spki).decode()

    def jwk(self) -> dict[str, Any]:
        """Write the public half as a member of a key set."""
        public_half = self.private().public_key()
        numbers = jwt.get_algorithm_by_name("RS256").to_jwk(public_half, as_dict=True)
        public = {part: numbers[part] for part in ("n", "e")}
        return {"use": "sig", "kty": "RSA", "kid": self.kid, "alg": "RS256", **public}


@cache
def shared_pem() -> str:
    """Make one private key per process, for the instances that nobody else can reach."""
    return _new_pem()


def jwks(keys: list[SigningKey]) -> dict[str, Any]:
    """Publish the instance's present keys."""
    return {"keys": [key.jwk() for key in keys]}


def sign(
    claims: Mapping[str, Any],
    key: SigningKey,
    *,
    headers: Mapping[str, Any] | None = None,
    by: Signer = "instance",
) -> str:
    """Make a token, byte by byte, so that a wrong one can be made as easily as a right one."""
    alg = {"none": "none", "hs256_with_public_pem": "HS256"}.get(by, "RS256")
    header = {"alg": alg, "cat": "cl_B7d4PD111AAA", "kid": key.kid, "typ": "JWT", **(headers or {})}
    body = f"{_b64(json.dumps(header))}.{_b64(json.dumps(dict(claims)))}".encode()
    return f"{body.decode()}.{_b64(_signature(body, key, by))}"


def _new_pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _signature(body: bytes, key: SigningKey, by: Signer) -> bytes:
    if by == "none":
        return b""
    if by == "hs256_with_public_pem":
        return hmac.new(key.public_pem().encode(), body, hashlib.sha256).digest()
    private = _stranger() if by == "stranger" else key.private()
    return jwt.get_algorithm_by_name("RS256").sign(body, private)


def _b64(data: str | bytes) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@cache
def _stranger() -> RSAPrivateKey:
    """Make a key that nobody publishes, once per process."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def _opened(pem: str) -> RSAPrivateKey:
    return cast("RSAPrivateKey", load_pem_private_key(pem.encode(), None))
