"""The two pages a customer sees: paying, and looking after what was bought."""

from collections.abc import Awaitable, Callable
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from tenure.sandbox.stripe.errors import StripeRefusal
from tenure.sandbox.stripe.params import decode
from tenure.sandbox.stripe.resources import checkout
from tenure.sandbox.stripe.views import checkout_page, message_page, portal_page
from tenure.sandbox.stripe.visits import act, find_session
from tenure.sandbox.stripe.world import World

Page = Callable[[World, Request], Awaitable[Response]]
CARDS = {
    "works": "pm_card_visa",
    "declined": "pm_card_chargeDeclined",
    "fails_later": "pm_sandbox_worksOnce",
}


async def show_checkout(world: World, request: Request) -> Response:
    """Show what is sold and ask for a card."""
    books = world.books_of(request.path_params["id"])
    session = books.find(checkout.KIND, request.path_params["id"])
    if session is None:
        return _gone("There is no such checkout.")
    session = checkout.fresh(books, session)
    if session["status"] != "open":
        words = "was already paid" if session["status"] == "complete" else "has expired"
        return _gone(f"This checkout {words}.", 410)
    return HTMLResponse(checkout_page(session))


async def pay_checkout(world: World, request: Request) -> Response:
    """Take the payment, and send the customer back to the shop."""
    books = world.books_of(request.path_params["id"])
    session = books.find(checkout.KIND, request.path_params["id"])
    if session is None:
        return _gone("There is no such checkout.")
    session = checkout.fresh(books, session)
    if session["status"] != "open":
        words = "was already paid" if session["status"] == "complete" else "has expired"
        return _gone(f"This checkout {words}.", 410)
    form = decode((await request.body()).decode())
    token = CARDS.get(form.get("card", "works"))
    if token is None:
        return HTMLResponse(checkout_page(session, "Choose one of the test cards."), 400)
    try:
        checkout.complete(books, session, token, form.get("email"))
    except StripeRefusal as refusal:
        return HTMLResponse(checkout_page(session, str(refusal)), 402)
    back = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"])
    return RedirectResponse(back, status_code=303)


async def show_portal(world: World, request: Request) -> Response:
    """Show a customer's subscriptions, with what can be done about them."""
    found = find_session(world, request.path_params["secret"])
    if found is None:
        return _gone("This portal session does not exist or is over.")
    return HTMLResponse(portal_page(*found))


async def act_in_portal(world: World, request: Request) -> Response:
    """Do what a button says, and show the page again."""
    found = find_session(world, request.path_params["secret"])
    if found is None:
        return _gone("This portal session does not exist or is over.")
    form = decode((await request.body()).decode())
    books, session = found
    try:
        act(books, session, form)
    except StripeRefusal as refusal:
        return HTMLResponse(portal_page(books, session, str(refusal)), refusal.status)
    return RedirectResponse(request.url.path, status_code=303)


def _gone(words: str, status: int = 404) -> Response:
    return HTMLResponse(message_page(escape(words)), status)


PAGES: list[tuple[str, str, Page]] = [
    ("GET", "/c/pay/{id}", show_checkout),
    ("POST", "/c/pay/{id}", pay_checkout),
    ("GET", "/p/session/{secret}", show_portal),
    ("POST", "/p/session/{secret}", act_in_portal),
]


def page_routes(world: World) -> list[Route]:
    """Build the routes of the hosted pages."""
    return [Route(path, _endpoint(world, page), methods=[method]) for method, path, page in PAGES]


def _endpoint(world: World, page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        return await page(world, request)

    return serve
