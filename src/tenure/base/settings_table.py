"""The one table of settings: a field, its variable, how it is read, what it is for.

It drives parsing, `.env.example`, the reference page and masking. An unset variable is its
default, or the empty value of its type: "" or ().
"""

# ruff: noqa: RUF009 (the calls are field specifiers, as dataclasses.field is)

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import partial
from typing import Any

from tenure.base.variables import (
    Parser,
    Variable,
    choice,
    number,
    origin,
    pattern,
    postgres,
    publishable_key,
    several,
    span,
    supabase_key,
    svix_secret,
    text,
    web_address,
    whole,
)

LIVE_RATE, TEST_RATE = 80.0, 20.0  # Stripe allows 100 and 25 calls per second: room for others

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


def _var(
    name: str,
    parse: Parser,
    *,
    unset: object = "",
    default: str = "",
    **columns: Any,  # noqa: ANN401 (the other columns of Variable, which checks them)
) -> Any:  # noqa: ANN401 (as dataclasses.field: the annotation beside it says the type)
    variable = Variable(name=name, parse=parse, default=default, **columns)
    return field(default=parse(default) if default else unset, metadata={"variable": variable})


_database = partial(_var, group="Database")
_stripe = partial(_var, group="Stripe")
_clerk = partial(_var, group="Clerk")
_workos = partial(_var, group="WorkOS")
_supabase = partial(_var, group="Supabase")
_browsers = partial(_var, group="Browsers")
_service = partial(_var, group="Service")
_policy = partial(_var, group="Policy")
_worker = partial(_var, group="Worker")
_logs = partial(_var, group="Logs")


def is_live(key: str) -> bool:
    """Say whether a key of Stripe or Clerk is one of live mode: its second word says it."""
    return key.split("_")[1:2] == ["live"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings:
    """Everything a process is told from outside."""

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
    clerk_webhook_secret: str = _clerk(
        "CLERK_WEBHOOK_SECRET",
        svix_secret,
        secret=True,
        example="whsec_ZXhhbXBsZQ==",
        help="The signing secret of Clerk's webhook endpoint.",
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
    workos_api_key: str = _workos(
        "WORKOS_API_KEY",
        pattern(r"sk_\w+", "must begin with sk_"),
        secret=True,
        example="sk_example",
        help="WorkOS's API key. Checked, and not used yet.",
    )
    workos_client_id: str = _workos(
        "WORKOS_CLIENT_ID",
        pattern(r"client_\w+", "must begin with client_"),
        example="client_example",
        help="WorkOS's client id: it names the issuer of access tokens. Checked, and not used yet.",
    )
    workos_webhook_secret: str = _workos(
        "WORKOS_WEBHOOK_SECRET",
        text,
        secret=True,
        example="example",
        help="The signing secret of WorkOS's webhook endpoint. Checked, and not used yet.",
    )
    workos_api_base: str = _workos(
        "WORKOS_API_BASE",
        web_address,
        default="https://api.workos.com",
        example="http://127.0.0.1:12113",
        help="Where WorkOS's API is: another address for the sandbox.",
    )
    supabase_url: str = _supabase(
        "SUPABASE_URL",
        web_address,
        example="https://abcdefgh.supabase.co",
        help="The Supabase project's address. Checked, and not used yet.",
    )
    supabase_service_role_key: str = _supabase(
        "SUPABASE_SERVICE_ROLE_KEY",
        supabase_key("service_role", "sb_secret_"),
        secret=True,
        example="sb_secret_example",
        help="The key that passes row-level security; never given to a browser. "
        "Checked, and not used yet.",
    )
    supabase_anon_key: str = _supabase(
        "SUPABASE_ANON_KEY",
        supabase_key("anon", "sb_publishable_"),
        secret=True,
        example="sb_publishable_example",
        help="The key that row-level security applies to. Checked, and not used yet.",
    )
    supabase_jwt_secret: str = _supabase(
        "SUPABASE_JWT_SECRET",
        text,
        secret=True,
        example="example",
        help="The shared secret of Supabase Auth tokens, in projects that still sign with one. "
        "Checked, and not used yet.",
    )
    cors_origins: tuple[str, ...] = _browsers(
        "CORS_ORIGINS",
        several(origin),
        unset=(),
        example="https://app.example.com,http://localhost:3000",
        help="Origins whose pages may call this service.",
    )
    return_origins: tuple[str, ...] = _browsers(
        "TENURE_RETURN_ORIGINS",
        several(origin),
        unset=(),
        default_is="CORS_ORIGINS",
        example="https://app.example.com",
        help="Where checkout and portal may send people back to.",
    )
    host: str = _service(
        "TENURE_HOST",
        pattern(r"[A-Za-z0-9._:-]+", "must be a host name or an address"),
        default="127.0.0.1",
        example="0.0.0.0",  # noqa: S104 (an example of listening everywhere)
        help="The address that the service listens on.",
    )
    port: int = _service(
        "TENURE_PORT",
        whole(1, 65_535),
        default="8000",
        example="8080",
        help="The port that the service listens on.",
    )
    max_body: int = _service(
        "TENURE_MAX_BODY_KB",
        whole(1, 65_536, times=1024, unit="KiB"),
        default="1024",
        example="256",
        help="The largest request body, in KiB; a larger one is answered 413.",
    )
    return_wait: timedelta = _service(
        "TENURE_RETURN_WAIT_SECONDS",
        span(0, 60, unit="seconds"),
        default="5",
        example="3",
        help="How long the return page waits for the look at Stripe before it says 'pending'.",
    )
    facts_max_age: timedelta = _service(
        "TENURE_GATE_MAX_AGE_SECONDS",
        span(0, 3600, unit="seconds"),
        default="30",
        example="10",
        help="How old the gate's facts may grow when no news drops them earlier.",
    )
    pool_size: int = _service(
        "TENURE_POOL_SIZE",
        whole(4, 500),
        default="10",
        example="20",
        help="Connections to Postgres that one process may hold; two are the inbox's own.",
    )
    grace: timedelta = _policy(
        "TENURE_PAST_DUE_GRACE_DAYS",
        span(0, 365, unit="days"),
        default="14",
        example="7",
        help="How many days a past_due subscription keeps the gate open.",
    )
    gate_mode: str = _policy(
        "TENURE_GATE_MODE",
        choice("enforce", "observe"),
        default="enforce",
        example="observe",
        help="observe: nobody is refused for her subscription, role or plan; decisions say what "
        "would have been.",
    )
    inbox_kept: timedelta = _policy(
        "TENURE_INBOX_DAYS",
        span(1, 3650, unit="days"),
        default="30",
        example="90",
        help="How many days a settled event is kept.",
    )
    news_kept: timedelta = _policy(
        "TENURE_NEWS_DAYS",
        span(1, 3650, unit="days"),
        default="7",
        example="30",
        help="How many days sent news is kept.",
    )
    concurrency: int = _worker(
        "TENURE_WORKER_CONCURRENCY",
        whole(1, 500),
        default="8",
        example="16",
        help="Looks that one worker has under way at once.",
    )
    lease: timedelta = _worker(
        "TENURE_LEASE_SECONDS",
        span(1, 3600, unit="seconds"),
        default="60",
        example="120",
        help="How long a worker owns a subject before another may claim it.",
    )
    pause: timedelta = _worker(
        "TENURE_PAUSE_MS",
        span(0, 60_000, unit="milliseconds"),
        default="400",
        example="1000",
        help="Quiet time after a look, in milliseconds: what knocks meanwhile costs one more look.",
    )
    sweep_every: timedelta = _worker(
        "TENURE_SWEEP_SECONDS",
        span(1, 86_400, unit="seconds"),
        default="300",
        example="60",
        help="How often every source is listed, so that lost events do not matter.",
    )
    log_format: str = _logs(
        "TENURE_LOG_FORMAT",
        choice("json", "text"),
        default="json",
        example="text",
        help="json: one object in each line; text: for reading.",
    )
    log_level: str = _logs(
        "TENURE_LOG_LEVEL",
        choice("debug", "info", "warning", "error"),
        default="info",
        example="debug",
        help="The least important event that is written.",
    )

    @property
    def livemode(self) -> bool:
        """Whether real money moves: what the Stripe key says."""
        return is_live(self.stripe_secret_key)

    @property
    def pooled(self) -> bool:
        """Whether `database_url` is a transaction pooler."""
        return bool(self.database_direct_url)

    @property
    def listen_url(self) -> str:
        """The address for LISTEN, session locks and changes of the schema."""
        return self.database_direct_url or self.database_url

    @property
    def supabase_mode(self) -> bool:
        """Whether everything goes through Supabase's REST interface."""
        given = self.supabase_url and self.supabase_service_role_key
        return bool(given) and not self.database_url

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value}' for name, value in shown(self))})"


FIELDS: dict[str, Variable] = {one.name: one.metadata["variable"] for one in fields(Settings)}


def shown(settings: Settings) -> Iterator[tuple[str, str]]:
    """Give each field as it may be shown: secrets that are set become `***`."""
    for name, variable in FIELDS.items():
        value = getattr(settings, name)
        yield name, "***" if variable.secret and value else repr(value)
