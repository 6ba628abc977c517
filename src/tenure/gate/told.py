"""What a client is told: the one error shape, a decision in JSON, and a status for each reason."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tenure.base.db import DatabaseAway
from tenure.base.errors import TenureError
from tenure.base.log import request_id
from tenure.gate.model import Decision, Reason
from tenure.identity.errors import KeysUnavailable

Json = dict[str, Any]

CLOSED: Mapping[Reason, int] = {
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
# Nobody can decide then, so the gate stays shut.
UNDECIDED: Mapping[type[TenureError], int] = {DatabaseAway: 503, KeysUnavailable: 503}
CANNOT_DECIDE = (DatabaseAway, KeysUnavailable)
# By status, in the spelling of ASGI.
HEADERS: Mapping[int, tuple[tuple[bytes, bytes], ...]] = {
    401: ((b"www-authenticate", b"Bearer"),),
    503: ((b"retry-after", b"1"),),
}


def error(code: str, message: str, hint: str = "", **more: object) -> Json:
    """Write the one error shape from its parts."""
    inner = {"code": code, "message": message, "hint": hint, "request_id": request_id(), **more}
    return {"error": inner}


def refusal(refused: Decision) -> Json:
    """Write a decision against a request as an error, with the decision beside it."""
    code = refused.code or f"gate.{refused.reason.value}"
    return error(code, refused.message, refused.change) | {"decision": decision(refused)}


def decision(made: Decision) -> Json:
    """Write a decision: what, since when, until when, what would change it, on what it stands."""
    return {
        "allowed": made.allowed,
        "reason": made.reason.value,
        "message": made.message,
        "since": _text(made.since),
        "until": _text(made.until),
        "change": made.change or None,
        "facts": _facts(made),
    }


def _facts(made: Decision) -> Json | None:
    facts = made.facts
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
