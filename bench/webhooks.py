"""Durable webhook acknowledgements, beside one insert per request and beside verification alone."""

import hmac
import json
import time
from collections.abc import Iterator
from itertools import product

from bench import baseline, load
from bench.result import Result, middle, spread
from bench.serving import until
from bench.town import Town

PATH = "/webhooks/stripe"
EVENTS, ROUNDS, BURST = 6_000, 3, 300
MANY = 10**9  # customers: a new one in every event
JSON = {"Content-Type": "application/json"}


def measure(town: Town) -> Iterator[Result]:
    """Measure every combination; the worker rests or runs, Stripe takes 0 or 100 ms."""
    floor = _against(town, "bench.baseline:verify_only")
    town.sql(baseline.TABLE)
    town.sql("GRANT ALL ON bench_inbox TO PUBLIC")
    each = _against(town, "bench.baseline:insert_each")
    yield from _acks(town, "worker stopped", each, floor)
    yield from _acks(town, "worker running", each, floor)
    yield from _looks(town)


def _acks(
    town: Town, worker: str, each: dict[int, load.Timing], floor: dict[int, load.Timing]
) -> Iterator[Result]:
    for delay, customers, connections in product((0.0, 0.1), (500, MANY), (10, 32)):
        town.rest_worker()
        town.slow_stripe(delay)
        if worker == "worker running":
            town.wake_worker()
        rounds = [_round(town, customers, connections, n) for n in range(ROUNDS)]
        who = "500 customers" if customers == 500 else "a new customer each"
        name = f"acks, {connections} connections, {who}, Stripe {delay * 1000:.0f} ms, {worker}"
        rates = [timing.per_second for timing in rounds]
        yield Result(
            name=name,
            value=middle(rates),
            unit="/s",
            target="≥ 10,000" if connections == 32 else "",
            baseline=each[connections].per_second,
            against=f"one insert each; verification alone {floor[connections].per_second:.0f}",
            spread=spread(rates),
        )
        p99 = [timing.p99 for timing in rounds]
        yield Result(
            name=f"{name}, p99",
            value=middle(p99),
            unit="ms",
            target="≤ 15",
            baseline=each[connections].p99,
            against="one insert each",
            spread=spread(p99),
        )
    town.rest_worker()
    town.slow_stripe(0)


def _looks(town: Town) -> Iterator[Result]:
    """Count the looks that a burst on one customer costs."""
    for delay in (0.0, 0.1):
        looks: list[float] = []
        for n in range(ROUNDS):
            town.forget()
            town.slow_stripe(delay)
            town.wake_worker()
            town.stripe("DELETE", "/requests")
            requests = _requests(town, f"burst{delay}{n}", BURST, customers=1)
            load.run(town.plan.service, requests, connections=10)
            until(lambda: _due(town) == 0)
            counted = town.stripe("GET", "/requests").json()["by_operation"]
            looks.append(float(counted.get("GET /v1/customers/{id}", 0)))
        yield Result(
            name=f"looks for {BURST} events on one customer, Stripe {delay * 1000:.0f} ms",
            value=middle(looks),
            unit="looks",
            target="≤ 2",
            baseline=float(BURST),
            against="a look for each event",
            spread=spread(looks),
        )
    town.slow_stripe(0)


def _due(town: Town) -> object:
    return town.sql("SELECT count(*) FROM tenure.subjects WHERE dirty_seq > settled_seq")[0][0]


def _round(town: Town, customers: int, connections: int, n: int) -> load.Timing:
    town.forget()
    tag = f"{customers}x{connections}x{n}x{time.monotonic_ns()}"
    requests = _requests(town, tag, EVENTS, customers=customers)
    timing = load.run(town.plan.service, requests, connections=connections)
    kept = town.sql(
        "SELECT count(*) FROM tenure.inbox WHERE event_id LIKE 'evt!_bench%' ESCAPE '!'"
    )
    if timing.refused or kept != [(EVENTS,)]:
        raise AssertionError(f"{timing.refused} refused, {kept} of {EVENTS} kept")
    return timing


def _against(town: Town, target: str) -> dict[int, load.Timing]:
    """Measure a baseline at both numbers of connections."""
    town.rest_worker()
    found: dict[int, load.Timing] = {}
    with town.serving(target) as url:
        for connections in (10, 32):
            rounds = [
                load.run(
                    url,
                    _requests(town, f"{target}{connections}{n}", EVENTS, customers=500, url=url),
                    connections=connections,
                )
                for n in range(ROUNDS)
            ]
            found[connections] = sorted(rounds, key=lambda t: t.per_second)[len(rounds) // 2]
    return found


def _requests(
    town: Town, tag: str, count: int, *, customers: int, url: str | None = None
) -> list[bytes]:
    """Write and sign events of 2 kB, spread over so many customers."""
    secret = town.plan.secrets.stripe_webhook_secret.encode()
    now = str(int(time.time()))
    where = (url or town.plan.service) + PATH
    found: list[bytes] = []
    for n in range(count):
        who = f"cus_B{n % customers}" if customers < MANY else f"cus_{hash(tag) % 10**9}x{n}"
        body = _event(f"evt_bench{tag}_{n}", who, int(now))
        mac = hmac.new(secret, now.encode() + b"." + body, "sha256").hexdigest()
        signed = JSON | {"Stripe-Signature": f"t={now},v1={mac}"}
        found.append(load.request(where, body, signed))
    return found


def _event(name: str, customer: str, now: int) -> bytes:
    event = {
        "id": name,
        "object": "event",
        "type": "customer.subscription.updated",
        "created": now,
        "livemode": False,
        "data": {"object": {"id": "sub_x", "object": "subscription", "customer": customer}},
        "pad": "",
    }
    event["pad"] = "x" * (2000 - len(json.dumps(event)))
    return json.dumps(event).encode()
