from tenure.base.settings import load
from tenure.entry.issuers import issuers
from tenure.identity.keys import Discovery, KeyAddress
from tests.base.test_settings import OIDC


def test_a_token_without_azp_passes_where_parties_are_named() -> None:
    """B1: the SDK refuses native applications and scripts, for which Clerk names no origin."""
    environ = {
        "CLERK_ISSUER": "https://c.example.com",
        "CLERK_AUTHORIZED_PARTIES": "http://localhost:3000",
    }
    (issuer,) = issuers(load(environ))
    assert issuer.azp_optional
    assert issuer.authorized_parties == {"http://localhost:3000"}


def test_the_settings_make_the_issuers() -> None:
    """T6: every provider that TENURE_IDENTITY names, with the addresses of its keys."""
    secret = "x" * 32
    environ = {
        "TENURE_IDENTITY": "clerk,workos,supabase,oidc",
        "CLERK_ISSUER": "https://clerk.example.com",
        "WORKOS_CLIENT_ID": "client_1",
        "WORKOS_ISSUER": "https://auth.example.com",
        "SUPABASE_URL": "https://a.supabase.co",
        "SUPABASE_JWT_SECRET": secret,
        **OIDC,
    }
    made = {issuer.provider: issuer for issuer in issuers(load(environ))}
    keys = {name: issuer.keys for name, issuer in made.items()}
    assert keys == {
        "clerk": KeyAddress(url="https://clerk.example.com/.well-known/jwks.json"),
        "workos": KeyAddress(url="https://api.workos.com/sso/jwks/client_1"),
        "supabase": KeyAddress(url="https://a.supabase.co/auth/v1/.well-known/jwks.json"),
        "oidc": Discovery(issuer="https://l.example.com/"),
    }
    assert keys["oidc"].url == "https://l.example.com/.well-known/openid-configuration"
    assert made["workos"].names == {"https://auth.example.com"}
    assert made["oidc"].audiences == {"api", "other"}
    assert made["supabase"].secret
    assert secret not in repr(made)
    placed = {**environ, "TENURE_OIDC_JWKS_URL": "https://l.example.com/keys"}
    (oidc,) = issuers(load({**placed, "TENURE_IDENTITY": "oidc", "TENURE_OIDC_ALGORITHM": "ES256"}))
    assert oidc.keys == KeyAddress(url="https://l.example.com/keys")
    assert oidc.algorithms == {"ES256"}
