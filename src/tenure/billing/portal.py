"""Send a customer to Stripe's own page for cards, invoices and plans."""

from collections.abc import Sequence

from tenure.billing import rules
from tenure.billing.customers import Desk
from tenure.billing.errors import AddressNotAllowed, NoCustomer
from tenure.billing.model import Owner


async def open_portal(desk: Desk, owner: Owner, *, return_url: str, origins: Sequence[str]) -> str:
    """Open a portal session and give its address.

    Errors: AddressNotAllowed, NoCustomer, ModeMixUp, StripeTrouble.
    """
    if not rules.is_allowed(return_url, origins):
        raise AddressNotAllowed(f"people may not be sent to {return_url}", address=return_url)
    customer = await desk.find(owner)
    if customer is None:
        raise NoCustomer("nothing was bought yet, so there is nothing to manage")
    configuration = customer.portal_configuration
    async with desk.believing(customer):
        made = await desk.stripe.call(
            "post",
            "/v1/billing_portal/sessions",
            customer=customer.stripe_customer_id,
            return_url=return_url,
            **({"configuration": configuration} if configuration else {}),
        )
    return str(made["url"])
