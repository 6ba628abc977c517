"""What can go wrong between us, our customers and Stripe."""

from datetime import timedelta
from typing import ClassVar

from tenure.base.errors import TenureError


class BadSignature(TenureError):
    """The bytes were not signed with one of our secrets, or too long ago."""

    code: ClassVar[str] = "billing.bad_signature"
    hint: ClassVar[str] = "Check STRIPE_WEBHOOK_SECRET, and this machine's clock."


class BadEvent(TenureError):
    """The bytes were signed, but they are not an event."""

    code: ClassVar[str] = "billing.bad_event"
    hint: ClassVar[str] = "Send Stripe's bytes as they came; no proxy may change them."


class StripeTrouble(TenureError):
    """Stripe did not do what we asked; what it said is in our log."""

    code: ClassVar[str] = "billing.stripe_trouble"
    hint: ClassVar[str] = "Try again; if it stays, look for this request id in the log."


class StripeAway(StripeTrouble):
    """Stripe did not answer in time."""

    code: ClassVar[str] = "billing.stripe_away"
    hint: ClassVar[str] = "Try again in a moment; nothing was lost."


class StripeBusy(StripeTrouble):
    """Stripe answers 429: too many calls, or the object is locked."""

    code: ClassVar[str] = "billing.stripe_busy"
    hint: ClassVar[str] = "Try again in a moment; lower TENURE_STRIPE_RATE if this stays."
    retry_after = timedelta(seconds=2)


class StripeFailed(StripeTrouble):
    """Stripe answers with an error of its own (5xx)."""

    code: ClassVar[str] = "billing.stripe_failed"
    hint: ClassVar[str] = "Try again; nothing was half done with us."


class StripeKeyRefused(StripeTrouble):
    """Stripe does not accept our key, or the key may not do this."""

    code: ClassVar[str] = "billing.stripe_key_refused"
    hint: ClassVar[str] = "Check STRIPE_SECRET_KEY and, for restricted keys, its permissions."


class StripeKeySpent(StripeTrouble):
    """An idempotency key is bound to another request, or to an answer that failed for good."""

    code: ClassVar[str] = "billing.stripe_key_spent"
    hint: ClassVar[str] = "The next try uses a new generation of the key."


class NoSuchObject(StripeTrouble):
    """Stripe knows no such object in this mode."""

    code: ClassVar[str] = "billing.no_such_object"
    hint: ClassVar[str] = "Check the id, and that key and object are both test or both live."


class Refused(TenureError):
    """Stripe refuses the request as it stands."""

    code: ClassVar[str] = "billing.refused"
    hint: ClassVar[str] = "Change the named parameter."


class ModeMixUp(TenureError):
    """A customer of one mode, test or live, is used with a key of the other."""

    code: ClassVar[str] = "billing.mode_mix_up"
    hint: ClassVar[str] = "Use one Stripe mode per database, or make a customer for this mode."


class AddressNotAllowed(TenureError):
    """People may be sent back to our own pages only."""

    code: ClassVar[str] = "billing.address_not_allowed"
    hint: ClassVar[str] = "Add the origin to TENURE_RETURN_ORIGINS (or CORS_ORIGINS)."


class AlreadySubscribed(TenureError):
    """The owner has a subscription that still runs; a second one would bill twice."""

    code: ClassVar[str] = "billing.already_subscribed"
    hint: ClassVar[str] = "Change the plan in the portal: POST /stripe/portal."


class NoCustomer(TenureError):
    """The owner has never bought anything, so there is nothing to manage."""

    code: ClassVar[str] = "billing.no_customer"
    hint: ClassVar[str] = "Start with POST /stripe/checkout."


class UnknownSession(TenureError):
    """A checkout session that is not one of ours."""

    code: ClassVar[str] = "billing.unknown_session"
    hint: ClassVar[str] = "Use the address that Stripe sent the customer back to, unchanged."
