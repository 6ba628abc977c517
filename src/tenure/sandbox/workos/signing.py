"""Keys, tokens and webhook signatures: what WorkOS signs, rightly and, for tests, wrongly."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal, Self, cast

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

Signer = Literal["instance", "stranger", "none", "hs256_with_public_pem"]
FROM, UNTIL = datetime(2025, 1, 1, tzinfo=UTC), datetime(2045, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One RSA key; WorkOS gives each its own `kid`."""

    kid: str
    pem: str
    published: bool = True  # unpublished: it signs before the key set tells of it

    @classmethod
    def make(cls, kid: str) -> Self:
        """Make a new key."""
        return cls(kid=kid, pem=_new_pem())

    def private(self) -> RSAPrivateKey:
        """Open the private half."""
        return _opened(self.pem)

    def public_pem(self) -> str:
        """Write the public half."""
        spki = PublicFormat.SubjectPublicKeyInfo
        return self.private().public_key().public_bytes(Encoding.PEM, spki).decode()

    def jwk(self) -> dict[str, Any]:
        """Write the public half as a member of a key set, with its certificate."""
        public_half = self.private().public_key()
        numbers = jwt.get_algorithm_by_name("RS256").to_jwk(public_half, as_dict=True)
        certificate = _certificate(self.pem)
        return {
            "alg": "RS256",
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "n": numbers["n"],
            "e": numbers["e"],
            "x5c": [base64.b64encode(certificate).decode()],
            "x5t#S256": _b64(hashlib.sha256(certificate).digest()),
        }


@cache
def shared_pem() -> str:
    """Make one private key per process, for the environments that nobody else can reach."""
    return _new_pem()


def jwks(keys: Sequence[SigningKey]) -> dict[str, Any]:
    """Publish the present keys."""
    return {"keys": [key.jwk() for key in keys if key.published]}


def sign(
    claims: Mapping[str, Any],
    key: SigningKey,
    *,
    headers: Mapping[str, Any] | None = None,
    by: Signer = "instance",
) -> str:
    """Make a token, byte by byte, so that a wrong one can be made as easily as a right one."""
    alg = {"none": "none", "hs256_with_public_pem": "HS256"}.get(by, "RS256")
    header = {"alg": alg, "kid": key.kid, **(headers or {})}
    body = f"{_b64(json.dumps(header))}.{_b64(json.dumps(dict(claims)))}".encode()
    return f"{body.decode()}.{_b64(_signature(body, key, by))}"


def webhook_headers(_letter_id: str, at: datetime, body: bytes, secret: str) -> dict[str, str]:
    """Sign a webhook: the time is in milliseconds, and `, ` stands between the two parts."""
    ms = round(at.timestamp() * 1000)
    mac = hmac.new(secret.encode(), f"{ms}.".encode() + body, hashlib.sha256)
    return {"workos-signature": f"t={ms}, v1={mac.hexdigest()}"}


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
def _certificate(pem: str) -> bytes:
    """Make the self-signed certificate that the key set shows."""
    private = _opened(pem)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tenure-sandbox")])
    made = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=private.public_key(),
        serial_number=1,
        not_valid_before=FROM,
        not_valid_after=UNTIL,
    ).sign(private, hashes.SHA256())
    return made.public_bytes(Encoding.DER)


@cache
def _stranger() -> RSAPrivateKey:
    """Make a key that nobody publishes, once per process."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def _opened(pem: str) -> RSAPrivateKey:
    return cast("RSAPrivateKey", load_pem_private_key(pem.encode(), None))
