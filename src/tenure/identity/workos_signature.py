"""Proof that bytes came from WorkOS."""

import hmac
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from tenure.identity.errors import BadSignature

TOLERANCE = timedelta(minutes=3)  # a retry is signed anew
LONGEST = 4096  # characters of header
STAMP = re.compile(r"[0-9]{1,15}")  # milliseconds


def verify(raw: bytes, header: str, secrets: Sequence[str], *, now: datetime) -> None:
    """Check the `WorkOS-Signature` header against the raw bytes.

    `secrets`: all that hold now; there are two while one is rolled.
    Errors: BadSignature, whatever is wrong with the header.
    Source: WorkOS docs, "Webhooks", validating by hand: `t=<milliseconds>, v1=<hex>`.
    """
    stamp, given = _read(header)
    signed = stamp.encode() + b"." + raw
    for secret in filter(None, secrets):
        wanted = hmac.digest(secret.encode(), signed, "sha256").hex().encode()
        if any(hmac.compare_digest(wanted, one) for one in given):
            break
    else:
        raise BadSignature("the WorkOS-Signature header does not match the body")
    age = now.timestamp() - int(stamp) / 1000
    if abs(age) > TOLERANCE.total_seconds():
        when = f"{age:.0f} s ago" if age > 0 else f"{-age:.0f} s in the future"
        raise BadSignature(f"signed {when}, at most {TOLERANCE.total_seconds():.0f} s are allowed")


def _read(header: str) -> tuple[str, list[bytes]]:
    if not header:
        raise BadSignature("the WorkOS-Signature header is missing")
    pairs = [part.strip().partition("=") for part in header[:LONGEST].split(",")]
    stamp = next((value for name, _, value in pairs if name == "t"), "")
    given = [value.encode(errors="replace") for name, _, value in pairs if name == "v1"]
    if not (STAMP.fullmatch(stamp) and given):
        raise BadSignature("the WorkOS-Signature header is not t=<milliseconds>, v1=<signature>")
    return stamp, given
