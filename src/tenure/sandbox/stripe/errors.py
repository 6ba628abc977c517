"""What Stripe says when it refuses, in its own envelope."""

from typing import Any, ClassVar

from tenure.base.errors import TenureError
from tenure.sandbox.stripe.model import Obj

KIND_NAMES = {
    "checkout.session": "checkout.session",
    "billing_portal.session": "billing_portal.session",
    "entitlements.feature": "feature",
    "test_helpers.test_clock": "test clock",
    "webhook_endpoint": "webhook endpoint",
}


class StripeRefusal(TenureError):
    """An answer other than 2xx, ready to be sent."""

    code: ClassVar[str] = "sandbox.stripe_refusal"
    hint: ClassVar[str] = "Read the message: it is what Stripe itself would say."

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        headers: dict[str, str] | None = None,
        **extra: Any,  # noqa: ANN401 (the envelope's own optional fields)
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.envelope: Obj = {"message": message, "type": kind}
        self.envelope.update({key: value for key, value in extra.items() if value is not None})

    def body(self, request_id: str) -> Obj:
        """Write the body as Stripe would."""
        log = f"https://dashboard.stripe.com/test/logs/{request_id}"
        return {"error": {**self.envelope, "request_log_url": log}}


def missing(kind: str, object_id: str, param: str = "id", *, other_mode: str = "") -> StripeRefusal:
    """Say that there is no such object, or that it lives in the other mode."""
    message = f"No such {KIND_NAMES.get(kind, kind)}: '{object_id}'"
    if other_mode:
        mine = "test" if other_mode == "live" else "live"
        message += (
            f"; a similar object exists in {other_mode} mode, "
            f"but a {mine} mode key was used to make this request."
        )
    status = 404 if param == "id" else 400
    return StripeRefusal(message, status=status, code="resource_missing", param=param)


def invalid(message: str, param: str | None = None, code: str | None = None) -> StripeRefusal:
    """Say that a value cannot be used."""
    return StripeRefusal(message, param=param, code=code)


def unknown_parameter(param: str) -> StripeRefusal:
    """Say that no such parameter exists here."""
    return invalid(f"Received unknown parameter: {param}", param, "parameter_unknown")


def missing_parameter(param: str) -> StripeRefusal:
    """Say that a parameter is needed."""
    return invalid(f"Missing required param: {param}.", param, "parameter_missing")


def declined(decline_code: str | None = None) -> StripeRefusal:
    """Say that the card said no."""
    return StripeRefusal(
        "Your card was declined.",
        status=402,
        kind="card_error",
        code="card_declined",
        decline_code=decline_code or "generic_decline",
    )


def bad_key(shown: str) -> StripeRefusal:
    """Say that the key opens nothing."""
    message = (
        f"Invalid API Key provided: {shown}"
        if shown
        else "You did not provide an API key. You need to provide your API key in the "
        "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
    )
    return StripeRefusal(message, status=401)


def unknown_url(method: str, path: str) -> StripeRefusal:
    """Say that nothing is served here."""
    return StripeRefusal(
        f"Unrecognized request URL ({method}: {path}). "
        "Please see https://stripe.com/docs or we can help at https://support.stripe.com/.",
        status=404,
    )


def too_fast() -> StripeRefusal:
    """Say that the rate limit was passed."""
    return StripeRefusal(
        "Request rate limit exceeded. Learn more about rate limits here: "
        "https://stripe.com/docs/rate-limits.",
        status=429,
        code="rate_limit",
        headers={"Stripe-Rate-Limited-Reason": "global-rate"},
    )


def locked() -> StripeRefusal:
    """Say that somebody else is changing the object: a 429 that is no rate limit."""
    return StripeRefusal(
        "This object cannot be accessed right now because another API request or Stripe "
        "process is currently accessing it.",
        status=429,
        code="lock_timeout",
        headers={"Stripe-Should-Retry": "true"},
    )


def broken(*, saved: bool) -> StripeRefusal:
    """Say that Stripe itself failed; `saved` answers are replayed, so a retry is no use."""
    return StripeRefusal(
        "An unknown error occurred",
        status=500,
        kind="api_error",
        headers={"Stripe-Should-Retry": "false"} if saved else {},
    )


def reused_key(key: str) -> StripeRefusal:
    """Say that the idempotency key was used for something else."""
    return StripeRefusal(
        "Keys for idempotent requests can only be used with the same parameters they were first "
        f"used with. Try using a key other than '{key}' if you meant to execute a different "
        "request.",
        kind="idempotency_error",
    )


def key_in_flight(key: str) -> StripeRefusal:
    """Say that the first request with this key has not ended."""
    return StripeRefusal(
        "There is currently another in-progress request using this Idempotent Key "
        f"(that probably means you submitted twice, and the other request is still going through): "
        f"{key}. Please try again later.",
        status=409,
        kind="idempotency_error",
        code="idempotency_key_in_use",
    )
