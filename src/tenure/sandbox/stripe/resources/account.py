"""The one account of a sandbox; only what says which account it is."""

from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.route import Call, get

ACCOUNT: Obj = {
    "id": "acct_sandbox",
    "object": "account",
    "business_type": None,
    "charges_enabled": True,
    "country": "US",
    "default_currency": "usd",
    "details_submitted": True,
    "email": None,
    "metadata": {},
    "payouts_enabled": True,
    "type": "standard",
}


def retrieve(_call: Call) -> Obj:
    """Say whose key it is."""
    return ACCOUNT


ROUTES = [get("/v1/account", retrieve)]
