from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.base.clock import moment
from tenure.billing import projection
from tenure.billing.model import Status

from .builders import NOON, STAMP

stamps = st.integers(STAMP - 10**8, STAMP + 10**8)
some = st.none() | stamps


def raw_item(number: int = 1, **changes: Any) -> dict[str, Any]:
    base = {
        "id": f"si_{number}",
        "price": {"id": "price_1", "product": "prod_1"},
        "quantity": 1,
        "current_period_start": STAMP,
        "current_period_end": STAMP + 100,
    }
    return base | changes


def raw_subscription(*items: dict[str, Any], **changes: Any) -> dict[str, Any]:
    base = {
        "id": "sub_1",
        "status": "active",
        "created": STAMP,
        "metadata": {},
        "items": {"data": list(items) or [raw_item()], "has_more": False},
    }
    return base | changes


def an_invoice(asked: int | None, *, of: Any = "sub_1", tries: int = 1) -> dict[str, Any]:
    return {
        "created": STAMP + 7,
        "attempt_count": tries,
        "status_transitions": {"finalized_at": asked},
        "parent": {"subscription_details": {"subscription": of}},
    }


@given(st.lists(st.tuples(some, some), min_size=1, max_size=5))
def test_the_period_spans_all_items_and_skips_those_without_one(
    spans: list[tuple[int | None, int | None]],
) -> None:
    """Pain 7 (cashier#1751, dj-stripe#2196): periods stand on the items, which may differ."""
    sold = [
        raw_item(n, current_period_start=start, current_period_end=end)
        for n, (start, end) in enumerate(spans)
    ]

    found = projection.subscription(raw_subscription(*sold))

    starts = [moment(s) for s, _ in spans if s is not None]
    ends = [moment(e) for _, e in spans if e is not None]
    assert found.current_period_start == min(starts, default=None)
    assert found.current_period_end == max(ends, default=None)


def test_a_metered_price_has_no_quantity_and_maybe_no_period() -> None:
    item = raw_item()
    for name in ("quantity", "current_period_start", "current_period_end"):
        del item[name]

    found = projection.subscription(raw_subscription(item))

    assert (found.items[0].quantity, found.current_period_end) == (None, None)


@pytest.mark.parametrize(
    ("fields", "ends_at"),
    [
        ({}, None),
        ({"cancel_at": STAMP + 5}, NOON + timedelta(seconds=5)),
        ({"cancel_at_period_end": True}, NOON + timedelta(seconds=100)),
        ({"cancel_at": STAMP + 5, "cancel_at_period_end": True}, NOON + timedelta(seconds=5)),
    ],
)
def test_either_way_to_schedule_a_cancel_says_when_it_ends(
    fields: dict[str, Any], ends_at: datetime | None
) -> None:
    """Pain 6 (cashier#1632): the portal of flexible billing sets `cancel_at` only."""
    assert projection.subscription(raw_subscription(**fields)).ends_at == ends_at


def test_paused_collection_is_its_own_field_beside_the_status() -> None:
    found = projection.subscription(raw_subscription(pause_collection={"behavior": "void"}))

    assert (found.status, found.collection_paused) == (Status.ACTIVE, True)


def test_grace_counts_from_the_oldest_unpaid_invoice_of_this_subscription() -> None:
    """Pain 16 (superset#6732): past due is not locked, so its beginning must be known."""
    invoices = [
        an_invoice(STAMP + 50),
        an_invoice(STAMP + 20, of={"id": "sub_1", "object": "subscription"}),
        an_invoice(STAMP + 1, tries=0),
        an_invoice(STAMP + 2, of="sub_2"),
        {"created": STAMP, "attempt_count": 1, "parent": None, "status_transitions": None},
    ]

    late = projection.subscription(raw_subscription(status="past_due"), invoices)
    fine = projection.subscription(raw_subscription(), invoices)
    drafted = projection.subscription(raw_subscription(status="past_due"), [an_invoice(None)])

    assert late.past_due_since == NOON + timedelta(seconds=20)
    assert fine.past_due_since is None
    assert drafted.past_due_since == NOON + timedelta(seconds=7)


@pytest.mark.parametrize("status", list(Status))
def test_every_status_of_stripe_is_read(status: Status) -> None:
    assert projection.subscription(raw_subscription(status=status.value)).status is status


def test_items_in_another_order_are_the_same_subscription() -> None:
    one, two = raw_item(1), raw_item(2)

    forth = projection.subscription(raw_subscription(one, two))
    back = projection.subscription(raw_subscription(two, one))

    assert forth == back


def test_a_deleted_customer_has_no_profile() -> None:
    account = projection.project(
        {"id": "cus_1", "deleted": True},
        subscriptions=(),
        entitlements=(),
        payment_methods=(),
        open_invoices=(),
        looked_at=NOON,
        livemode=False,
    )

    assert account.profile is None


@given(expanded=st.booleans(), bare=st.booleans())
def test_expanded_objects_read_as_their_ids(*, expanded: bool, bare: bool) -> None:
    card: Any = {"id": "pm_1", "object": "payment_method"} if expanded else "pm_1"
    product: Any = {"id": "prod_1", "object": "product"} if expanded else "prod_1"
    settings = None if bare else {"default_payment_method": card}

    who = projection.profile({"id": "cus_1", "invoice_settings": settings})
    found = projection.subscription(
        raw_subscription(raw_item(price={"id": "price_1", "product": product}))
    )

    assert who.default_payment_method == (None if bare else "pm_1")
    assert found.items[0].product_id == "prod_1"
