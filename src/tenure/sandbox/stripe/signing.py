"""The `Stripe-Signature` header."""

import hmac
from collections.abc import Iterable
from hashlib import sha256


def signature(body: bytes, secrets: Iterable[str], at: int) -> str:
    """Sign a body with every secret that is valid now.

    Source: docs.stripe.com/webhooks/signature (scheme v1, HMAC-SHA256 of `t.body`).
    """
    signed = f"{at}.".encode() + body
    marks = [hmac.new(s.encode(), signed, sha256).hexdigest() for s in secrets]
    return ",".join([f"t={at}", *(f"v1={mark}" for mark in marks)])
