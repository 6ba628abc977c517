"""Session tokens of three providers, made here, and the keys that they are signed with."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tenure.identity import issuers
from tenure.identity.issuers import Issuer, Source

KID = "ins_bench"
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """One provider that signs tokens."""

    provider: Literal["clerk", "workos", "supabase"]
    algorithm: Literal["RS256", "ES256"]
    issuer: str
    path: str  # where its keys are published
    private: Private

    @property
    def title(self) -> str:
        """Name it, and how it signs, as a table does."""
        names = {"clerk": "Clerk", "workos": "WorkOS", "supabase": "Supabase"}
        return f"{names[self.provider]} {self.algorithm}"

    @property
    def public(self) -> Any:  # noqa: ANN401 (PyJWT takes either kind)
        """The key that a signature is checked with."""
        return self.private.public_key()

    @property
    def pem(self) -> str:
        """Write the same, as a dashboard shows it."""
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.public.public_bytes(serialization.Encoding.PEM, kind).decode()

    def jwks(self) -> str:
        """Write the same, as it is published."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        key = algorithm.to_jwk(self.public, as_dict=True)  # type: ignore[call-arg]
        return json.dumps({"keys": [key | {"kid": KID, "use": "sig", "alg": self.algorithm}]})

    def trusted(self, keys: Source) -> Issuer:
        """Say how we trust it."""
        if self.provider == "clerk":
            return issuers.clerk(self.issuer, keys=keys)
        if self.provider == "workos":
            return issuers.workos("client_bench", issuers=[self.issuer], keys=keys)
        return issuers.supabase(self.issuer.removesuffix("/auth/v1"), keys=keys)

    def tokens(self, count: int, *, strangers: bool = False) -> list[str]:
        """Sign tokens of so many people; `strangers` name keys that nobody has."""
        return [
            jwt.encode(
                self._claims(n),
                self.private,
                algorithm=self.algorithm,
                headers={"kid": f"stranger_{n}" if strangers else KID},
            )
            for n in range(count)
        ]

    def _claims(self, n: int) -> Mapping[str, object]:
        now = int(time.time())
        usual = {"iss": self.issuer, "sub": f"user_{n}", "iat": now - 5, "exp": now + 3600}
        return usual | SAYS[self.provider](n)


def _clerk(n: int) -> dict[str, object]:
    org = {"id": f"org_{n}", "slg": f"org-{n}", "rol": "admin", "per": "read,manage", "fpm": "3"}
    return {"sid": f"sess_{n}", "v": 2, "nbf": int(time.time()) - 5, "fea": "o:reports", "o": org}


def _workos(n: int) -> dict[str, object]:
    org: dict[str, object] = {"org_id": f"org_{n}", "role": "admin", "roles": ["admin"]}
    return {"sid": f"session_{n}", "jti": f"jti_{n}", "permissions": ["reports:read"], **org}


def _supabase(n: int) -> dict[str, object]:
    return {
        "sub": str(UUID(int=n + 1)),
        "session_id": str(UUID(int=n + 2**64)),
        "aud": "authenticated",
        "role": "authenticated",
        "email": f"user{n}@example.com",
        "app_metadata": {"provider": "email"},
        "user_metadata": {},
        "aal": "aal1",
        "is_anonymous": False,
    }


SAYS = {"clerk": _clerk, "workos": _workos, "supabase": _supabase}


def authorities() -> Sequence[Authority]:
    """Make all three, each with a key of its own."""
    return [
        Authority(
            provider="clerk",
            algorithm="RS256",
            issuer="https://clerk.bench.example",
            path="/v1/jwks",
            private=_rsa(),
        ),
        Authority(
            provider="workos",
            algorithm="RS256",
            issuer="https://api.workos.com/user_management/client_bench",
            path="/sso/jwks/client_bench",
            private=_rsa(),
        ),
        Authority(
            provider="supabase",
            algorithm="ES256",
            issuer="https://bench.supabase.example/auth/v1",
            path="/auth/v1/.well-known/jwks.json",
            private=ec.generate_private_key(ec.SECP256R1()),
        ),
    ]


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
