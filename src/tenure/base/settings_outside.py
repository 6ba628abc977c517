"""The settings of what is outside: Postgres, Stripe, and who says who people are."""

# ruff: noqa: RUF009 (the calls are field specifiers, as dataclasses.field is)

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Literal

from tenure.base.variables import (
    choice,
    cipher_key,
    issuer,
    number,
    origin,
    pattern,
    postgres,
    publishable_key,
    setting,
    several,
    shared_secret,
    span,
    supabase_key,
    svix_secret,
    text,
    web_address,
)

LIVE_RATE, TEST_RATE = 80.0, 20.0  # Stripe allows 100 and 25 calls per second: room for others
CLERK_LIVE_RATE, CLERK_TEST_RATE = 80.0, 8.0  # Clerk allows 100 and 10
PROVIDERS = ("clerk", "workos", "supabase", "oidc")

STRIPE_KEY = pattern(
    r"[sr]k_(test|live)_\w+",
    "must begin with sk_test_, sk_live_, rk_test_ or rk_live_",
    pk_="the publishable key",
    whsec_="a webhook secret",
)
STRIPE_WEBHOOK = pattern(
    r"whsec_\S+",
    "each must begin with whsec_",
    sk_="a secret key",
    we_="the id of the endpoint, not its secret",
)
CLERK_KEY = pattern(
    r"sk_(test|live)_\w+", "must begin with sk_test_ or sk_live_", pk_="the publishable key"
)


_database = partial(setting, group="Database")
_stripe = partial(setting, group="Stripe")
_identity = partial(setting, group="Identity")
_clerk = partial(setting, group="Clerk")
_workos = partial(setting, group="WorkOS")
_supabase = partial(setting, group="Supabase")
_oidc = partial(setting, group="OpenID Connect")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Outside:
    """Where the others are, and what they know us by."""

    database_url: str = _database(
        "DATABASE_URL",
        postgres,
        secret=True,
        example="postgresql://tenure:password@127.0.0.1:5432/app",
        help="Where Postgres is: a URL, or key=value pairs as libpq reads them.",
    )
    database_direct_url: str = _database(
        "DATABASE_DIRECT_URL",
        postgres,
        secret=True,
        example="postgresql://tenure:password@db.example.com:5432/app",
        help="The same database without the pooler, when DATABASE_URL is a transaction pooler: "
        "for LISTEN, the worker and `tenure db`.",
    )
    stripe_secret_key: str = _stripe(
        "STRIPE_SECRET_KEY",
        STRIPE_KEY,
        secret=True,
        example="sk_test_example",
        help="Stripe's secret or restricted key; its mode (test or live) is ours.",
    )
    stripe_webhook_secrets: tuple[str, ...] = _stripe(
        "STRIPE_WEBHOOK_SECRET",
        several(STRIPE_WEBHOOK),
        secret=True,
        unset=(),
        example="whsec_new,whsec_old",
        help="The signing secret of the webhook endpoint; both, with a comma, while it rolls.",
    )
    stripe_api_base: str = _stripe(
        "STRIPE_API_BASE",
        web_address,
        default="https://api.stripe.com",
        example="http://127.0.0.1:12111",
        help="Where Stripe's API is: another address for the sandbox.",
    )
    stripe_account: str = _stripe(
        "TENURE_STRIPE_ACCOUNT",
        pattern(r"acct_\w+", "must begin with acct_"),
        example="acct_example",
        help="The connected account that every call is made for (Stripe Connect).",
    )
    stripe_rate: float = _stripe(
        "TENURE_STRIPE_RATE",
        number(0.1, 10_000, unit="calls per second"),
        unset=TEST_RATE,
        default_is=f"{LIVE_RATE:g} with a live key, {TEST_RATE:g} with a test key",
        example="40",
        help="Calls per second to Stripe, for all processes together.",
    )
    identity: tuple[str, ...] = _identity(
        "TENURE_IDENTITY",
        several(choice(*PROVIDERS)),
        unset=(),
        default_is="Clerk, WorkOS and OpenID Connect where they are set; "
        "Supabase where none of these is",
        example="clerk,supabase",
        help="Whose session tokens are accepted: clerk, workos, supabase, oidc.",
    )
    clerk_secret_key: str = _clerk(
        "CLERK_SECRET_KEY",
        CLERK_KEY,
        secret=True,
        example="sk_test_example",
        help="Clerk's secret key, for reading users, organizations and memberships.",
    )
    clerk_publishable_key: str = _clerk(
        "CLERK_PUBLISHABLE_KEY",
        publishable_key,
        example="pk_test_Y2xlcmsuZXhhbXBsZS5jb20k",
        help="Clerk's publishable key: it names the issuer of session tokens.",
    )
    clerk_issuer: str = _clerk(
        "CLERK_ISSUER",
        web_address,
        default_is="the host named in CLERK_PUBLISHABLE_KEY",
        example="https://clerk.example.com",
        help="The exact `iss` of session tokens; their keys are read below it.",
    )
    clerk_webhook_secrets: tuple[str, ...] = _clerk(
        "CLERK_WEBHOOK_SECRET",
        several(svix_secret),
        secret=True,
        unset=(),
        example="whsec_ZXhhbXBsZQ==",
        help="The signing secret of Clerk's webhook endpoint; both, with a comma, while it rolls.",
    )
    clerk_api_base: str = _clerk(
        "CLERK_API_BASE",
        web_address,
        default="https://api.clerk.com",
        example="http://127.0.0.1:12112",
        help="Where Clerk's Backend API is: another address for the sandbox.",
    )
    clerk_authorized_parties: tuple[str, ...] = _clerk(
        "CLERK_AUTHORIZED_PARTIES",
        several(origin),
        unset=(),
        example="https://app.example.com,http://localhost:3000",
        help="Origins whose session tokens are accepted (`azp`); unset: not checked.",
    )
    clerk_rate: float = _clerk(
        "TENURE_CLERK_RATE",
        number(0.1, 10_000, unit="calls per second"),
        unset=CLERK_TEST_RATE,
        default_is=f"{CLERK_LIVE_RATE:g} with a live key, {CLERK_TEST_RATE:g} with a test key",
        example="40",
        help="Calls per second to Clerk, for all processes together.",
    )
    workos_api_key: str = _workos(
        "WORKOS_API_KEY",
        pattern(r"sk_\w+", "must begin with sk_"),
        secret=True,
        example="sk_example",
        help="WorkOS's API key, for reading users, organizations, memberships and events.",
    )
    workos_client_id: str = _workos(
        "WORKOS_CLIENT_ID",
        pattern(r"client_\w+", "must begin with client_"),
        example="client_example",
        help="WorkOS's client id: it names the keys that access tokens are signed with.",
    )
    workos_issuers: tuple[str, ...] = _workos(
        "WORKOS_ISSUER",
        several(issuer),
        unset=(),
        default_is="WorkOS's own, with and without the client id",
        example="https://auth.example.com",
        help="Every exact `iss` of access tokens: set it for a custom authentication domain.",
    )
    workos_webhook_secrets: tuple[str, ...] = _workos(
        "WORKOS_WEBHOOK_SECRET",
        several(text),
        secret=True,
        unset=(),
        example="example",
        help="The signing secret of WorkOS's webhook endpoint; both, with a comma, while it rolls.",
    )
    workos_api_base: str = _workos(
        "WORKOS_API_BASE",
        web_address,
        default="https://api.workos.com",
        example="http://127.0.0.1:12113",
        help="Where WorkOS's API is: another address for the sandbox.",
    )
    workos_rate: float = _workos(
        "TENURE_WORKOS_RATE",
        number(0.1, 10_000, unit="calls per second"),
        default="40",
        example="10",
        help="Calls per second to WorkOS, for all processes together.",
    )
    poll_every: timedelta = _workos(
        "TENURE_POLL_SECONDS",
        span(1, 3600, unit="seconds"),
        default="10",
        example="60",
        help="How often WorkOS is asked for new events.",
    )
    session_keys: tuple[str, ...] = _workos(
        "TENURE_SESSION_KEY",
        several(cipher_key),
        secret=True,
        unset=(),
        example="ZXhhbXBsZS1leGFtcGxlLWV4YW1wbGUtZXhhbXBsZS0=",
        help="What refresh tokens are encrypted with at rest, a Fernet key; the new one first, "
        "with a comma, while it changes. Unset: sessions are not refreshed for anybody.",
    )
    supabase_url: str = _supabase(
        "SUPABASE_URL",
        web_address,
        example="https://abcdefgh.supabase.co",
        help="The Supabase project's address: it names the issuer of access tokens.",
    )
    supabase_service_role_key: str = _supabase(
        "SUPABASE_SERVICE_ROLE_KEY",
        supabase_key("service_role", "sb_secret_"),
        secret=True,
        example="sb_secret_example",
        help="The key that passes row-level security; never given to a browser.",
    )
    supabase_anon_key: str = _supabase(
        "SUPABASE_ANON_KEY",
        supabase_key("anon", "sb_publishable_"),
        secret=True,
        example="sb_publishable_example",
        help="The key that row-level security applies to.",
    )
    supabase_jwt_secret: str = _supabase(
        "SUPABASE_JWT_SECRET",
        shared_secret,
        secret=True,
        example="example-example-example-example-",
        help="The shared secret of Supabase Auth tokens, in projects that still sign with one; "
        "unset: only tokens signed with a published key are accepted.",
    )
    oidc_issuer: str = _oidc(
        "TENURE_OIDC_ISSUER",
        issuer,
        example="https://login.example.com/",
        help="The exact `iss` of tokens of any other OpenID Connect provider, slash or no slash.",
    )
    oidc_audiences: tuple[str, ...] = _oidc(
        "TENURE_OIDC_AUDIENCE",
        several(text),
        unset=(),
        example="https://api.example.com",
        help="Whom its tokens must be made for (`aud`); any one of them is enough.",
    )
    oidc_jwks_url: str = _oidc(
        "TENURE_OIDC_JWKS_URL",
        web_address,
        default_is="as /.well-known/openid-configuration of the issuer says",
        example="https://login.example.com/keys",
        help="Where it publishes its keys.",
    )
    oidc_algorithm: Literal["RS256", "ES256"] = _oidc(
        "TENURE_OIDC_ALGORITHM",
        pattern(r"RS256|ES256", "must be RS256 or ES256"),
        default="RS256",
        example="ES256",
        help="The one algorithm that its tokens may be signed with.",
    )

    @property
    def configured(self) -> tuple[str, ...]:
        """The identity providers whose tokens could be checked."""
        given = (self.clerk_issuer, self.workos_client_id, self.supabase_url, self.oidc_issuer)
        return tuple(name for name, value in zip(PROVIDERS, given, strict=True) if value)

    @property
    def trusted(self) -> tuple[str, ...]:
        """The identity providers whose tokens are accepted.

        SUPABASE_URL alone may stand for a database: its sign-up must not open a door that
        another provider guards.
        """
        others = tuple(name for name in self.configured if name != "supabase")
        return self.identity or others or self.configured
