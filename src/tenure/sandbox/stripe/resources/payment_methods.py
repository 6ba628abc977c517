"""Cards."""

from tenure.sandbox.stripe.billing import cards
from tenure.sandbox.stripe.errors import invalid
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.paging import matching, newest, page
from tenure.sandbox.stripe.params import PAGE, anything, inside, merged, metadata, one_of, text
from tenure.sandbox.stripe.resources.customers import attach
from tenure.sandbox.stripe.route import Call, get, post

KIND = "payment_method"
NUMBERS = {
    "4242424242424242": "pm_card_visa",
    "4000000000000341": "pm_card_chargeCustomerFail",
    "4000000000000002": "pm_card_chargeDeclined",
}
BILLING_DETAILS = {
    "address": anything,
    "email": text,
    "name": text,
    "phone": text,
    "tax_id": text,
}


def create(call: Call) -> Obj:
    """Make a card from a number or a token."""
    given = call.params
    described = inside(given, "card")
    number, token = described.get("number"), described.get("token")
    known = {"tok_visa": "pm_card_visa", "tok_chargeCustomerFail": "pm_card_chargeCustomerFail"}
    chosen = NUMBERS.get(number or "") or known.get(token or "") or "pm_card_visa"
    card = cards.new_card(call.books, chosen, call.books.now())
    card["metadata"] = merged({}, inside(given, "metadata"))
    card["billing_details"].update(inside(given, "billing_details"))
    return card


def retrieve(call: Call) -> Obj:
    """Read a card."""
    return call.books.get(KIND, call.id)


def update(call: Call) -> Obj:
    """Change what is written beside a card."""
    card = call.books.get(KIND, call.id)
    with call.books.changing(card, "payment_method.updated"):
        card["metadata"] = merged(card["metadata"], inside(call.params, "metadata"))
        card["billing_details"].update(inside(call.params, "billing_details"))
    return card


def attach_to(call: Call) -> Obj:
    """Attach a card to a customer."""
    customer = call.books.get("customer", call.params["customer"], "customer")
    return attach(call.books, customer, call.id)


def detach(call: Call) -> Obj:
    """Take a card from its customer, wherever it was the default."""
    books = call.books
    card = books.get(KIND, call.id)
    if card["customer"] is None:
        raise invalid("The payment method you provided is not attached to a customer so detachment "
                      "is impossible.", code="payment_method_not_attached")  # fmt: skip
    customer = books.get("customer", card["customer"])
    if customer["invoice_settings"]["default_payment_method"] == card["id"]:
        with books.changing(customer, "customer.updated"):
            customer["invoice_settings"]["default_payment_method"] = None
    for sub in books.owned("subscription", customer["id"]):
        if sub["default_payment_method"] == card["id"]:
            with books.changing(sub, "customer.subscription.updated"):
                sub["default_payment_method"] = None
    books.give(KIND, card, None)
    books.tell("payment_method.detached", card, {"customer": customer["id"]})
    return card


def listed(call: Call) -> Obj:
    """List cards of a customer."""
    customer = call.params.get("customer")
    if customer:
        call.books.get("customer", customer, "customer")
    keep = matching(call.params, "type")
    rows = newest(call.books, KIND, customer) if customer else []
    return page(rows, call.params, "/v1/payment_methods", keep=keep, kind=KIND)


def listed_of(call: Call) -> Obj:
    """List cards of the customer in the path."""
    call.books.get("customer", call.id, "customer")
    url = f"/v1/customers/{call.id}/payment_methods"
    keep = matching(call.params, "type")
    return page(newest(call.books, KIND, call.id), call.params, url, keep=keep, kind=KIND)


LIST = {**PAGE, "type": one_of("card"), "allow_redisplay": text}
ROUTES = [
    post(
        "/v1/payment_methods",
        create,
        {
            "type": one_of("card"),
            "card": anything,
            "metadata": metadata,
            "billing_details": BILLING_DETAILS,
        },
        need=["type"],
    ),
    get("/v1/payment_methods", listed, {**LIST, "customer": text}),
    get("/v1/payment_methods/{id}", retrieve),
    post(
        "/v1/payment_methods/{id}",
        update,
        {
            "metadata": metadata,
            "billing_details": BILLING_DETAILS,
            "card": anything,
            "allow_redisplay": text,
        },
    ),
    post("/v1/payment_methods/{id}/attach", attach_to, {"customer": text}, need=["customer"]),
    post("/v1/payment_methods/{id}/detach", detach),
    get("/v1/customers/{id}/payment_methods", listed_of, LIST),
]
