"""Proof that bytes came from Stripe."""

import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta

from tenure.billing.errors import BadSignature

TOLERANCE = timedelta(minutes=5)
LONGEST = 4096  # characters of header; Stripe sends two or three signatures


def verify(raw: bytes, header: str, secrets: Sequence[str], *, now: datetime) -> None:
    """Check the `Stripe-Signature` header against the raw bytes.

    `secrets`: all that hold now; there are two while one is rolled.
    Errors: BadSignature, whatever is wrong with the header.
    Source: Stripe docs, "Verify webhook signatures manually", scheme v1.
    """
    stamp, given = _read(header)
    signed = stamp.encode() + b"." + raw
    for secret in secrets:
        wanted = hmac.digest(secret.encode(), signed, "sha256").hex().encode()
        if any(hmac.compare_digest(wanted, one) for one in given):
            break
    else:
        raise BadSignature("the Stripe-Signature header does not match the body")
    age = now.timestamp() - int(stamp)
    if abs(age) > TOLERANCE.total_seconds():
        when = f"{age:.0f} s ago" if age > 0 else f"{-age:.0f} s in the future"
        raise BadSignature(f"signed {when}, at most {TOLERANCE.total_seconds():.0f} s are allowed")


def _read(header: str) -> tuple[str, list[bytes]]:
    if not header:
        raise BadSignature("the Stripe-Signature header is missing")
    pairs = [part.strip().partition("=") for part in header[:LONGEST].split(",")]
    stamp = next((value for name, _, value in pairs if name == "t"), "")
    given = [value.encode(errors="replace") for name, _, value in pairs if name == "v1"]
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 13 and given):  # noqa: PLR2004 (digits of a time in seconds)
        raise BadSignature("the Stripe-Signature header is not t=<seconds>,v1=<signature>")
    return stamp, given
