"""What was bought, as Stripe says it is now."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

CUSTOMER = "stripe.customer"  # the kind of subject that the single writer looks at


class Status(StrEnum):
    """Stripe's subscription statuses, all of them.

    Source: Stripe API reference, the subscription object, `status`.
    """

    INCOMPLETE = "incomplete"
    INCOMPLETE_EXPIRED = "incomplete_expired"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    UNPAID = "unpaid"
    CANCELED = "canceled"
    PAUSED = "paused"


# A subscription that bills, or will again: a second one beside it is a mistake.
LIVE = frozenset({Status.TRIALING, Status.ACTIVE, Status.PAST_DUE, Status.UNPAID, Status.PAUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who pays: an organization, or a user who acts for herself."""

    org_id: UUID | None
    user_id: UUID | None

    def __post_init__(self) -> None:
        if (self.org_id is None) == (self.user_id is None):
            raise ValueError("an owner is an organization or a user, and not both")

    def __str__(self) -> str:
        return f"org:{self.org_id}" if self.org_id else f"user:{self.user_id}"

    @classmethod
    def named(cls, text: str) -> "Owner | None":
        """Read what `str` wrote; None when it is nothing of the kind."""
        kind, _, key = text.partition(":")
        try:
            found = UUID(key)
        except ValueError:
            return None
        if kind == "org":
            return cls(org_id=found, user_id=None)
        return cls(org_id=None, user_id=found) if kind == "user" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A row of `stripe_customers`."""

    id: UUID
    owner: Owner
    stripe_customer_id: str
    livemode: bool
    generation: int
    email: str | None
    name: str | None
    default_payment_method: str | None
    metadata: Mapping[str, str]
    billing_address: Mapping[str, str | None] | None
    portal_configuration: str | None
    sync_status: str
    synced_at: datetime | None
    created_at: datetime
    deleted_at: datetime | None

    @classmethod
    def new(
        cls,
        row_id: UUID,
        owner: Owner,
        profile: "Profile",
        *,
        stripe_customer_id: str,
        livemode: bool,
        generation: int,
        at: datetime,
    ) -> "Customer":
        """Describe a customer that was just made or found at Stripe, before the first look."""
        return cls(
            id=row_id,
            owner=owner,
            stripe_customer_id=stripe_customer_id,
            livemode=livemode,
            generation=generation,
            email=profile.email,
            name=profile.name,
            default_payment_method=profile.default_payment_method,
            metadata=profile.metadata,
            billing_address=profile.billing_address,
            portal_configuration=None,
            sync_status="pending",
            synced_at=None,
            created_at=at,
            deleted_at=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One price in a subscription."""

    id: str
    price_id: str
    product_id: str
    quantity: int | None  # None for metered prices
    current_period_start: datetime | None
    current_period_end: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One subscription with its items."""

    id: str
    status: Status
    collection_paused: bool
    current_period_start: datetime | None  # earliest over the items
    current_period_end: datetime | None  # latest over the items
    trial_end: datetime | None
    past_due_since: datetime | None
    cancel_at: datetime | None
    cancel_at_period_end: bool
    canceled_at: datetime | None
    ended_at: datetime | None
    created_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    items: tuple[Item, ...] = ()

    @property
    def is_live(self) -> bool:
        """Say whether it bills, or will again."""
        return self.status in LIVE

    @property
    def ends_at(self) -> datetime | None:
        """Say when it is to end, by either of Stripe's two ways to schedule that."""
        if self.cancel_at is not None:
            return self.cancel_at
        return self.current_period_end if self.cancel_at_period_end else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entitlement:
    """A feature that the customer has now."""

    lookup_key: str
    feature_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """How a customer pays."""

    id: str
    kind: str  # "card"
    brand: str | None
    last4: str | None
    exp_month: int | None
    exp_year: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What Stripe holds about the customer itself."""

    email: str | None
    name: str | None
    default_payment_method: str | None
    metadata: Mapping[str, str]
    billing_address: Mapping[str, str | None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """All that one look at a customer saw."""

    stripe_customer_id: str
    profile: Profile | None  # None: the customer is deleted
    subscriptions: tuple[Subscription, ...] = ()
    entitlements: tuple[Entitlement, ...] = ()
    payment_methods: tuple[PaymentMethod, ...] = ()
    looked_at: datetime  # taken before Stripe was asked
    livemode: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A customer about to be made; the key and the parameters every try will use."""

    id: UUID
    owner: Owner
    livemode: bool
    generation: int
    idempotency_key: str
    params: Mapping[str, object]
    created_at: datetime
