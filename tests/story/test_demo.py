import contextlib
import json
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tenure.entry.local.story import STEPS, steps_of
from tenure.entry.local.who import KNOWN
from tests.story.world import BOUND, Run, eventually, processes_in, started


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    told: dict
    status: int
    temporary: Path

    def facts(self, name: str) -> dict:
        return next(step["facts"] for step in self.told["steps"] if step["name"] == name)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    with demo_in(folder) as run:
        status = run.process.wait(BOUND)
        told = json.loads(run.out.read_text())
    yield Demo(told=told, status=status, temporary=folder / "tmp")
    assert processes_in(folder) == {}


@contextlib.contextmanager
def demo_in(folder: Path, *args: str) -> Iterator[Run]:
    temporary = folder / "tmp"
    temporary.mkdir()
    with started(folder, "demo", *(args or ("--json",)), TMPDIR=str(temporary)) as run:
        yield run


def test_every_step_of_the_story_holds(demo: Demo) -> None:
    """B5, M6: one command plays the whole main job offline, and checks it."""
    assert [(step["name"], step["ok"]) for step in demo.told["steps"]] == [
        (name, True) for name, _ in STEPS
    ], demo.told
    assert demo.told["ok"]
    assert demo.status == 0
    assert all(step["seen"] and step["ms"] > 0 for step in demo.told["steps"])


def test_what_can_be_bought_is_read_from_stripe(demo: Demo) -> None:
    """T3: products and prices, for those with a token."""
    assert demo.facts("what can be bought: GET /stripe/products")["products"] == [
        "Business",
        "Team",
    ]
    assert demo.facts("what it costs: GET /stripe/prices")["cents"]["team_monthly"] == 1_200


def test_twenty_calls_at_once_give_one_customer(demo: Demo) -> None:
    """T4, A2: ... in the answers, in Stripe and in the log; made only when it was asked for."""
    facts = demo.facts("POST /stripe/customer, many times at once")
    actions = demo.facts("the audit log reads like this story")["actions"]

    assert (facts["calls"], facts["customers"]) == (20, 1)
    assert actions.count("customer.created") == 1
    assert actions.index("customer.created") > actions.index("member.joined")


def test_signed_webhooks_alone_open_the_gate(demo: Demo) -> None:
    """T8, M6: doubled, late and disordered ones change nothing; a forged one is refused."""
    assert demo.facts("the gate is closed")["reason"] == "no_subscription"
    assert demo.facts("the gate opens")["payment_to_gate_ms"] > 0
    facts = demo.facts("signed webhooks, doubled, late, out of order")
    assert (facts["twice"], facts["late"], facts["forged"]) == (2, 1, 400)
    assert facts["out_of_order"]


def test_the_gate_follows_the_subscription_to_its_end(demo: Demo) -> None:
    """M6: past_due stays open for a named time, a canceled one until its end, and no longer."""
    assert demo.facts("a renewal fails")["reason"] == "past_due_in_grace"
    assert demo.facts("a renewal fails")["grace_ends"]
    assert demo.facts("it is paid again")["status"] == "active"
    assert demo.facts("canceled at the end of the period")["until"]
    assert demo.facts("the period ends") == {"status": 402, "reason": "subscription_ended"}


def test_the_audit_log_reads_like_the_story(demo: Demo) -> None:
    """A4: every creation and change, in the order in which it happened."""
    actions = demo.facts("the audit log reads like this story")["actions"]
    told = [
        "organization.created",
        "member.joined",
        "member.joined",
        "member.left",
        "customer.created",
        "checkout.opened",
        "subscription.started",
        "subscription.cancel_scheduled",
    ]
    assert [action for action in actions if action in told] == told


def test_webhooks_bring_members_and_take_them_away(demo: Demo) -> None:
    """S2, M6: who joins or is removed at Clerk; his own token is no help."""
    joined = demo.facts("a colleague joins: webhooks bring him")
    assert set(joined["causes"]) == {"look"}
    assert joined["join_to_row_ms"] > 0
    assert demo.facts("he is removed: his token counts no more")["status"] == 403


@pytest.mark.parametrize("identity", ["workos", "supabase"])
def test_the_story_can_be_told_with_another_provider(tmp_path: Path, identity: str) -> None:
    """B1: the same main job, whoever signs people up."""
    with demo_in(tmp_path, "--json", "--identity", identity) as run:
        status = run.process.wait(BOUND)
        told = json.loads(run.out.read_text())

    steps = [(step["name"], step["ok"]) for step in told["steps"]]
    assert steps == [(name, True) for name, _ in steps_of(KNOWN[identity])], told
    assert status == 0


def test_nothing_is_left_of_the_demo(demo: Demo) -> None:
    """B5: ... in a world of its own, which is gone afterwards."""
    assert list(demo.temporary.iterdir()) == []


def test_a_step_that_does_not_hold_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    """B5: exit status 0 means that every step held."""
    with demo_in(tmp_path) as run:
        _break_checkout(tmp_path, run)
        assert run.process.wait(BOUND) == 1
        told = json.loads(run.out.read_text())
    steps = {step["name"]: step for step in told["steps"]}

    assert not told["ok"]
    assert steps["POST /stripe/customer, many times at once"]["ok"]
    failed = steps["POST /stripe/checkout"]
    assert not failed["ok"]
    assert re.match(r"expected 201, a session; came 50\d ", failed["seen"])
    assert steps["the gate opens"]["seen"] == "not reached"
    assert "billing.stripe" in told["logs"]["serve"]
    assert list((tmp_path / "tmp").iterdir()) == []
    assert processes_in(tmp_path) == {}


def _break_checkout(folder: Path, run: Run) -> None:
    """Let the pretended Stripe fail from now on; it is found by its command line."""
    fault = {"name": "500", "count": -1, "match": "POST /v1/checkout/sessions"}

    def planned() -> bool:
        assert not run.ended, run.err.read_text()
        found = (re.search(r" stripe --port (\d+)", args) for args in processes_in(folder).values())
        port = next((match[1] for match in found if match), None)
        with contextlib.suppress(httpx.HTTPError):
            url = f"http://127.0.0.1:{port}/_sandbox/faults"
            return bool(port) and httpx.post(url, json=fault, trust_env=False).is_success
        return False

    eventually(planned, "a fault is planned")


def test_ctrl_c_stops_the_demo_and_nothing_is_left(tmp_path: Path) -> None:
    """B5: ... also when it is interrupted."""
    with demo_in(tmp_path) as run:
        eventually(
            lambda: any("work" in args for args in processes_in(tmp_path / "tmp").values()),
            "a worker",
        )
        assert run.stop(signal.SIGINT) == 130
    assert list((tmp_path / "tmp").iterdir()) == []
    assert processes_in(tmp_path) == {}
