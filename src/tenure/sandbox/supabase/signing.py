"""Keys and tokens: what a Supabase project signs, rightly and, for tests, wrongly."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tenure.sandbox import jose
from tenure.sandbox.jose import Algorithm, Material, Wrong

State = Literal["standby", "in_use", "previously_used", "revoked"]
Signer = Literal["project"] | Wrong
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
    def material(self) -> Material:
        """What it signs with."""
        return self.text.encode() if self.algorithm == "HS256" else jose.opened(self.text)

    @property
    def checker(self) -> Any:  # noqa: ANN401 (whatever PyJWT wants for the algorithm)
        """What its signatures are checked with."""
        return jose.checker(self.material)

    def public_pem(self) -> str:
        """Write the public half as PEM; nothing for a shared secret."""
        return jose.public_pem(self.material)

    def jwk(self) -> dict[str, Any]:
        """Write the public half as a member of a key set."""
        return jose.public_numbers(self.material, self.algorithm) | {
            "alg": self.algorithm,
            "ext": True,
            "key_ops": ["verify"],
            "kid": self.kid,
            "use": "sig",
        }


def make(kid: str, algorithm: Algorithm, state: State) -> SigningKey:
    """Make a new key pair."""
    return SigningKey(kid=kid, algorithm=algorithm, state=state, text=jose.new_pem(algorithm))


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
    """Make a token, rightly or wrongly."""
    named = {} if key.kid == LEGACY else {"kid": key.kid}
    return jose.token(
        claims,
        {**named, "typ": "JWT", **(headers or {})},
        algorithm=key.algorithm,
        material=key.material,
        wrong=None if by == "project" else by,
    )
