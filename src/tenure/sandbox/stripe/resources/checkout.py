"""Checkout sessions: opened over the API, paid on the hosted page."""

from tenure.sandbox.stripe.billing import lines
from tenure.sandbox.stripe.billing.due import expire_session
from tenure.sandbox.stripe.billing.start import bill_first, open_subscription, usable_price
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.errors import invalid, missing_parameter
from tenure.sandbox.stripe.model import DAY, Obj
from tenure.sandbox.stripe.paging import matching, newest, page
from tenure.sandbox.stripe.params import (
    PAGE,
    anything,
    flag,
    inside,
    merged,
    metadata,
    moment_or,
    one_of,
    rows,
    text,
    time_range,
    whole,
)
from tenure.sandbox.stripe.resources.customers import attach, new_customer
from tenure.sandbox.stripe.route import Call, get, post
from tenure.sandbox.stripe.shapes import blank

KIND = "checkout.session"
SHORTEST, LONGEST = 1_800, DAY
SUBSCRIPTION_DATA = {
    "billing_mode": anything,
    "default_tax_rates": [text],
    "description": text,
    "metadata": metadata,
    "proration_behavior": text,
    "trial_end": moment_or(),
    "trial_period_days": whole,
    "trial_settings": {
        "end_behavior": {"missing_payment_method": one_of("cancel", "create_invoice", "pause")}
    },
}
CREATE = {
    "allow_promotion_codes": flag,
    "automatic_tax": anything,
    "billing_address_collection": one_of("auto", "required"),
    "cancel_url": text,
    "client_reference_id": text,
    "currency": text,
    "custom_text": anything,
    "customer": text,
    "customer_creation": one_of("always", "if_required"),
    "customer_email": text,
    "customer_update": anything,
    "expires_at": whole,
    "line_items": [
        {"price": text, "quantity": whole, "adjustable_quantity": anything, "metadata": metadata}
    ],
    "locale": text,
    "metadata": metadata,
    "mode": one_of("payment", "setup", "subscription"),
    "payment_method_collection": one_of("always", "if_required"),
    "payment_method_types": [text],
    "saved_payment_method_options": anything,
    "setup_intent_data": anything,
    "submit_type": text,
    "subscription_data": SUBSCRIPTION_DATA,
    "success_url": text,
    "tax_id_collection": anything,
    "ui_mode": one_of("hosted", "hosted_page"),
}
COPIED = (
    "allow_promotion_codes",
    "billing_address_collection",
    "cancel_url",
    "client_reference_id",
    "customer_creation",
    "customer_email",
    "locale",
    "payment_method_collection",
    "submit_type",
    "success_url",
)


def create(call: Call) -> Obj:
    """Open a session."""
    books, given = call.books, call.params
    customer = given.get("customer")
    clock = books.get("customer", customer, "customer")["test_clock"] if customer else None
    if customer and given.get("customer_email"):
        raise invalid("You may only specify one of these parameters: customer, customer_email.")
    at = books.now(clock)
    fields = {name: given[name] for name in COPIED if given.get(name) is not None}
    session = books.add(
        KIND,
        {
            **fields,
            "customer": customer,
            "expires_at": _expiry(given, at),
            "metadata": merged({}, given.get("metadata") or {}),
            "mode": given["mode"],
            "test_clock": clock,
            **_lines(books, given),
            "_subscription_data": given.get("subscription_data") or {},
        },
        at=at,
    )
    session["_clock"] = session.pop("test_clock")
    session["url"] = f"{call.base_url}/c/pay/{session['id']}"
    return session


def _expiry(given: Obj, at: int) -> int:
    if given["mode"] == "payment":
        raise invalid("The sandbox serves `subscription` and `setup` sessions only.", "mode")
    if not given.get("success_url"):
        raise missing_parameter("success_url")
    asked = given.get("expires_at")
    if asked is None:
        return at + LONGEST
    if not at + SHORTEST <= asked <= at + LONGEST:
        raise invalid("The `expires_at` timestamp must be at least 30 minutes and at most 24 hours "
                      "from Checkout Session creation.", "expires_at")  # fmt: skip
    return int(asked)


def _lines(books: Books, given: Obj) -> Obj:
    """Price the session."""
    if given["mode"] == "setup":
        return {"payment_status": "no_payment_required", "_line_items": []}
    if not given.get("line_items"):
        raise missing_parameter("line_items")
    sold: list[Obj] = []
    for item in rows(given, "line_items"):
        if not item.get("price"):
            raise missing_parameter("line_items[0][price]")
        price = usable_price(books, item["price"])
        quantity = 1 if item.get("quantity") is None else item["quantity"]
        amount = lines.amount_of(price, quantity)
        sold.append(
            blank(
                "item",
                books.new_id("item"),
                amount_subtotal=amount,
                amount_total=amount,
                currency=price["currency"],
                description=books.table("product")[price["product"]]["name"],
                price=books.show(price),
                quantity=quantity,
            )
        )
    trial = inside(given, "subscription_data").get("trial_period_days")
    total = 0 if trial else sum(row["amount_total"] for row in sold)
    amounts = {"amount_subtotal": total, "amount_total": total, "currency": sold[0]["currency"]}
    return {**amounts, "_line_items": sold}


def retrieve(call: Call) -> Obj:
    """Read a session."""
    return fresh(call.books, call.books.get(KIND, call.id))


def fresh(books: Books, session: Obj) -> Obj:
    """Close a session whose time is over, then give it."""
    now = books.now(session["_clock"])
    if session["status"] == "open" and session["expires_at"] <= now:
        expire_session(books, session)
    return session


def listed(call: Call) -> Obj:
    """List sessions."""
    given = call.params
    equal = matching(given, "status", "subscription", "payment_intent")
    return page(
        newest(call.books, KIND, given.get("customer")),
        given,
        "/v1/checkout/sessions",
        keep=lambda row: equal(fresh(call.books, row)),
        kind=KIND,
    )


def expire(call: Call) -> Obj:
    """Close an open session."""
    session = fresh(call.books, call.books.get(KIND, call.id))
    if session["status"] != "open":
        raise invalid(
            'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout '
            f"Session has a status of `{session['status']}`."
        )
    expire_session(call.books, session)
    return session


def line_items(call: Call) -> Obj:
    """List what a session sells."""
    session = call.books.get(KIND, call.id)
    url = f"/v1/checkout/sessions/{call.id}/line_items"
    return page(session["_line_items"], call.params, url, keep=lambda _row: True, kind="item")


def complete(books: Books, session: Obj, token: str, email: str | None = None) -> Obj:
    """Pay a session with a card, as its hosted page does.

    Errors: a card error; then the session stays open and nothing else has happened.
    """
    customer = _customer_of(books, session, email)
    card = attach(books, customer, token)
    if session["mode"] == "setup":
        _set_up(books, session, customer, card)
    else:
        _subscribe(books, session, customer, card)
    session.update(status="complete", url=None, customer_details=_details(customer))
    books.tell("checkout.session.completed", session)
    return session


def _customer_of(books: Books, session: Obj, email: str | None) -> Obj:
    """Find the session's customer, or make one."""
    if session["customer"]:
        return books.get("customer", session["customer"], "customer")
    customer = new_customer(books)
    customer["email"] = session["customer_email"] or email
    books.tell("customer.created", customer)
    books.give(KIND, session, customer["id"])
    return customer


def _subscribe(books: Books, session: Obj, customer: Obj, card: Obj) -> None:
    data = session["_subscription_data"]
    fields: Obj = {
        "default_payment_method": card["id"],
        "metadata": merged({}, data.get("metadata") or {}),
        "description": data.get("description"),
    }
    if data.get("trial_settings"):
        fields["trial_settings"] = data["trial_settings"]
    items: list[Obj] = [
        {"price": row["price"]["id"], "quantity": row["quantity"]} for row in session["_line_items"]
    ]
    sub = open_subscription(books, customer, {**data, "fields": fields}, items)
    bill_first(books, sub, "checkout")
    paid = "paid" if session["amount_total"] else "no_payment_required"
    session.update(subscription=sub["id"], invoice=sub["latest_invoice"], payment_status=paid)


def _set_up(books: Books, session: Obj, customer: Obj, card: Obj) -> None:
    intent = books.add("setup_intent", {"customer": customer["id"]}, at=books.now_of(customer))
    intent.update(payment_method=card["id"], client_secret=f"{intent['id']}_secret_1")
    session["setup_intent"] = intent["id"]
    books.tell("setup_intent.succeeded", intent)


def _details(customer: Obj) -> Obj:
    return {
        "address": customer["address"],
        "business_name": None,
        "email": customer["email"],
        "individual_name": None,
        "name": customer["name"],
        "phone": customer["phone"],
        "tax_exempt": "none",
        "tax_ids": [],
    }


ROUTES = [
    post("/v1/checkout/sessions", create, CREATE, need=["mode"]),
    get(
        "/v1/checkout/sessions",
        listed,
        {
            **PAGE,
            "created": time_range,
            "customer": text,
            "payment_intent": text,
            "status": one_of("complete", "expired", "open"),
            "subscription": text,
        },
    ),
    get("/v1/checkout/sessions/{id}", retrieve),
    post("/v1/checkout/sessions/{id}/expire", expire),
    get("/v1/checkout/sessions/{id}/line_items", line_items, PAGE),
    get(
        "/v1/setup_intents/{id}",
        lambda call: call.books.get("setup_intent", call.id),
    ),
]
