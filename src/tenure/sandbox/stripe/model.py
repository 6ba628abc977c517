"""The words the pretended Stripe is built from."""

from dataclasses import dataclass, field
from typing import Any, Literal

API_VERSION = "2026-10-28.endive"
"""The version whose shapes we serve: the one the current official SDK pins."""

Obj = dict[str, Any]
"""One JSON object. Keys that start with `_` are ours and are never shown."""

DunningEnd = Literal["cancel", "unpaid", "past_due"]

DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What may differ between two pretended accounts.

    Units: every duration is in seconds unless its name says days.
    `dunning_days` counts from the previous attempt, as Stripe's own settings page does.
    """

    secret_key: str = ""
    rate: float = 0.0
    operation_rate: float = 0.0
    dunning_days: tuple[float, ...] = (3, 5, 7)
    dunning_end: DunningEnd = "cancel"
    upcoming_days: float = 3
    draft_seconds: int = 0
    subscription_limits: bool = False
    webhook_backoff: tuple[float, ...] = (1, 2, 4, 8, 16, 32, 60, 300, 3600)
    webhook_retry_for: float = 3 * DAY
    webhook_timeout: float = 10.0
    tick_every: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asked, as an event remembers it."""

    request_id: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back over HTTP."""

    status: int
    body: Obj
    headers: dict[str, str] = field(default_factory=dict[str, str])
