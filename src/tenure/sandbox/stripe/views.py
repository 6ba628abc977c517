"""HTML, plain and readable, without scripts or anything fetched from elsewhere."""

from html import escape

from tenure.base.clock import moment
from tenure.sandbox.stripe.billing import status
from tenure.sandbox.stripe.billing.lines import TIMES, money
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.model import Obj

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 36rem; margin: 3rem auto; padding: 0 1rem; }
main { border: 1px solid #8886; border-radius: .75rem; padding: 1.5rem 2rem; }
table { width: 100%; border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; padding: .4rem 0; border-bottom: 1px solid #8884; }
td:last-child, th:last-child { text-align: right; }
fieldset { border: 1px solid #8886; border-radius: .5rem; margin: 1rem 0; }
label { display: block; padding: .25rem 0; }
button { font: inherit; padding: .5rem 1rem; border-radius: .5rem; border: 1px solid #8888;
  cursor: pointer; }
button.main { background: #2b50d8; color: #fff; border-color: #2b50d8; width: 100%; }
[role=alert] { border-left: .3rem solid #c0362c; padding: .5rem 1rem; }
footer { color: #767676; font-size: .85rem; margin-top: 1rem; }
"""
PAY_CARDS = (
    ("works", "4242: works"),
    ("declined", "0002: is declined now"),
    ("fails_later", "0101: works now, is declined at the next renewal"),
)
PORTAL_CARDS = (("works", "4242: works"), ("fails", "0341: is declined whenever it is charged"))


def _page(title: str, inside: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main><h1>{title}</h1>{inside}</main>"
        "<footer>Sandbox: no real money moves here.</footer></body></html>"
    )


def message_page(words: str) -> str:
    """Say one thing."""
    return _page("Checkout and billing", f'<p role="alert">{words}</p>')


def _alert(words: str) -> str:
    return f'<p role="alert">{escape(words)}</p>' if words else ""


def _cards(cards: tuple[tuple[str, str], ...]) -> str:
    choices = "".join(
        f'<label><input type="radio" name="card" value="{value}"'
        f"{' checked' if at == 0 else ''}> {escape(words)}</label>"
        for at, (value, words) in enumerate(cards)
    )
    return f"<fieldset><legend>Test card</legend>{choices}</fieldset>"


def checkout_page(session: Obj, trouble: str = "") -> str:
    """Show what is sold, and a form with a card and a button."""
    rows = "".join(
        f"<tr><td>{row['quantity']} {TIMES} {escape(row['description'])}</td>"
        f"<td>{money(row['amount_total'], row['currency'])}</td></tr>"
        for row in session["_line_items"]
    )
    total = session["amount_total"]
    due = "" if total is None else money(total, session["currency"])
    table = f"""<table><thead><tr><th scope="col">Item</th><th scope="col">Amount</th></tr></thead>
<tbody>{rows}</tbody><tfoot><tr><th scope="row">Due today</th><th>{due}</th></tr></tfoot></table>"""
    email = "" if session["customer"] or session["customer_email"] else _email_field()
    setup = session["mode"] == "setup"
    button = "Save card" if setup else f"Pay {due} and subscribe"
    cancel = session["cancel_url"]
    back = f'<p><a href="{escape(cancel)}">Back to the shop</a></p>' if cancel else ""
    form = (
        f'<form method="post">{email}{_cards(PAY_CARDS)}'
        f'<button class="main" type="submit">{button}</button></form>'
    )
    inside = f"{_alert(trouble)}{'' if setup else table}{form}{back}"
    return _page("Save a card" if setup else "Checkout", inside)


def _email_field() -> str:
    return '<label>E-mail <input type="email" name="email" autocomplete="email" required></label>'


def portal_page(books: Books, session: Obj, trouble: str = "") -> str:
    """Show subscriptions, open invoices and the card form."""
    customer = session["customer"]
    subs = [s for s in books.owned("subscription", customer) if s["status"] not in status.OVER]
    owed = [i for i in books.owned("invoice", customer) if i["status"] == "open"]
    back = session["return_url"]
    inside = (
        _alert(trouble)
        + "<h2>Subscriptions</h2>"
        + ("".join(_subscription(books, sub) for sub in subs) or "<p>There are none.</p>")
        + "<h2>Open invoices</h2>"
        + ("".join(_invoice(invoice) for invoice in owed) or "<p>There are none.</p>")
        + f'<h2>Card</h2><form method="post">{_cards(PORTAL_CARDS)}'
        + '<button name="do" value="card">Update card</button></form>'
        + (f'<p><a href="{escape(back)}">Return</a></p>' if back else "")
    )
    return _page("Your billing", inside)


def _subscription(books: Books, sub: Obj) -> str:
    names = ", ".join(
        f"{item['quantity'] or 0} {TIMES} "
        + escape(books.table("product")[books.table("price")[item["price"]]["product"]]["name"])
        for item in status.items_of(books, sub)
    )
    pending = sub["cancel_at"]
    end = f", ends {moment(pending):%Y-%m-%d}" if pending else ""
    does, words = ("resume", "Keep it") if pending else ("cancel", "Cancel at period end")
    return (
        f"<p>{names}: <strong>{sub['status']}</strong>{end}</p>"
        f'<form method="post"><input type="hidden" name="subscription" value="{sub["id"]}">'
        f'<button name="do" value="{does}">{words}</button></form>'
    )


def _invoice(invoice: Obj) -> str:
    amount = money(invoice["amount_remaining"], invoice["currency"])
    return (
        f'<form method="post"><input type="hidden" name="invoice" value="{invoice["id"]}">'
        f"<p>{invoice['number']}: {amount} "
        '<button name="do" value="pay">Pay now</button></p></form>'
    )
