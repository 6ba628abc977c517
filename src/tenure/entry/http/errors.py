"""The one table that turns our errors and decisions into HTTP answers."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import ClassVar

from tenure.base import budget, db, lease
from tenure.base.errors import TenureError
from tenure.base.log import request_id
from tenure.billing import errors as billing
from tenure.gate.model import Decision, Reason
from tenure.identity import errors as identity
from tenure.journal import errors as journal


class NotAllowed(TenureError):
    """The gate is closed for this request; the decision says why."""

    code: ClassVar[str] = "gate.closed"
    hint: ClassVar[str] = "`decision.change` says what would open it."

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.message)
        self.decision = decision


class BodyTooLarge(TenureError):
    """The request's body is larger than we take."""

    code: ClassVar[str] = "http.body_too_large"
    hint: ClassVar[str] = "Send less; TENURE_MAX_BODY_KB sets the limit."


class NotFound(TenureError):
    """There is no such thing, or it is not yours to see."""

    code: ClassVar[str] = "http.not_found"
    hint: ClassVar[str] = "Check the address; /docs lists every one."


# The most special class that is listed decides.
STATUS: dict[type[TenureError], int] = {
    TenureError: 500,
    db.DatabaseAway: 503,
    budget.BudgetSpent: 503,
    lease.Busy: 409,
    journal.InboxFull: 503,
    journal.StaleFence: 409,
    identity.NotProven: 401,
    identity.KeysUnavailable: 503,
    billing.BadSignature: 400,
    billing.BadEvent: 400,
    billing.StripeTrouble: 502,
    billing.StripeAway: 503,
    billing.StripeBusy: 503,
    billing.Refused: 422,
    billing.ModeMixUp: 409,
    billing.AddressNotAllowed: 422,
    billing.AlreadySubscribed: 409,
    billing.NoCustomer: 404,
    billing.UnknownSession: 404,
    NotAllowed: 403,
    BodyTooLarge: 413,
    NotFound: 404,
}

CLOSED: dict[Reason, int] = {
    Reason.NOT_SIGNED_IN: 401,
    Reason.NO_SUBSCRIPTION: 402,
    Reason.PAST_DUE: 402,
    Reason.INCOMPLETE: 402,
    Reason.UNPAID: 402,
    Reason.PAUSED: 402,
    Reason.ENDED: 402,
    Reason.NOT_A_MEMBER: 403,
    Reason.ROLE: 403,
    Reason.FEATURE: 403,
}


def status_of(exc: TenureError) -> int:
    """Find the HTTP status of an error."""
    if isinstance(exc, NotAllowed):
        return CLOSED[exc.decision.reason]
    return next(STATUS[kind] for kind in type(exc).__mro__ if kind in STATUS)


def headers_of(exc: TenureError) -> dict[str, str]:
    """Find the headers that a client should heed."""
    status = status_of(exc)
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    wait: timedelta | None = getattr(exc, "retry_after", None)
    if wait is None and status == HTTPStatus.SERVICE_UNAVAILABLE:
        wait = timedelta(seconds=1)
    return {"Retry-After": str(max(1, round(wait.total_seconds())))} if wait else {}


def body_of(exc: TenureError) -> dict[str, object]:
    """Write the one error shape."""
    if isinstance(exc, NotAllowed):
        decision = exc.decision
        code = decision.code or f"gate.{decision.reason.value}"
        shape = error(code, decision.message, decision.change)
        return shape | {"decision": told(decision)}
    return error(exc.code, str(exc), exc.hint)


def error(code: str, message: str, hint: str = "", **more: object) -> dict[str, object]:
    """Write the one error shape from its parts."""
    inner = {"code": code, "message": message, "hint": hint, "request_id": request_id(), **more}
    return {"error": inner}


def told(decision: Decision) -> dict[str, object]:
    """Write a decision for a client: what, since when, until when, and on what it stands."""
    return {
        "allowed": decision.allowed,
        "reason": decision.reason.value,
        "message": decision.message,
        "since": _text(decision.since),
        "until": _text(decision.until),
        "change": decision.change or None,
        "facts": _facts(decision),
    }


def _facts(decision: Decision) -> Mapping[str, object] | None:
    facts = decision.facts
    if facts is None:
        return None
    bought = facts.bought
    return {
        "user_id": str(facts.user_id) if facts.user_id else None,
        "org_id": str(facts.org_id) if facts.org_id else None,
        "role": facts.role,
        "features": sorted(facts.features),
        "read_at": _text(facts.read_at),
        "subscription": None
        if bought is None
        else {
            "id": bought.id,
            "status": bought.status.value,
            "current_period_end": _text(bought.current_period_end),
            "ends_at": _text(bought.ends_at),
            "past_due_since": _text(bought.past_due_since),
            "collection_paused": bought.collection_paused,
            "looked_at": _text(bought.looked_at),
            "fence": bought.look_fence,
        },
    }


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
