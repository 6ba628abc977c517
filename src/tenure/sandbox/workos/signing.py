"""Keys, tokens and webhook signatures: what WorkOS signs, rightly and, for tests, wrongly."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tenure.sandbox import jose
from tenure.sandbox.jose import Private, Wrong

Signer = Literal["instance"] | Wrong
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
        return cls(kid=kid, pem=jose.new_pem())

    def private(self) -> Private:
        """Open the private half."""
        return jose.opened(self.pem)

    def public_pem(self) -> str:
        """Write the public half."""
        return jose.public_pem(self.private())

    def jwk(self) -> dict[str, Any]:
        """Write the public half as a member of a key set, with its certificate."""
        numbers = jose.public_numbers(self.private(), "RS256")
        certificate = _certificate(self.pem)
        return {
            "alg": "RS256",
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "n": numbers["n"],
            "e": numbers["e"],
            "x5c": [base64.b64encode(certificate).decode()],
            "x5t#S256": jose.b64(hashlib.sha256(certificate).digest()),
        }


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
    """Make a token, rightly or wrongly."""
    return jose.token(
        claims,
        {"kid": key.kid, **(headers or {})},
        algorithm="RS256",
        material=key.private(),
        wrong=None if by == "instance" else by,
    )


def webhook_headers(_letter_id: str, at: datetime, body: bytes, secret: str) -> dict[str, str]:
    """Sign a webhook: the time is in milliseconds, and `, ` stands between the two parts."""
    ms = round(at.timestamp() * 1000)
    mac = hmac.new(secret.encode(), f"{ms}.".encode() + body, hashlib.sha256)
    return {"workos-signature": f"t={ms}, v1={mac.hexdigest()}"}


@cache
def _certificate(pem: str) -> bytes:
    """Make the self-signed certificate that the key set shows."""
    private = jose.opened(pem)
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
