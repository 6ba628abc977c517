"""May this request pass? Facts in, an explained answer out, nothing touched."""

from dataclasses import replace
from datetime import datetime

from tenure.billing.model import Status
from tenure.gate.model import NOTHING, Bought, Decision, Facts, Needs, Policy, Reason
from tenure.identity.claims import Principal
from tenure.identity.errors import NotProven, SessionEnded, UserBlocked, UserDeleted

CLOSED: dict[Status, tuple[Reason, str, str]] = {
    Status.INCOMPLETE: (
        Reason.INCOMPLETE,
        "the first payment is not made",
        "finish the payment that was begun",
    ),
    Status.INCOMPLETE_EXPIRED: (
        Reason.ENDED,
        "the first payment was never made",
        "subscribe: POST /stripe/checkout",
    ),
    Status.UNPAID: (
        Reason.UNPAID,
        "invoices stayed unpaid",
        "pay the open invoices: POST /stripe/portal",
    ),
    Status.PAUSED: (
        Reason.PAUSED,
        "the trial ended without a payment method",
        "add a payment method: POST /stripe/portal",
    ),
    Status.CANCELED: (
        Reason.ENDED,
        "the subscription has ended",
        "subscribe: POST /stripe/checkout",
    ),
}


def decide(facts: Facts, needs: Needs, now: datetime, policy: Policy) -> Decision:
    """Go through the links auth → subscription → rbac; the first that refuses answers.

    Promise: the same facts, needs and moment give the same decision.
    """
    if facts.user_id is None or (facts.org_id is not None and facts.role is None):
        return Decision(
            allowed=False,
            reason=Reason.NOT_A_MEMBER,
            message="the user is no active member of this organization",
            change="an admin of the organization invites the user",
            facts=replace(facts, bought=None, features=NOTHING),  # it is no business of hers
        )
    passed = _subscription(facts, now, policy) if needs.subscription else _not_asked(facts)
    answer = (_rbac(facts, needs) or passed) if passed.allowed else passed
    if policy.observe and not (answer.allowed or needs.always):
        return replace(answer, allowed=True, enforced=False)
    return answer


def over(facts: Facts, who: Principal) -> NotProven | None:
    """Say why a good token counts no more, if so: its session, its user or its time is over."""
    if facts.is_deleted:
        return UserDeleted("the user was deleted")
    if facts.is_blocked:
        return UserBlocked("the user is blocked")
    if who.session_id is not None and who.session_id in facts.ended_sessions:
        return SessionEnded("the session has ended")
    if facts.valid_after is not None and who.issued_at < facts.valid_after:
        return SessionEnded("the token was issued before the user's sessions were ended")
    return None


def _not_asked(facts: Facts) -> Decision:
    return Decision(
        allowed=True,
        reason=Reason.NOT_ASKED,
        message="this route is open without a subscription",
        facts=facts,
    )


def _subscription(facts: Facts, now: datetime, policy: Policy) -> Decision:
    bought = facts.bought
    if bought is None:
        return Decision(
            allowed=False,
            reason=Reason.NO_SUBSCRIPTION,
            message="there is no subscription",
            change="subscribe: POST /stripe/checkout",
            facts=facts,
        )
    if bought.status in CLOSED:
        reason, message, change = CLOSED[bought.status]
        return Decision(
            allowed=False,
            reason=reason,
            message=message,
            since=bought.ended_at or bought.current_period_end,
            change=change,
            facts=facts,
        )
    if bought.status is Status.PAST_DUE:
        return _past_due(facts, bought, now, policy)
    return _open(facts, bought)


def _open(facts: Facts, bought: Bought) -> Decision:
    trial = bought.status is Status.TRIALING
    ends = f"; it ends at {bought.ends_at.isoformat()}" if bought.ends_at else ""
    return Decision(
        allowed=True,
        reason=Reason.TRIAL if trial else Reason.OPEN,
        message=f"the subscription is {bought.status.value}{ends}",
        since=bought.created_at,
        until=bought.ends_at or (bought.trial_end if trial else None),
        change="take the cancellation back: POST /stripe/portal" if bought.ends_at else "",
        facts=facts,
    )


def _past_due(facts: Facts, bought: Bought, now: datetime, policy: Policy) -> Decision:
    """Late is not locked: paying customers get a grace, and it has a named end."""
    since = bought.past_due_since or bought.looked_at
    grace_ends = since + policy.past_due_grace
    in_grace = now < grace_ends
    what = f"grace ends at {grace_ends.isoformat()}" if in_grace else "grace is over"
    return Decision(
        allowed=in_grace,
        reason=Reason.GRACE if in_grace else Reason.PAST_DUE,
        message=f"an invoice is unpaid; {what}",
        since=since if in_grace else grace_ends,
        until=grace_ends if in_grace else None,
        change="pay the open invoice: POST /stripe/portal",
        facts=facts,
    )


def _rbac(facts: Facts, needs: Needs) -> Decision | None:
    exempt = needs.personal and facts.org_id is None
    if needs.roles and not exempt and facts.role not in needs.roles:
        wanted = " or ".join(sorted(needs.roles))
        has = facts.role or "without one, as no organization is active"
        return Decision(
            allowed=False,
            reason=Reason.ROLE,
            message=f"this needs the role {wanted}; the user is {has}",
            change="an admin of the organization changes the user's role",
            facts=facts,
            missing=needs.roles,
        )
    missing = needs.features - facts.features
    if missing:
        return Decision(
            allowed=False,
            reason=Reason.FEATURE,
            message=f"the plan does not contain {', '.join(sorted(missing))}",
            change="change to a plan that contains it: POST /stripe/portal",
            facts=facts,
            missing=missing,
        )
    return None
