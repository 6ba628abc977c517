"""How Svix, who carries Clerk's webhooks, signs them and when it tries again.

Source: docs.svix.com/receiving/verifying-payloads/how-manual and docs.svix.com/retries
"""

import base64
import binascii
import hashlib
import hmac
from datetime import datetime

from tenure.base.ids import Ids
from tenure.sandbox.post import Schedule

PREFIX = "whsec_"
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
SCHEDULE = Schedule(
    waits=(5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR),
    timeout=15.0,
    abort=("webhook-delivery", "abort-message"),
    disable_after=5 * DAY,
    headers={"user-agent": "Svix-Webhooks/1.0"},
)


def new_secret(ids: Ids) -> str:
    """Make a secret for an endpoint."""
    return PREFIX + base64.b64encode(ids.token("", 24).encode()).decode()


def is_secret(secret: str) -> bool:
    """Tell whether it could be signed with."""
    try:
        return secret.startswith(PREFIX) and bool(_key(secret))
    except (binascii.Error, ValueError):
        return False


def sign(letter_id: str, at: datetime, body: bytes, secret: str) -> dict[str, str]:
    """Write the three headers of a webhook."""
    seconds = int(at.timestamp())
    signed = hmac.digest(_key(secret), f"{letter_id}.{seconds}.".encode() + body, hashlib.sha256)
    return {
        "svix-id": letter_id,
        "svix-timestamp": str(seconds),
        "svix-signature": "v1," + base64.b64encode(signed).decode(),
    }


def _key(secret: str) -> bytes:
    padded = secret.removeprefix(PREFIX) + "=="  # Svix's own libraries forgive a missing padding
    return base64.b64decode(padded.encode("ascii"))
