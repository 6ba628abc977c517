"""What comes in, what is due, what goes out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Subject(NamedTuple):
    """Something outside that we keep a copy of: ("stripe.customer", "cus_…")."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """One event from a provider. It says that something changed, never what is true now."""

    source: str  # "stripe"
    account: str = ""  # the provider's account; empty for our own
    livemode: bool
    event_id: str
    kind: str  # "customer.subscription.updated"
    subject: Subject | None  # None: nobody is concerned, and `note` says why
    note: str | None = None
    occurred_at: datetime | None = None
    body: bytes  # as signed


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An event as the inbox keeps it, for those who must read what it said."""

    event_id: str
    kind: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to look at a subject and write what was seen, until somebody claims it anew."""

    subject: Subject
    fence: int
    seq: int  # the dirty_seq that this look settles
    attempts: int  # this one included


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line for the audit log."""

    org_id: UUID | None
    user_id: UUID | None
    at: datetime
    actor: str  # "user:…", "stripe", "tenure"
    action: str  # "customer.created"
    subject: str  # "cus_…"
    details: Mapping[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something that changed with us, for whoever acts on it."""

    id: int
    topic: str  # "subscription.changed"
    org_id: UUID | None
    user_id: UUID | None
    payload: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How much is due, and since when."""

    kind: str
    due: int
    failing: int
    oldest: datetime | None
