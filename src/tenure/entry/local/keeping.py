"""The second half of the story: a renewal fails, is paid, and the subscription ends."""

import time
from http import HTTPStatus

from tenure.entry.local.scene import (
    LOOK_AGAIN,
    PATIENCE,
    Json,
    Scene,
    Seen,
    bought,
    click,
    date,
    decision,
    expect,
    unix,
)

MOMENT = 60  # seconds, to be safely behind the end of a period
# What must stand in the log, in this order; between these lines there may be others.
TOGETHER = (("organization.created", ""), ("member.joined", ""), ("member.left", ""))
TOLD: tuple[tuple[str, str], ...] = (
    *TOGETHER,
    ("customer.created", ""),
    ("checkout.opened", ""),
    ("subscription.started", "active"),
    ("subscription.status_changed", "past_due"),
    ("subscription.status_changed", "active"),
    ("subscription.cancel_scheduled", ""),
    ("subscription.status_changed", "canceled"),
)
ONCE = ("organization.created", "customer.created", "checkout.opened", "subscription.started")


def fail_renewal(scene: Scene) -> Seen:
    """Let a month pass: the card fails, the gate stays open, and the end of the grace is named."""
    scene.advance_to(unix(scene.subscription["current_period_end"]) + MOMENT)
    answer = scene.until(
        lambda a: bought(a).get("status") not in {"active", None}, "a renewal that failed"
    )
    told = decision(answer)
    graceful = answer.is_success and told["reason"] == "past_due_in_grace" and told["until"]
    expect(bool(graceful), wanted="200, past_due_in_grace, with its end", came=answer)
    scene.subscription = bought(answer)
    days = (unix(told["until"]) - unix(scene.subscription["past_due_since"])) / 86_400
    text = f"past_due, still open; the grace of {days:.0f} days ends {date(told['until'])}"
    facts = {"status": "past_due", "reason": told["reason"], "grace_ends": told["until"]}
    return Seen(text=text, facts=facts)


def pay_again(scene: Scene) -> Seen:
    """Put in a card that works, and pay what is owed, both in the portal."""
    portal = scene.portal()
    _press(scene, portal, "card", card="works")
    _press(scene, portal, "pay")
    answer = scene.until(lambda a: bought(a).get("status") == "active", "an active subscription")
    scene.subscription = bought(answer)
    quiet = decision(answer)["reason"] == "open" and not scene.subscription["past_due_since"]
    expect(quiet, wanted="an open gate, nothing owed", came=answer)
    text = f"active again, until {date(scene.subscription['current_period_end'])}"
    return Seen(text=text, facts={"status": "active"})


def cancel(scene: Scene) -> Seen:
    """Cancel at the end of the period, in the portal: what is paid stays usable."""
    _press(scene, scene.portal(), "cancel")
    answer = scene.until(lambda a: bool(bought(a).get("ends_at")), "a planned end")
    told, scene.subscription = decision(answer), bought(answer)
    ends = scene.subscription["ends_at"]
    expect(answer.is_success, wanted="a gate open until the end", came=answer)
    whole = told["until"] == ends == scene.subscription["current_period_end"]
    expect(whole, wanted="the end of the paid period", came=answer)
    return Seen(text=f"still open, until {date(ends)}", facts={"until": ends})


def end(scene: Scene) -> Seen:
    """Let the rest of the period pass: the gate is closed, and says why."""
    scene.advance_to(unix(scene.subscription["ends_at"]) + MOMENT)
    answer = scene.until(lambda a: not a.is_success, "a closed gate")
    reason = decision(answer).get("reason")
    closed = answer.status_code == HTTPStatus.PAYMENT_REQUIRED and reason == "subscription_ended"
    expect(closed, wanted="402, subscription_ended", came=answer)
    error = answer.json()["error"]
    text = f"402 {error['code']}: {error['message']}; {error['hint']}"
    return Seen(text=text, facts={"status": 402, "reason": reason})


def read_audit(scene: Scene) -> Seen:
    """Read in the organization's log what has just happened, in this order."""
    deadline = time.monotonic() + PATIENCE
    wanted = TOLD if scene.org else TOLD[len(TOGETHER) :]
    while missing := _missing(lines := _audit(scene), wanted):
        scene.check()
        read = [_word(line) for line in lines]
        expect(time.monotonic() < deadline, wanted=f"{missing} in the log", came=read)
        time.sleep(LOOK_AGAIN)
    actions = [line["action"] for line in lines]
    once = ONCE if scene.org else ONCE[1:]
    often = [action for action in once if actions.count(action) != 1]
    expect(not often, wanted=f"{', '.join(once)} once each", came=actions)
    in_order = [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    expect(in_order, wanted="lines numbered without a gap", came=lines)
    text = f"{len(lines)} lines: {' · '.join(_word(line) for line in lines)}"
    return Seen(text=text, facts={"lines": len(lines), "actions": actions})


def _audit(scene: Scene) -> list[Json]:
    answer = scene.service.get("/orgs/current/audit" if scene.org else "/me/audit")
    expect(answer.is_success, wanted="200, the log", came=answer)
    return answer.json()["data"]


def _missing(lines: list[Json], wanted: tuple[tuple[str, str], ...]) -> tuple[str, str] | None:
    """Find the first line of the story that the log does not tell, in the order of the story."""
    rest = iter(lines)
    for action, status in wanted:
        if not any(line["action"] == action and status in _status(line) for line in rest):
            return action, status
    return None


def _status(line: Json) -> str:
    return str(line["details"].get("to") or line["details"].get("status") or "")


def _word(line: Json) -> str:
    return f"{line['action']} {_status(line)}".strip()


def _press(scene: Scene, page: str, button: str, **chosen: str) -> None:
    answer = click(scene.stripe, page, button, **chosen)
    done = answer.status_code == HTTPStatus.SEE_OTHER
    expect(done, wanted=f"303 after pressing {button}", came=answer)
