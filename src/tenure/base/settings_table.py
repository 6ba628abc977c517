"""The one table of settings: a field, its variable, how it is read, what it is for.

It drives parsing, `.env.example`, the reference page and masking. An unset variable is its
default, or the empty value of its type: "" or ().
"""

# ruff: noqa: RUF009 (the calls are field specifiers, as dataclasses.field is)

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import partial
from typing import Literal

from tenure.base.settings_outside import Outside
from tenure.base.variables import (
    Variable,
    choice,
    origin,
    pattern,
    setting,
    several,
    span,
    whole,
)

_browsers = partial(setting, group="Browsers")
_service = partial(setting, group="Service")
_policy = partial(setting, group="Policy")
_worker = partial(setting, group="Worker")
_logs = partial(setting, group="Logs")


def is_live(key: str) -> bool:
    """Say whether a key of Stripe or Clerk is one of live mode: its second word says it."""
    return key.split("_")[1:2] == ["live"]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings(Outside):
    """Everything a process is told from outside."""

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
    over_limit: Literal["tolerate", "deactivate"] = _policy(
        "TENURE_OVER_LIMIT",
        choice("tolerate", "deactivate"),
        default="tolerate",
        example="deactivate",
        help="What becomes of members whom a provider added beyond the seats: tolerate keeps them, "
        "without a seat; deactivate undoes it at the provider.",
    )
    user_deletion: Literal["anonymise", "keep", "cascade"] = _policy(
        "TENURE_USER_DELETION",
        choice("anonymise", "keep", "cascade"),
        default="anonymise",
        example="keep",
        help="What becomes of a user whom the provider deleted: anonymise keeps the row without "
        "name and address, keep leaves it as it is; cascade is anonymise, and `tenure users "
        "delete` also does to rows of your own tables what their foreign keys say.",
    )
    decisions_kept: timedelta = _policy(
        "TENURE_DECISION_DAYS",
        span(1, 3650, unit="days"),
        default="30",
        example="90",
        help="How many days it is kept what was made of an event, and why.",
    )
    absence_limit: int = _policy(
        "TENURE_ABSENCE_LIMIT",
        whole(0, 1_000_000),
        default="50",
        example="500",
        help="How many users, organizations and memberships may be dropped in a day because the "
        "provider does not have them any more and no event said so; then somebody is asked.",
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
        help="How often Stripe's events are listed, so that lost ones do not matter.",
    )
    walk_every: timedelta = _worker(
        "TENURE_WALK_SECONDS",
        span(10, 86_400, unit="seconds"),
        default="900",
        example="3600",
        help="How often all users, organizations and memberships are listed, for the same reason.",
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
