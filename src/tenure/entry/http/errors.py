"""The one table that turns our errors and decisions into HTTP answers."""

from datetime import timedelta
from http import HTTPStatus
from typing import ClassVar

from tenure.base import budget, lease
from tenure.base.errors import TenureError
from tenure.billing import errors as billing
from tenure.gate import told
from tenure.gate.model import Decision
from tenure.identity import errors as identity
from tenure.identity.members_list import BadPlace
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


class BodyCutOff(TenureError):
    """The client went away in the middle of its body."""

    code: ClassVar[str] = "http.body_cut_off"
    hint: ClassVar[str] = "Send the whole body."


class NotConfigured(TenureError):
    """The address is one for a provider that this installation does not use."""

    code: ClassVar[str] = "http.not_configured"
    hint: ClassVar[str] = "Set the provider's variables, or take the address out of its dashboard."


class NoProviderKey(TenureError):
    """The provider of the members has to be asked for this, and we have no key for it."""

    code: ClassVar[str] = "http.no_provider_key"
    hint: ClassVar[str] = "Set CLERK_SECRET_KEY or WORKOS_API_KEY, or do it at the provider."


class UnknownNeed(TenureError):
    """The address of the gate asks for something that the gate does not know."""

    code: ClassVar[str] = "http.unknown_need"
    hint: ClassVar[str] = "Write subscription=yes or =no, role=… and feature=…, joined by &."


class NotFound(TenureError):
    """There is no such thing, or it is not yours to see."""

    code: ClassVar[str] = "http.not_found"
    hint: ClassVar[str] = "Check the address; /openapi.json lists every one."


class NotYours(NotFound):
    """The organization is not the one that the session is active in, or does not exist."""

    code: ClassVar[str] = "http.not_yours"
    hint: ClassVar[str] = (
        "The organization that is active in your session must be the one in the address: switch "
        "to it at the provider, and send the new token. Without one, see /me."
    )


# The most special class that is listed decides.
STATUS: dict[type[TenureError], int] = {
    **told.UNDECIDED,
    TenureError: 500,
    budget.BudgetSpent: 503,
    lease.Busy: 409,
    journal.InboxFull: 503,
    journal.StaleFence: 409,
    identity.NotProven: 401,
    identity.BadSignature: 401,
    identity.BadEvent: 400,
    identity.ProviderTrouble: 502,
    identity.ProviderAway: 503,
    identity.ProviderBusy: 503,
    identity.Refused: 409,
    identity.NoFreeSeat: 409,
    identity.NoSuchMember: 404,
    identity.LastAdmin: 409,
    identity.OnlyOwners: 403,
    identity.NotInThatState: 409,
    BadPlace: 422,
    identity.StaleAnswer: 503,
    identity.TooManyMissing: 503,
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
    BodyCutOff: 400,
    UnknownNeed: 422,
    NotFound: 404,
    NotConfigured: 404,
    NoProviderKey: 409,
}


def status_of(exc: TenureError) -> int:
    """Find the HTTP status of an error."""
    if isinstance(exc, NotAllowed):
        return told.CLOSED[exc.decision.reason]
    if isinstance(exc, identity.NoFreeSeat) and exc.facts.get("bought"):
        return HTTPStatus.PAYMENT_REQUIRED  # buying more would help
    return next(STATUS[kind] for kind in type(exc).__mro__ if kind in STATUS)


def headers_of(exc: TenureError) -> dict[str, str]:
    """Find the headers that a client should heed."""
    status = status_of(exc)
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    wait: timedelta | None = getattr(exc, "retry_after", None)
    if not wait and status == HTTPStatus.SERVICE_UNAVAILABLE:
        wait = timedelta(seconds=1)
    return {"Retry-After": str(max(1, round(wait.total_seconds())))} if wait else {}


def body_of(exc: TenureError) -> dict[str, object]:
    """Write the one error shape."""
    if isinstance(exc, NotAllowed):
        return told.refusal(exc.decision)
    if isinstance(exc, identity.NoFreeSeat):
        seats = {name: exc.facts.get(name) for name in ("used", "limit", "invited")}
        return told.error(exc.code, str(exc), exc.hint, seats=seats)
    return told.error(exc.code, str(exc), exc.hint)
