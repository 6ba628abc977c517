import threading
import time

import httpx
import pytest
import stripe

from tenure.sandbox.stripe.running import Box

from .conftest import client_of
from .shop import subscribed
from .sink import Sink


def names_of(sink: Sink) -> list[str]:
    return [event["data"]["object"]["name"] for event in sink.events]


def make(box: Box, *names: str) -> None:
    for name in names:
        client_of(box).v1.customers.create({"name": name})


def test_lose_delivers_nothing_but_the_event_is_listed(told: Box, sink: Sink) -> None:
    """B5: faults by name."""
    told.fault("lose", match="customer.created")

    make(told, "lost", "found")
    told.flush()

    assert names_of(sink) == ["found"]
    listed = client_of(told).v1.events.list({"type": "customer.created"}).data
    assert len(listed) == 2


def test_double_delivers_one_event_twice(told: Box, sink: Sink) -> None:
    told.fault("double")

    make(told, "twice", "once")
    told.flush()

    assert sorted(names_of(sink)) == ["once", "twice", "twice"]
    assert len({event["id"] for event in sink.events}) == 2


def test_delay_lets_others_pass(told: Box, sink: Sink) -> None:
    told.fault("delay", seconds=3_600)

    make(told, "late", "early")
    told.flush()
    assert names_of(sink) == ["early"]
    told.flush(retries=True)

    assert names_of(sink) == ["early", "late"]


def test_reorder_delivers_a_batch_last_first(told: Box, sink: Sink) -> None:
    told.fault("reorder", count=4, seconds=30)

    make(told, "a", "b", "c", "d")
    told.flush()

    assert names_of(sink) == ["d", "c", "b", "a"]


def test_reorder_lets_an_incomplete_batch_go_after_its_time(told: Box, sink: Sink) -> None:
    told.fault("reorder", count=-1, seconds=0.1)

    make(told, "a", "b")
    told.flush()

    assert sorted(names_of(sink)) == ["a", "b"]


def test_tie_gives_events_of_different_seconds_the_same_second(told: Box, sink: Sink) -> None:
    told.fault("tie", count=-1)
    make(told, "first")
    started = int(time.time())
    while int(time.time()) == started:
        time.sleep(0.02)

    make(told, "second")
    told.flush()

    assert len({event["created"] for event in sink.events}) == 1


@pytest.mark.parametrize(
    ("name", "code"), [("429", "rate_limit"), ("lock_timeout", "lock_timeout")]
)
def test_both_kinds_of_429_look_like_stripes(name: str, code: str, box: Box) -> None:
    box.fault(name)

    with pytest.raises(stripe.RateLimitError) as refused:
        make(box, "nobody")

    assert refused.value.error  # the SDK leaves `code` itself empty for a 429
    assert refused.value.error.code == code
    assert client_of(box).v1.customers.list().data == []


def test_a_lock_timeout_is_retried_by_the_sdk_and_a_rate_limit_is_not(box: Box) -> None:
    client = stripe.StripeClient(
        box.secret_key, base_addresses={"api": box.url}, max_network_retries=2
    )
    box.fault("lock_timeout")
    assert client.v1.customers.create({"name": "through"}).name == "through"

    box.fault("429")
    with pytest.raises(stripe.RateLimitError):
        client.v1.customers.create({})


def test_500_fails_before_anything_is_done(box: Box) -> None:
    client = client_of(box)
    box.fault("500", match="POST /v1/customers")

    with pytest.raises(stripe.APIError):
        client.v1.customers.create({"name": "x"}, {"idempotency_key": "again"})

    assert client.v1.customers.list().data == []
    assert client.v1.customers.create({"name": "x"}, {"idempotency_key": "again"}).name == "x"


def test_cached_500_acts_and_then_replays_its_500(box: Box) -> None:
    client = client_of(box)
    box.fault("cached_500", match="/v1/customers")

    for _ in range(2):
        with pytest.raises(stripe.APIError) as failed:
            client.v1.customers.create({"name": "made"}, {"idempotency_key": "doomed"})
        assert failed.value.http_status == 500

    assert failed.value.headers
    assert failed.value.headers["Idempotent-Replayed"] == "true"
    assert [c.name for c in client.v1.customers.list().data] == ["made"]


def test_timeout_acts_and_keeps_silent(box: Box) -> None:
    box.fault("timeout", seconds=20, match="POST /v1/customers")
    headers = {"Authorization": f"Bearer {box.secret_key}"}

    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{box.url}/v1/customers", headers=headers, data={"name": "x"}, timeout=0.3)

    assert len(client_of(box).v1.customers.list().data) == 1


def test_latency_delays_the_answer_and_others_are_not_held_up(box: Box) -> None:
    box.fault("latency", seconds=0.4, match="POST /v1/customers")
    slow = threading.Thread(target=make, args=(box, "slow"))
    slow.start()
    while not box.control("GET", "/requests")["by_operation"].get("POST /v1/customers"):
        time.sleep(0.01)

    make(box, "quick")

    assert [c.name for c in client_of(box).v1.customers.list().data] == ["quick"]
    slow.join()
    assert len(client_of(box).v1.customers.list().data) == 2


def test_faults_are_listed_counted_down_and_cleared(box: Box) -> None:
    box.fault("429", count=2, match="GET /v1/customers")
    box.fault("latency", count=-1, seconds=0)
    with pytest.raises(stripe.RateLimitError):
        client_of(box).v1.customers.list()
    client_of(box).v1.products.list()

    planned = box.control("GET", "/faults")["data"]
    assert [(f["name"], f["left"]) for f in planned] == [("429", 1), ("latency", -1)]
    box.control("DELETE", "/faults")

    assert box.control("GET", "/faults")["data"] == []


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"name": "meteor"},
        {"name": "lose", "count": 0},
        {"name": "lose", "count": "many"},
        {"name": "delay", "seconds": -1},
        {"name": "lose", "match": 7},
        {"name": "lose", "often": True},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_a_hint(
    wish: dict[str, object], box: Box
) -> None:
    answer = box.client.post(f"{box.url}/_sandbox/faults", json=wish)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "sandbox.unknown_fault"
    assert "cached_500" in answer.json()["error"]["hint"]


def test_one_kind_of_event_can_be_hit_and_no_other(told: Box, sink: Sink) -> None:
    told.fault("lose", match="invoice.*", count=-1)

    subscribed(client_of(told))
    told.flush()

    assert not [t for t in sink.types if t.startswith("invoice.")]
    assert "customer.subscription.created" in sink.types
