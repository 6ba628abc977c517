"""What the gate knows, what a route needs, and what it decides."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from tenure.billing.model import Status

NOTHING: frozenset[str] = frozenset()


class Reason(StrEnum):
    """Why a request may pass, or may not."""

    OPEN = "open"
    TRIAL = "trial"
    GRACE = "past_due_in_grace"
    NOT_ASKED = "subscription_not_asked"
    NOT_SIGNED_IN = "not_signed_in"
    NOT_A_MEMBER = "not_a_member"
    NO_SUBSCRIPTION = "no_subscription"
    PAST_DUE = "past_due_too_long"
    INCOMPLETE = "payment_incomplete"
    UNPAID = "unpaid"
    PAUSED = "paused"
    ENDED = "subscription_ended"
    ROLE = "role_missing"
    FEATURE = "feature_missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """The subscription that speaks for the owner."""

    id: str
    status: Status
    created_at: datetime
    current_period_end: datetime | None
    trial_end: datetime | None
    past_due_since: datetime | None
    ends_at: datetime | None  # scheduled, by either of Stripe's two ways
    ended_at: datetime | None
    collection_paused: bool
    looked_at: datetime
    look_fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a decision stands on, read in one statement."""

    user_id: UUID | None
    org_id: UUID | None
    role: str | None  # our membership row's, while it is active
    bought: Bought | None
    features: frozenset[str] = NOTHING
    read_at: datetime
    is_deleted: bool = False  # the user, by her provider
    is_blocked: bool = False  # the user, by her provider
    valid_after: datetime | None = None  # session tokens issued before are refused
    ended_sessions: frozenset[str] = NOTHING  # of the user's, by the provider's ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a route asks of a request. Links it does not need are left out by name."""

    subscription: bool = True
    roles: frozenset[str] = NOTHING  # one of them; empty: any member
    features: frozenset[str] = NOTHING  # all of them
    personal: bool = False  # who acts for herself, without an organization, needs no role
    always: bool = False  # refused also while the gate observes: where money is spent
    fresh: bool = False  # facts are read now, whatever this process remembers: for every write


SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110: they change nothing
ANY_MEMBER = Needs(subscription=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """An answer that explains itself."""

    allowed: bool
    reason: Reason
    message: str
    since: datetime | None = None
    until: datetime | None = None  # when it changes by itself, as far as we know
    change: str = ""  # what would change it
    facts: Facts | None = None
    code: str = ""  # of the error behind it, where there is one
    missing: frozenset[str] = field(default=NOTHING)
    enforced: bool = True  # False: allowed only because the gate observes; `reason` would refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What this company decided; settings say so."""

    past_due_grace: timedelta = timedelta(days=14)
    observe: bool = False  # refuse nobody for her subscription, role or plan; say what would be
