"""Whose session tokens this installation accepts, as its settings say."""

from collections.abc import Callable, Sequence

from tenure.base.settings import Settings
from tenure.identity.issuers import Issuer, clerk, oidc, supabase, workos
from tenure.identity.keys import KeyAddress


def issuers(settings: Settings) -> Sequence[Issuer]:
    """Make the issuers that are set, and that TENURE_IDENTITY does not leave out."""
    return [MAKE[name](settings) for name in settings.trusted]


def _clerk(settings: Settings) -> Issuer:
    return clerk(
        settings.clerk_issuer,
        authorized_parties=settings.clerk_authorized_parties,
        azp_optional=True,  # scripts and native applications send no Origin, so Clerk names none
    )


def _workos(settings: Settings) -> Issuer:
    return workos(
        settings.workos_client_id,
        api_base=settings.workos_api_base,
        issuers=settings.workos_issuers,
    )


def _supabase(settings: Settings) -> Issuer:
    return supabase(settings.supabase_url, jwt_secret=settings.supabase_jwt_secret)


def _oidc(settings: Settings) -> Issuer:
    return oidc(
        settings.oidc_issuer,
        settings.oidc_audiences,
        keys=KeyAddress(url=settings.oidc_jwks_url) if settings.oidc_jwks_url else None,
        algorithm=settings.oidc_algorithm,
    )


MAKE: dict[str, Callable[[Settings], Issuer]] = {
    "clerk": _clerk,
    "workos": _workos,
    "supabase": _supabase,
    "oidc": _oidc,
}
