"""Keys and tokens: what a Clerk instance signs, rightly and, for tests, wrongly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from tenure.sandbox import jose
from tenure.sandbox.jose import Private, Wrong

Signer = Literal["instance"] | Wrong


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One RSA key of the instance; `kid` is the instance's id and need not change with the key."""

    kid: str
    pem: str

    @classmethod
    def make(cls, kid: str) -> Self:
        """Make a new key."""
        return cls(kid=kid, pem=jose.new_pem())

    def private(self) -> Private:
        """Open the private half."""
        return jose.opened(self.pem)

    def public_pem(self) -> str:
        """Write the public half as Clerk's dashboard shows it."""
        return jose.public_pem(self.private())

    def jwk(self) -> dict[str, Any]:
        """Write the public half as a member of a key set."""
        numbers = jose.public_numbers(self.private(), "RS256")
        public = {part: numbers[part] for part in ("n", "e")}
        return {"use": "sig", "kty": "RSA", "kid": self.kid, "alg": "RS256", **public}


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
    """Make a token, rightly or wrongly."""
    return jose.token(
        claims,
        {"cat": "cl_B7d4PD111AAA", "kid": key.kid, "typ": "JWT", **(headers or {})},
        algorithm="RS256",
        material=key.private(),
        wrong=None if by == "instance" else by,
    )
