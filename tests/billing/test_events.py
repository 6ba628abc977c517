import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import stripe as sdk
from hypothesis import example, given
from hypothesis import strategies as st

from tenure.base.db import Tx
from tenure.billing.errors import BadEvent
from tenure.billing.events import knock_of
from tenure.billing.model import CUSTOMER
from tenure.journal import store as journal
from tenure.journal.model import Knock, Subject

from .shop import MONTH, Shop


def an_event(obj: Any = None, **changes: Any) -> bytes:
    base = {
        "id": "evt_1",
        "object": "event",
        "type": "customer.subscription.updated",
        "created": 1_772_366_400,
        "livemode": False,
        "data": {"object": {"customer": "cus_1"} if obj is None else obj},
    }
    return json.dumps(base | changes).encode()


def read(raw: bytes) -> Knock:
    return knock_of(raw, livemode=False)


async def test_every_event_of_a_busy_month_is_routed_to_its_customer(shop: Shop) -> None:
    """B5, P3: real payloads of the sandbox, `invoice.upcoming` and entitlement summaries too."""
    merchant = shop.merchant
    customer = merchant.v1.customers.create({"email": "ada@example.com"}).id
    sub = shop.subscribe(customer, quantity=2)
    shop.box.advance(MONTH)
    merchant.v1.subscriptions.update(sub.id, {"metadata": {"a": "b"}})
    card = shop.give_card(customer, "chargeCustomerFail")
    merchant.v1.subscriptions.update(sub.id, {"default_payment_method": card})
    shop.box.advance(MONTH)
    merchant.v1.subscriptions.cancel(sub.id)
    merchant.v1.customers.delete(customer)

    seen: dict[str, set[Subject | None]] = {}
    async for event in shop.stripe.pages("/v1/events"):
        knock = read(msgspec.json.encode(event))
        assert knock.event_id == event["id"]
        assert knock.occurred_at == datetime.fromtimestamp(event["created"], UTC)
        seen.setdefault(event["type"], set()).add(knock.subject)

    nobodys = {kind for kind, subjects in seen.items() if subjects == {None}}
    assert nobodys == {k for k in seen if k.startswith(("product.", "price.", "entitlements.feat"))}
    ours = {kind: subjects for kind, subjects in seen.items() if kind not in nobodys}
    assert set.union(*ours.values()) == {Subject(CUSTOMER, customer)}
    assert {
        "customer.created",
        "customer.deleted",
        "customer.subscription.deleted",
        "entitlements.active_entitlement_summary.updated",
        "invoice.payment_failed",
        "invoice.upcoming",
        "payment_method.attached",
    } <= set(ours)


def test_an_upcoming_invoice_has_no_id_and_is_routed_by_its_customer() -> None:
    """P3: its object has no id."""
    raw = an_event({"object": "invoice", "customer": "cus_7"}, type="invoice.upcoming")

    assert read(raw).subject == Subject(CUSTOMER, "cus_7")


def test_an_entitlement_summary_is_routed_by_its_customer() -> None:
    summary = {"object": "entitlements.active_entitlement_summary", "customer": "cus_7"}

    assert read(an_event(summary)).subject == Subject(CUSTOMER, "cus_7")


def test_an_event_type_that_nobody_knows_is_kept() -> None:
    """P4, pain 9 (stripe/sync-engine#97): unknown types must not be refused."""
    known = read(an_event(type="invoice.overdue"))
    unknown = read(an_event({"object": "moon"}, type="moon.landed"))

    assert known.subject == Subject(CUSTOMER, "cus_1")
    assert (unknown.subject, unknown.kind) == (None, "moon.landed")
    assert unknown.note == "names no customer"


@pytest.mark.parametrize(
    "related",
    [
        {"id": "cus_9", "type": "customer", "url": "/v1/customers/cus_9"},
        {"id": "sub_9", "type": "subscription", "customer": "cus_9"},
    ],
)
def test_a_thin_event_is_routed_by_its_related_object(related: dict[str, str]) -> None:
    raw = an_event(
        object="v2.core.event",
        created="2026-03-01T12:00:00.000Z",
        data=None,
        related_object=related,
    )
    knock = read(raw)

    assert knock.subject == Subject(CUSTOMER, "cus_9")
    assert knock.occurred_at is None


def test_an_expanded_or_deleted_customer_is_read_by_its_id() -> None:
    whole = {"object": "subscription", "customer": {"id": "cus_5", "object": "customer"}}
    gone = {"object": "customer", "id": "cus_6", "deleted": True}

    assert read(an_event(whole)).subject == Subject(CUSTOMER, "cus_5")
    assert read(an_event(gone)).subject == Subject(CUSTOMER, "cus_6")


def test_an_event_of_the_other_mode_is_kept_with_a_note_and_concerns_nobody() -> None:
    knock = read(an_event(livemode=True))

    assert (knock.livemode, knock.subject) == (True, None)
    assert knock.note == "of the other mode: livemode is true"


def test_an_event_of_another_account_is_kept_with_a_note_and_concerns_nobody() -> None:
    raw = an_event(account="acct_2")

    other = knock_of(raw, livemode=False, account="acct_1")
    ours = knock_of(raw, livemode=False, account="acct_2")

    assert (other.subject, other.note) == (None, "of another account: acct_2")
    assert ours.subject == Subject(CUSTOMER, "cus_1")


NOT_EVENTS = [
    b"",
    b"null",
    b"[]",
    b'"evt_1"',
    b"{}",
    b"{",
    b'{"id":"evt_1"}',
    b'{"id":"","type":"a"}',
    b'{"id":7,"type":"a"}',
    b'{"id":"evt_1","type":"a"}{',
    b'\xff\xfe{"id":"evt_1","type":"a"}',
    b'{"id":"evt_\\u0000","type":"a"}',
    b'{"id":"evt_1","type":"\\u0000"}',
    b'{"id":"evt_1","type":"a","account":"acct_\\u0000"}',
    b'{"id":"evt_1","type":"\\ud800"}',
    b'{"id":"evt_1","type":"a","created":1e999}',
    b'{"id":"evt_1","type":"a","x":' + b"[" * 100_000,
    b'{"id":"evt_1","type":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    json.dumps({"id": "evt_" + "x" * 5000, "type": "a"}).encode(),
    json.dumps({"id": "evt_1", "type": "a", "account": "acct_" + "x" * 5000}).encode(),
]


@pytest.mark.parametrize("raw", NOT_EVENTS, ids=lambda raw: repr(raw[:40]))
def test_bytes_that_are_no_event_are_a_bad_event_and_nothing_worse(raw: bytes) -> None:
    """Bad input: bodies that are not JSON, or not what they should be."""
    with pytest.raises(BadEvent):
        read(raw)


ODD = [
    {"object": {"a": 1}, "customer": "cus_1"},
    {"object": [1], "customer": ["cus_1"]},
    {"object": "customer", "id": 5},
    {"object": "customer", "id": "cus_\x00"},
    {"object": "subscription", "customer": {"id": 5}},
    {"object": "subscription", "customer": 5},
    {"object": "subscription", "customer": "acct_1"},
    {"object": "subscription", "customer": None},
    {"object": "subscription", "customer": "cus_" + "x" * 5000},
]


@pytest.mark.parametrize("obj", ODD, ids=lambda obj: repr(obj)[:50])
@pytest.mark.parametrize("created", [-1, 2**40, 1.5, True, "soon", None])
async def test_an_odd_object_inside_a_good_event_is_kept(obj: Any, created: Any, tx: Tx) -> None:
    knock = read(an_event(obj, created=created))

    await journal.put_knocks(tx, [knock])

    found = await (await tx.execute("SELECT subject_id, body FROM tenure.inbox")).fetchone()
    assert found
    assert found["body"] == knock.body
    assert knock.subject is None or len(knock.subject.id) <= 255


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.fixed_dictionaries(
    {}, optional={"id": json_values, "object": json_values, "type": json_values,
                  "customer": json_values}
)  # fmt: skip
events = st.fixed_dictionaries(
    {"id": json_values, "type": json_values},
    optional={
        "created": json_values,
        "livemode": json_values,
        "account": json_values,
        "data": json_values | st.fixed_dictionaries({"object": objects}),
        "related_object": json_values | objects,
    },
).map(lambda found: json.dumps(found).encode())
likely = st.builds(an_event, objects, account=st.none() | st.text(), created=json_values)


@given(st.binary() | events | likely)
@example(b'{"id":"evt_1","type":"a","data":{"object":{"object":{}}}}')
def test_any_bytes_give_a_bad_event_or_a_knock_that_can_be_stored(raw: bytes) -> None:
    try:
        knock = read(raw)
    except BadEvent:
        return
    assert knock.body == raw
    stored = [knock.event_id, knock.kind, knock.account, knock.note or "", *(knock.subject or ())]
    assert not any("\x00" in text for text in stored)
    assert all(len(text) <= 300 for text in (knock.event_id, knock.account))


def test_what_stripes_sdk_reads_as_an_event_is_one_to_us() -> None:
    raw = an_event()

    event = sdk.Event.construct_from(json.loads(raw), "sk_test")

    assert read(raw).event_id == event.id


async def test_a_card_that_was_taken_away_knocks_for_whom_it_belonged_to(shop: Shop) -> None:
    """B5: its `customer` is null by then; the event tells what it was before."""
    customer = shop.merchant.v1.customers.create({}).id
    card = shop.merchant.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    shop.merchant.v1.payment_methods.detach(card)

    (event,) = await shop.stripe.all("/v1/events", type="payment_method.detached")

    assert event["data"]["object"]["customer"] is None
    assert read(msgspec.json.encode(event)).subject == Subject(CUSTOMER, customer)
