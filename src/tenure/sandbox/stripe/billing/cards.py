"""Which card pays, and whether it does."""

from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.errors import declined
from tenure.sandbox.stripe.model import Obj

CARDS: dict[str, Obj] = {
    "pm_card_visa": {"brand": "visa", "last4": "4242"},
    "pm_card_mastercard": {"brand": "mastercard", "last4": "4444"},
    "pm_card_amex": {"brand": "amex", "last4": "0005"},
    "pm_card_us": {"brand": "visa", "last4": "4242"},
    "pm_card_chargeCustomerFail": {"brand": "visa", "last4": "0341", "_charges_left": 0},
    "pm_card_chargeDeclined": {"brand": "visa", "last4": "0002", "_refused": True},
    "pm_card_visa_chargeDeclined": {"brand": "visa", "last4": "0002", "_refused": True},
    "pm_card_chargeDeclinedInsufficientFunds": {
        "brand": "visa",
        "last4": "9995",
        "_refused": True,
    },
    "pm_sandbox_worksOnce": {"brand": "visa", "last4": "0101", "_charges_left": 1},
}
"""Test tokens. `_refused` cards cannot be attached; `_charges_left` bounds how often one pays."""


def new_card(books: Books, token: str, at: int) -> Obj:
    """Make a payment method from a test token; an unknown one is a working Visa."""
    card = CARDS.get(token, CARDS["pm_card_visa"])
    made = books.add("payment_method", {}, at=at)
    shown = {key: value for key, value in card.items() if not key.startswith("_")}
    made["card"].update(shown, display_brand=card["brand"], fingerprint=f"fp_{card['last4']}")
    made["card"]["networks"]["available"] = [card["brand"]]
    made.update({key: value for key, value in card.items() if key.startswith("_")})
    return made


def card_of(books: Books, customer: Obj, sub: Obj | None = None) -> Obj | None:
    """Find the card that pays: the subscription's own, else the customer's default."""
    chosen = (sub or {}).get("default_payment_method")
    chosen = chosen or customer["invoice_settings"]["default_payment_method"]
    return books.find("payment_method", chosen) if chosen else None


def charge(card: Obj | None) -> bool:
    """Take money from a card, and say whether it worked."""
    if card is None or card.get("_refused"):
        return False
    left = card.get("_charges_left")
    if left is None:
        return True
    card["_charges_left"] = max(left - 1, 0)
    return left > 0


def check_attachable(card: Obj) -> None:
    """Refuse a card whose bank says no at once.

    Errors: a card error.
    """
    if card.get("_refused"):
        raise declined("insufficient_funds" if card["card"]["last4"] == "9995" else None)
