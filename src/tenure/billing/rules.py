"""Decisions about customers and subscriptions: facts in, answer out, nothing touched."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from tenure.billing.model import (
    Account,
    Entitlement,
    Owner,
    PaymentMethod,
    Profile,
    Status,
    Subscription,
)

Raw = Mapping[str, Any]  # an object as Stripe's API answers it
Change = tuple[str, dict[str, object]]  # an audit action and its details

Kept = Profile | Subscription

KEY_LIVES = timedelta(hours=23)  # Stripe keeps idempotency keys for at least 24 h; some slack

# Which subscription speaks for its owner when there are several: the one that gives most.
RANK = {
    Status.ACTIVE: 0,
    Status.TRIALING: 1,
    Status.PAST_DUE: 2,
    Status.UNPAID: 3,
    Status.PAUSED: 4,
    Status.INCOMPLETE: 5,
    Status.CANCELED: 6,
    Status.INCOMPLETE_EXPIRED: 7,
}


def chosen(subscriptions: Iterable[Subscription]) -> Subscription | None:
    """Pick the subscription that speaks for its owner: best status, then newest, then by id.

    Promise: the order of arrival plays no part.
    """
    ranked = sorted(subscriptions, key=lambda s: (RANK[s.status], -s.created_at.timestamp(), s.id))
    return ranked[0] if ranked else None


def late_since(
    subscription: Subscription, kept: Iterable[Subscription], looked_at: datetime
) -> Subscription:
    """Give a late subscription a beginning that stands still, where no open invoice names one.

    Promise: the same beginning at every look, so that the grace ends.
    """
    if subscription.status is not Status.PAST_DUE or subscription.past_due_since:
        return subscription
    known = (s.past_due_since for s in kept if s.id == subscription.id)
    return replace(subscription, past_due_since=next(filter(None, known), looked_at))


def idempotency_key(owner: Owner, *, livemode: bool, generation: int, params: Raw) -> str:
    """Name a creation, so that Stripe sees every retry of it as the same request."""
    named = ["customer", str(owner), livemode, generation, params]
    text = json.dumps(named, sort_keys=True, separators=(",", ":"))
    return "tenure-" + hashlib.sha256(text.encode()).hexdigest()[:40]


def is_key_fresh(created_at: datetime, now: datetime) -> bool:
    """Say whether Stripe still remembers a key of that age."""
    return now - created_at < KEY_LIVES


def generation_of(metadata: Mapping[str, str]) -> int:
    """Read at which try a Stripe customer was made; 0 where it does not say."""
    text = metadata.get("tenure_generation", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004 (digits of our column)


def is_ours(customer: Raw, owner: Owner, generation: int) -> bool:
    """Say whether a Stripe customer was made for this owner, at this try."""
    metadata: Raw = customer.get("metadata") or {}
    return (
        metadata.get("tenure_owner") == str(owner)
        and metadata.get("tenure_generation") == str(generation)
        and not customer.get("deleted")
    )


def is_allowed(address: str, origins: Sequence[str]) -> bool:
    """Say whether people may be sent to `address`: its origin is listed, and it is a plain URL."""
    if not (address.isascii() and address.isprintable()):  # browsers drop line ends inside a URL
        return False
    try:
        parts = urlsplit(address)
    except ValueError:  # a bracket that is never closed
        return False
    plain = parts.scheme in {"http", "https"} and parts.netloc and "@" not in parts.netloc
    return bool(plain) and f"{parts.scheme}://{parts.netloc}".lower() in origins


def story(before: Account | None, after: Account) -> list[Change]:
    """Say in words for the audit log what a look found changed.

    Promise: no difference, no words; any difference, some words; the same one, the same words.
    """
    told = _profile_story(before, after.profile)
    told += _subscriptions(before.subscriptions if before else (), after.subscriptions)
    told += _entitlements(before.entitlements if before else (), after.entitlements)
    told += _payment_methods(before.payment_methods if before else (), after.payment_methods)
    return told


def _profile_story(before: Account | None, new: Profile | None) -> list[Change]:
    old = before.profile if before else None
    if new is None:
        return [("customer.deleted", {})] if before is None or old else []
    return _fields("customer.updated", old, new) if old else []


def _subscriptions(before: Sequence[Subscription], after: Sequence[Subscription]) -> list[Change]:
    old = {s.id: s for s in before}
    told: list[Change] = []
    for new in sorted(after, key=lambda s: (s.created_at, s.id)):
        told += _subscription_story(old.pop(new.id, None), new)
    for lost in sorted(old):
        told.append(("subscription.gone", {"subscription": lost}))
    return told + _duplicates(before, after)


def _entitlements(before: Sequence[Entitlement], after: Sequence[Entitlement]) -> list[Change]:
    if set(before) == set(after):
        return []
    had, has = ({e.lookup_key for e in found} for found in (before, after))
    changed = {"granted": sorted(has - had), "withdrawn": sorted(had - has)}
    return [("entitlements.changed", {k: v for k, v in changed.items() if v})]


def _payment_methods(
    before: Sequence[PaymentMethod], after: Sequence[PaymentMethod]
) -> list[Change]:
    if set(before) == set(after):
        return []
    return [("payment_methods.changed", {"methods": sorted(method.id for method in after)})]


def _subscription_story(old: Subscription | None, new: Subscription) -> list[Change]:
    named: dict[str, object] = {"subscription": new.id}
    if old is None:
        return [("subscription.started", named | {"status": new.status, "items": _sold(new)})]
    told: list[Change] = []
    if old.status != new.status:
        told.append(("subscription.status_changed", named | {"from": old.status, "to": new.status}))
    if old.ends_at != new.ends_at and new.ended_at is None:
        action = "cancel_scheduled" if new.ends_at else "cancel_taken_back"
        told.append((f"subscription.{action}", named | {"ends_at": _text(new.ends_at)}))
    if old.current_period_end != new.current_period_end:
        until = {"until": _text(new.current_period_end)}
        told.append(("subscription.period_changed", named | until))
    if _sold(old) != _sold(new):
        told.append(("subscription.items_changed", named | {"items": _sold(new)}))
    if old.collection_paused != new.collection_paused:
        action = "collection_paused" if new.collection_paused else "collection_resumed"
        told.append((f"subscription.{action}", named))
    return told or _fields("subscription.updated", old, new, named)


def _duplicates(old: Iterable[Subscription], new: Iterable[Subscription]) -> list[Change]:
    was = [s.id for s in old if s.is_live]
    live = sorted(s.id for s in new if s.is_live)
    if len(live) > max(1, len(was)):
        return [("subscription.duplicate_found", {"live": live})]
    return []


def _fields(
    action: str, old: Kept, new: Kept, named: Mapping[str, object] | None = None
) -> list[Change]:
    """Name what changed, but never what it holds: that may be personal."""
    names = [f.name for f in fields(new) if getattr(old, f.name) != getattr(new, f.name)]
    return [(action, {**(named or {}), "fields": names})] if names else []


def _sold(subscription: Subscription) -> list[dict[str, object]]:
    return [
        {"price": i.price_id, "quantity": i.quantity}
        for i in sorted(subscription.items, key=lambda i: i.id)
    ]


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
