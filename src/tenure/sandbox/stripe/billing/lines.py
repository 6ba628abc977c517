"""Invoice lines: what a customer reads on the bill."""

from tenure.sandbox.stripe.billing.proration import prorated
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.params import inside
from tenure.sandbox.stripe.shapes import blank

TIMES = "\u00d7"


def amount_of(price: Obj, quantity: int) -> int:
    """Tell what a quantity costs for a period; metered prices cost nothing in advance."""
    if inside(price, "recurring").get("usage_type") == "metered":
        return 0
    return int(price["unit_amount"] or 0) * quantity


def money(amount: int, currency: str) -> str:
    """Write an amount for people."""
    sign = "-" if amount < 0 else ""
    symbol = {"usd": "$", "eur": "€", "gbp": "£"}.get(currency, currency.upper() + " ")
    return f"{sign}{symbol}{abs(amount) // 100}.{abs(amount) % 100:02d}"


def pricing_of(price: Obj) -> Obj:
    """Say which price an amount comes from."""
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def line_of_item(books: Books, sub: Obj, item: Obj, *, free: bool = False) -> Obj:
    """Write the line that charges one subscription item for its present period."""
    price = books.table("price")[item["price"]]
    quantity = item["quantity"] or 0
    amount = 0 if free else amount_of(price, quantity)
    return blank(
        "line_item",
        books.new_id("line_item"),
        livemode=books.live,
        amount=amount,
        subtotal=amount,
        currency=price["currency"],
        description=_words(books, price, quantity, free=free),
        quantity=quantity,
        quantity_decimal=str(quantity),
        period={"start": item["current_period_start"], "end": item["current_period_end"]},
        pricing=pricing_of(price),
        subscription=sub["id"],
        parent=_from_item(sub["id"], item["id"], invoice_item=None, proration=False),
    )


def line_of_pending(books: Books, pending: Obj) -> Obj:
    """Write the line of an invoice item that waited for this invoice."""
    sub = pending["_subscription"]
    parent = _from_item(
        sub, pending["_item"], invoice_item=pending["id"], proration=pending["proration"]
    )
    return blank(
        "line_item",
        books.new_id("line_item"),
        livemode=books.live,
        amount=pending["amount"],
        subtotal=pending["amount"],
        currency=pending["currency"],
        description=pending["description"],
        discountable=False,
        quantity=pending["quantity"],
        quantity_decimal=str(pending["quantity"]),
        period=pending["period"],
        pricing=pending["pricing"],
        subscription=sub,
        parent=parent,
    )


def proration_items(
    books: Books, sub: Obj, item: Obj, *, old: tuple[Obj, int], new: tuple[Obj, int], at: int
) -> list[Obj]:
    """Describe the credit for what was and the debit for what is, as waiting invoice items."""
    period = item["current_period_start"], item["current_period_end"]
    credit, debit = prorated(amount_of(*old), amount_of(*new), period, at)
    made: list[Obj] = []
    for amount, (price, quantity), word in ((credit, old, "Unused"), (debit, new, "Remaining")):
        if amount:
            name = books.table("product")[price["product"]]["name"]
            made.append(
                {
                    "amount": amount,
                    "net_amount": amount,
                    "currency": price["currency"],
                    "customer": sub["customer"],
                    "date": at,
                    "description": f"{word} time on {quantity} {TIMES} {name}",
                    "parent": {
                        "subscription_details": {
                            "subscription": sub["id"],
                            "subscription_item": item["id"],
                        },
                        "type": "subscription_details",
                    },
                    "period": {"start": at, "end": item["current_period_end"]},
                    "pricing": pricing_of(price),
                    "quantity": quantity,
                    "quantity_decimal": str(quantity),
                    "test_clock": sub["test_clock"],
                    "_subscription": sub["id"],
                    "_item": item["id"],
                }
            )
    return made


def _words(books: Books, price: Obj, quantity: int, *, free: bool) -> str:
    name = books.table("product")[price["product"]]["name"]
    if free:
        return f"Trial period for {name}"
    each = money(price["unit_amount"] or 0, price["currency"])
    return f"{quantity} {TIMES} {name} (at {each} / {price['recurring']['interval']})"


def _from_item(sub: str, item: str, *, invoice_item: str | None, proration: bool) -> Obj:
    return {
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": invoice_item,
            "proration": proration,
            "proration_details": {"credited_items": None},
            "subscription": sub,
            "subscription_item": item,
        },
        "type": "subscription_item_details",
    }
