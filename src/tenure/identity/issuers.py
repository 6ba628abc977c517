"""Whose tokens we trust, and on what terms: Clerk, WorkOS, Supabase Auth, any OpenID issuer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import msgspec

from tenure.identity.claims import Claims, ClerkClaims, OidcClaims, SupabaseClaims, WorkosClaims
from tenure.identity.errors import BadKey
from tenure.identity.keys import Discovery, KeyAddress, Pem, SharedSecret

Source = KeyAddress | Discovery | Pem
Published = Literal["RS256", "ES256"]
WORKOS = "https://api.workos.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Somebody whose tokens we trust, and on what terms."""

    provider: str
    names: frozenset[str]  # every exact `iss` it signs with
    keys: Source
    read: Callable[[bytes], Claims]  # raises msgspec.MsgspecError on what is not its claims
    algorithms: frozenset[Published] = frozenset({"RS256"})  # of published keys: theirs decide
    secret: SharedSecret | None = None  # set: HS256 too, and with this secret alone
    authorized_parties: frozenset[str] = frozenset()  # allowed `azp`; empty: not checked
    azp_optional: bool = False  # whether a token without `azp` passes although parties are named
    audiences: frozenset[str] = frozenset()  # allowed `aud`; empty: not checked
    client_id: str = ""  # the only application, where a token names one in its own way
    max_lifetime: timedelta = timedelta(days=1)  # from `iat` to `exp`


def clerk(
    frontend_api: str,
    *,
    keys: Source | None = None,
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


def workos(
    client_id: str,
    *,
    api_base: str = WORKOS,
    issuers: Sequence[str] = (),
    keys: Source | None = None,
) -> Issuer:
    """Trust one WorkOS environment, by its client id, which names the keys.

    `issuers` replaces the names that WorkOS itself is known to sign with, of which one is shared
    by all environments: what tells them apart is the key.
    Source: WorkOS docs, "Session tokens"; Supabase docs, "Third-party auth: WorkOS".
    """
    base = api_base.rstrip("/")
    usual = {f"{one}{rest}" for one in (WORKOS, base) for rest in ("", "/", _managed(client_id))}
    return Issuer(
        provider="workos",
        names=frozenset(issuers) or frozenset(usual),
        keys=keys or KeyAddress(url=f"{base}/sso/jwks/{client_id}"),
        read=msgspec.json.Decoder(WorkosClaims).decode,
        client_id=client_id,
    )


def _managed(client_id: str) -> str:
    return f"/user_management/{client_id}"


def supabase(url: str, *, jwt_secret: str = "", keys: Source | None = None) -> Issuer:
    """Trust the Supabase Auth of one project.

    `jwt_secret`: the legacy shared secret. Without it HS256 is refused; with it both kinds of
    tokens pass, as they must while a project moves from one to the other.
    Source: Supabase docs, "JWT signing keys" and "JWT claims reference".
    """
    name = f"{url.rstrip('/')}/auth/v1"
    return Issuer(
        provider="supabase",
        names=frozenset({name}),
        keys=keys or KeyAddress(url=f"{name}/.well-known/jwks.json"),
        read=msgspec.json.Decoder(SupabaseClaims).decode,
        algorithms=frozenset({"ES256", "RS256"}),
        secret=SharedSecret(text=jwt_secret) if jwt_secret else None,
        audiences=frozenset({"authenticated"}),
        max_lifetime=timedelta(days=7),  # the longest that a project can be set to
    )


def oidc(
    issuer: str,
    audiences: Sequence[str],
    *,
    keys: Source | None = None,
    algorithm: Published = "RS256",
    authorized_parties: Sequence[str] = (),
) -> Issuer:
    """Trust any OpenID Connect issuer, for tokens made for one of `audiences`.

    Its keys are where its own configuration says, unless `keys` says it.
    Errors: BadKey without an audience: then tokens for any application would pass.
    """
    if not audiences:
        raise BadKey(f"no audience is set for the tokens of {issuer}")
    return Issuer(
        provider="oidc",
        names=frozenset({issuer}),
        keys=keys or Discovery(issuer=issuer),
        read=msgspec.json.Decoder(OidcClaims).decode,
        algorithms=frozenset({algorithm}),
        audiences=frozenset(audiences),
        authorized_parties=frozenset(authorized_parties),
        azp_optional=True,
    )
