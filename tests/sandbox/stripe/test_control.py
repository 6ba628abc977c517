import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from tenure.sandbox.stripe.running import Box, running_stripe

from .conftest import client_of
from .shop import DAY, subscribed, types
from .sink import Sink

PROGRAM = """
import sys
from pathlib import Path
from tenure.sandbox.stripe.server import run
run(port=0, seed=True, state=Path(sys.argv[1]), ready=lambda url: print(url, flush=True))
"""


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/clock/advance", {}),
        ("POST", "/clock/advance", {"seconds": 1, "to": 2}),
        ("POST", "/clock/advance", {"seconds": "soon"}),
        ("POST", "/clock/advance", {"seconds": -5}),
        ("POST", "/clock/advance", {"to": 1}),
        ("POST", "/save", {}),
        ("POST", "/save", {"path": "/no/such/directory/file"}),
        ("POST", "/load", {"path": "/no-such-file"}),
        ("POST", "/deliveries/flush", {"timeout": 1e9}),
        ("POST", "/events/evt_none/redeliver", {}),
        ("POST", "/webhook_endpoints/we_none/roll", {}),
        ("POST", "/faults", []),
    ],
)
def test_a_control_request_that_makes_no_sense_is_a_clear_400(
    method: str, path: str, body: Any, box: Box
) -> None:
    answer = box.client.request(method, f"{box.url}/_sandbox{path}", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert answer.json()["error"]["hint"]


def test_a_body_that_is_not_json_is_a_400_and_an_unknown_door_a_404(box: Box) -> None:
    assert box.client.post(f"{box.url}/_sandbox/faults", content=b"{").status_code == 400
    assert box.client.get(f"{box.url}/_sandbox/nowhere").status_code == 404


def test_looks_are_counted_by_operation(box: Box, client: stripe.StripeClient) -> None:
    box.control("DELETE", "/requests")
    customer = client.v1.customers.create({}).id
    client.v1.customers.retrieve(customer)
    client.v1.customers.retrieve(customer)

    assert box.requests() == {"POST /v1/customers": 1, "GET /v1/customers/{id}": 2}


def test_the_seed_is_planted_once(box: Box, client: stripe.StripeClient) -> None:
    first, second = box.control("POST", "/seed"), box.control("POST", "/seed")

    assert first == second
    assert set(first["prices"]) == {
        "team_monthly",
        "team_yearly",
        "business_monthly",
        "business_yearly",
    }
    assert len(client.v1.products.list().data) == 2
    team = client.v1.products.retrieve(first["products"]["team"])
    assert team.metadata["limit:seats"] == "10"


def test_everything_survives_save_and_load(tmp_path: Path, box: Box) -> None:
    client = client_of(box)
    sub = subscribed(client)
    client.v1.customers.create({"name": "A"}, {"idempotency_key": "k"})
    box.advance(DAY // 2)
    path = str(tmp_path / "state.json")
    box.control("POST", "/save", path=path)

    with running_stripe() as other:
        other.control("POST", "/load", path=path)
        found = client_of(other)
        assert found.v1.subscriptions.retrieve(sub.id).to_dict() == sub.to_dict()
        assert types(found) == types(client)
        found.v1.customers.create({"name": "A"}, {"idempotency_key": "k"})
        assert len(found.v1.customers.list().data) == len(client.v1.customers.list().data)
        other.advance(31 * DAY)
        assert len(found.v1.invoices.list({"subscription": sub.id}).data) == 2


def test_a_file_that_is_no_saved_sandbox_changes_nothing(tmp_path: Path, box: Box) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"tables": 1}')

    answer = box.client.post(f"{box.url}/_sandbox/load", json={"path": str(wrong)})

    assert answer.status_code == 400
    assert len(client_of(box).v1.products.list().data) == 2


def test_what_was_not_delivered_is_delivered_after_a_load(
    tmp_path: Path, told: Box, sink: Sink
) -> None:
    told.fault("delay", seconds=3_600)
    client_of(told).v1.customers.create({})
    path = str(tmp_path / "state.json")
    told.control("POST", "/save", path=path)

    with running_stripe() as other:
        other.control("POST", "/load", path=path)
        other.flush(retries=True)

    assert sink.types == ["customer.created"]


def test_the_sandboxs_time_is_told(box: Box) -> None:
    before = box.control("GET", "/clock")

    box.control("POST", "/clock/advance", to=before["now"] + 1_000)

    after = box.control("GET", "/clock")
    assert after["now"] >= before["now"] + 1_000
    assert box.control("GET", "/health")["ok"] is True


def test_a_process_stops_cleanly_when_told_and_keeps_its_data(tmp_path: Path) -> None:
    state = tmp_path / "stripe.json"
    for expected in (0, 1):
        program = [sys.executable, "-c", PROGRAM, str(state)]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 (our own program)
            assert process.stdout
            url = process.stdout.readline().strip()
            client = stripe.StripeClient("sk_test_x", base_addresses={"api": url})
            assert len(client.v1.customers.list().data) == expected
            client.v1.customers.create({})
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert process.stdout.read() == ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/_sandbox/health")
