import json

from hypothesis import given
from hypothesis import strategies as st

from tenure.gate import told
from tenure.gate.model import Decision, Facts, Needs, Policy, Reason
from tenure.gate.rules import decide
from tests.gate.builders import NOW
from tests.gate.test_rules import facts_of, needs_of

PASSING = {Reason.OPEN, Reason.TRIAL, Reason.GRACE, Reason.NOT_ASKED}


def test_every_reason_that_refuses_has_a_status() -> None:
    """T5: 401 who, 402 what was bought, 403 what she may."""
    assert set(told.CLOSED) == set(Reason) - PASSING
    assert set(told.CLOSED.values()) == {401, 402, 403}


@given(facts=facts_of, needs=needs_of)
def test_every_decision_can_be_written_as_json(facts: Facts, needs: Needs) -> None:
    """B4: the answer, with since, until, what would change it, and the facts."""
    decision = decide(facts, needs, NOW, Policy())

    written = json.loads(json.dumps(told.decision(decision)))

    assert written["allowed"] is decision.allowed
    assert written["since"] == (decision.since.isoformat() if decision.since else None)
    assert written["facts"]["role"] == facts.role
    assert (decision.reason in told.CLOSED) is not decision.allowed


@given(code=st.sampled_from(["", "identity.no_token"]))
def test_a_refusal_is_the_one_error_shape(code: str) -> None:
    refused = Decision(allowed=False, reason=Reason.UNPAID, message="m", change="c", code=code)

    body = told.refusal(refused)

    assert set(body["error"]) == {"code", "message", "hint", "request_id"}
    assert body["error"]["code"] == (code or "gate.unpaid")
