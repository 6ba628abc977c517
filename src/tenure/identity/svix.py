"""Proof that bytes came from Clerk, which sends its events through Svix."""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tenure.identity.errors import BadSignature

TOLERANCE = timedelta(minutes=5)
LONGEST = 4096  # characters of header; Svix sends two signatures while a secret is rolled
PREFIXES = ("svix", "webhook")  # two names of the same three headers
ID = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,255}")  # no dot: dots part what is signed
STAMP = re.compile(r"[0-9]{1,12}")  # seconds


def verify(raw: bytes, headers: Mapping[str, str], secrets: Sequence[str], *, now: datetime) -> str:
    """Check the Svix headers against the raw bytes; give the event's id, the same at every retry.

    `headers`: by names in small letters. `secrets`: all that hold now, two while one is rolled.
    Errors: BadSignature, whatever is wrong with the headers.
    Source: Svix docs, "Verifying webhooks manually"; Standard Webhooks, symmetric scheme v1.
    """
    event_id, stamp, given = _read(headers)
    signed = f"{event_id}.{stamp}.".encode() + raw
    for key in filter(None, map(_key, secrets)):
        wanted = base64.b64encode(hmac.digest(key, signed, "sha256"))
        if any(hmac.compare_digest(wanted, one) for one in given):
            break
    else:
        raise BadSignature("the svix-signature header does not match the body")
    age = now.timestamp() - int(stamp)
    if abs(age) > TOLERANCE.total_seconds():
        when = f"{age:.0f} s ago" if age > 0 else f"{-age:.0f} s in the future"
        raise BadSignature(f"signed {when}, at most {TOLERANCE.total_seconds():.0f} s are allowed")
    return event_id


def _read(headers: Mapping[str, str]) -> tuple[str, str, list[bytes]]:
    prefix = next((one for one in PREFIXES if f"{one}-id" in headers), None)
    if prefix is None:
        raise BadSignature("the svix-id header is missing")
    event_id = headers[f"{prefix}-id"]
    if not ID.fullmatch(event_id):
        raise BadSignature(f"the {prefix}-id header is not an id")
    stamp = headers.get(f"{prefix}-timestamp", "")
    if not STAMP.fullmatch(stamp):
        raise BadSignature(f"the {prefix}-timestamp header is missing, or not in seconds")
    pairs = [one.partition(",") for one in headers.get(f"{prefix}-signature", "")[:LONGEST].split()]
    given = [value.encode(errors="replace") for version, _, value in pairs if version == "v1"]
    if not given:
        raise BadSignature(f"the {prefix}-signature header is missing, or holds no v1,<signature>")
    return event_id, stamp, given


def _key(secret: str) -> bytes | None:
    """Read a secret; one that is none matches nothing (the settings refuse it anyway)."""
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return None
