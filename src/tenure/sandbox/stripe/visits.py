"""What a customer can do in the portal."""

from tenure.sandbox.stripe.billing import collect, status
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.errors import declined, invalid
from tenure.sandbox.stripe.model import DAY, Obj
from tenure.sandbox.stripe.resources.customers import attach
from tenure.sandbox.stripe.resources.portal import CONFIGURATION, SESSION
from tenure.sandbox.stripe.world import World

OPEN_FOR = DAY
CARDS = {"works": "pm_card_visa", "fails": "pm_card_chargeCustomerFail"}


def find_session(world: World, secret: str) -> tuple[Books, Obj] | None:
    """Find the portal session behind a secret, while it lasts."""
    books = world.books_of(secret)
    for session in books.table(SESSION).values():
        if session["_secret"] == secret:
            customer = books.find("customer", session["customer"])
            if customer is None or books.now_of(customer) > session["created"] + OPEN_FOR:
                return None
            return books, session
    return None


def act(books: Books, session: Obj, form: Obj) -> None:
    """Do what a button says.

    Errors: a refusal, shown on the page.
    """
    customer = books.get("customer", session["customer"])
    doing = form.get("do")
    if doing == "card":
        _put_card(books, customer, str(form.get("card", "works")))
    elif doing == "pay":
        _pay(books, customer, str(form.get("invoice", "")))
    elif doing in {"cancel", "resume"}:
        _plan(books, session, str(form.get("subscription", "")), cancel=doing == "cancel")
    else:
        raise invalid("Choose one of the buttons.")


def _plan(books: Books, session: Obj, name: str, *, cancel: bool) -> None:
    """Plan or take back a cancel; the portal sets `cancel_at` alone, as flexible billing does."""
    sub = books.get("subscription", name)
    settings = books.get(CONFIGURATION, session["configuration"])["features"]["subscription_cancel"]
    if sub["customer"] != session["customer"] or sub["status"] in status.OVER:
        raise invalid("There is no such subscription.")
    if not settings["enabled"]:
        raise invalid("Canceling is not allowed here.")
    if cancel and settings["mode"] == "immediately":
        status.end(books, sub, "cancellation_requested")
        return
    ends = [item["current_period_end"] for item in status.items_of(books, sub)]
    with books.changing(sub, "customer.subscription.updated"):
        sub["cancel_at_period_end"] = False
        status.put_cancel_at(books, sub, max(ends) if cancel else None)


def _put_card(books: Books, customer: Obj, choice: str) -> None:
    if choice not in CARDS:
        raise invalid("Choose one of the test cards.")
    card = attach(books, customer, CARDS[choice])
    with books.changing(customer, "customer.updated"):
        customer["invoice_settings"]["default_payment_method"] = card["id"]
    for sub in books.owned("subscription", customer["id"]):
        if sub["status"] not in status.OVER and sub["default_payment_method"]:
            with books.changing(sub, "customer.subscription.updated"):
                sub["default_payment_method"] = card["id"]


def _pay(books: Books, customer: Obj, name: str) -> None:
    invoice = books.get("invoice", name)
    if invoice["customer"] != customer["id"] or invoice["status"] != "open":
        raise invalid("There is no such open invoice.")
    if not collect.attempt(books, invoice):
        raise declined()
