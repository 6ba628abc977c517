"""Values of billing, valid until a test changes one; and strategies that make many."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from tenure.billing.model import (
    Account,
    Entitlement,
    Item,
    Owner,
    PaymentMethod,
    Profile,
    Status,
    Subscription,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAMP = int(NOON.timestamp())
ORG = Owner(org_id=UUID(int=0xA001), user_id=None)

SAFE = st.characters(codec="utf-8", exclude_characters="\x00")
texts = st.text(SAFE, max_size=12)
names = st.text("abcXYZ019", min_size=1, max_size=8)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (the strategy adds UTC)
maybe = st.none() | moments
dictionaries = st.dictionaries(texts, texts, max_size=3)


def a_subscription(**changes: object) -> Subscription:
    base: dict[str, Any] = {
        "id": "sub_1",
        "status": Status.ACTIVE,
        "collection_paused": False,
        "current_period_start": NOON,
        "current_period_end": NOON + timedelta(days=31),
        "trial_end": None,
        "past_due_since": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "ended_at": None,
        "created_at": NOON,
    }
    return Subscription(**base | changes)


def an_item(**changes: object) -> Item:
    base: dict[str, Any] = {
        "id": "si_1",
        "price_id": "price_1",
        "product_id": "prod_1",
        "quantity": 1,
        "current_period_start": NOON,
        "current_period_end": NOON + timedelta(days=31),
    }
    return Item(**base | changes)


def an_account(**changes: object) -> Account:
    base: dict[str, Any] = {
        "stripe_customer_id": "cus_1",
        "profile": Profile(
            email="ada@example.com",
            name="Ada",
            default_payment_method=None,
            metadata={},
            billing_address=None,
        ),
        "looked_at": NOON,
        "livemode": False,
    }
    return Account(**base | changes)


@st.composite
def items(draw: st.DrawFn) -> tuple[Item, ...]:
    found = st.builds(
        an_item,
        id=names.map(lambda n: f"si_{n}"),
        price_id=texts.map(lambda t: f"price_{t}"),
        quantity=st.none() | st.integers(0, 2**62),
        current_period_start=maybe,
        current_period_end=maybe,
    )
    return tuple(draw(st.lists(found, max_size=4, unique_by=lambda i: i.id)))


@st.composite
def subscriptions(draw: st.DrawFn) -> Subscription:
    name = draw(names)
    sold = draw(items())
    return a_subscription(
        id=f"sub_{name}",
        status=draw(st.sampled_from(Status)),
        collection_paused=draw(st.booleans()),
        current_period_end=draw(maybe),
        trial_end=draw(maybe),
        past_due_since=draw(maybe),
        cancel_at=draw(maybe),
        cancel_at_period_end=draw(st.booleans()),
        canceled_at=draw(maybe),
        ended_at=draw(maybe),
        created_at=draw(st.sampled_from([NOON, NOON + timedelta(seconds=1)]) | moments),
        metadata=draw(dictionaries),
        items=tuple(replace(i, id=f"si_{name}{i.id[3:]}x{n}") for n, i in enumerate(sold)),
    )


profiles = st.builds(
    Profile,
    email=st.none() | texts,
    name=st.none() | texts,
    default_payment_method=st.none() | names.map(lambda n: f"pm_{n}"),
    metadata=dictionaries,
    billing_address=st.none() | st.dictionaries(texts, st.none() | texts, min_size=1, max_size=3),
)
entitlements = st.builds(Entitlement, lookup_key=texts, feature_id=names.map(lambda n: f"feat_{n}"))
payment_methods = st.builds(
    PaymentMethod,
    id=names.map(lambda n: f"pm_{n}"),
    kind=st.sampled_from(["card", "link", "sepa_debit"]),
    brand=st.none() | st.just("visa"),
    last4=st.none() | st.from_regex(r"\A[0-9]{4}\Z"),
    exp_month=st.none() | st.integers(1, 12),
    exp_year=st.none() | st.integers(2026, 2040),
    created_at=moments,
)


def _unique_items(account: Account) -> bool:
    found = [i.id for s in account.subscriptions for i in s.items]
    return len(found) == len(set(found))


accounts = st.builds(
    an_account,
    profile=st.none() | profiles,
    subscriptions=st.lists(subscriptions(), max_size=3, unique_by=lambda s: s.id).map(tuple),
    entitlements=st.lists(entitlements, max_size=4, unique_by=lambda e: e.lookup_key).map(tuple),
    payment_methods=st.lists(payment_methods, max_size=3, unique_by=lambda m: m.id).map(tuple),
).filter(_unique_items)
