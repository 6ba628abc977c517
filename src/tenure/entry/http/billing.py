"""What can be bought, and buying it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from tenure.base.budget import Budget
from tenure.base.settings import Settings
from tenure.billing import catalog, returned, rules
from tenure.billing.checkout import Line, Order
from tenure.billing.errors import AddressNotAllowed
from tenure.billing.portal import open_portal
from tenure.entry.http.guard import Buyer, SignedIn
from tenure.entry.world import Service

router = APIRouter(prefix="/stripe", tags=["stripe"])

Limit = Annotated[int, Query(ge=1, le=100, description="Objects on a page")]
After = Annotated[
    str | None,
    Query(
        pattern=r"^(prod|price|plan)_[A-Za-z0-9_]+$|^[a-z0-9_-]{1,100}$",
        description="`next` of the page before",
    ),
]
Active = Annotated[bool | None, Query(description="Only active (true) or archived (false) ones")]


# No control characters: Postgres holds no NUL, and nobody's name has a line end.
Email = Annotated[
    str, Field(max_length=512, pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$")
]
Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]


class In(BaseModel):
    """A request body: a field that we do not know is an error, not a shrug."""

    model_config = ConfigDict(extra="forbid")


class PageOut(BaseModel):
    """A page of objects as Stripe writes them."""

    data: Sequence[Mapping[str, Any]]
    has_more: bool
    next: str | None = Field(description="Give it as `starting_after` for the next page")


class CustomerIn(In):
    """What to tell Stripe, where this call creates the customer."""

    email: Email | None = Field(None, examples=["ada@example.com"])
    name: Name | None = Field(None, examples=["Ada Lovelace"])


class CustomerOut(BaseModel):
    """The mapping of an owner to its Stripe customer."""

    stripe_customer_id: str = Field(examples=["cus_ExampleOnly"])
    owner: str = Field(description="`org:` or `user:` and our key of it")
    created: bool = Field(description="Whether this call made it")
    sync_status: str


class LineIn(In):
    """One price to buy."""

    price: str = Field(pattern=r"^[A-Za-z0-9_-]{1,255}$", examples=["price_ExampleOnly"])
    quantity: int = Field(1, ge=1, le=999_999)


class CheckoutIn(In):
    """What to buy, and where to come back to."""

    lines: list[LineIn] = Field(min_length=1, max_length=20)
    success_url: str = Field(
        max_length=2048, examples=["https://app.example.com/paid?session_id={CHECKOUT_SESSION_ID}"]
    )
    cancel_url: str | None = Field(None, max_length=2048)
    trial_days: int | None = Field(None, ge=1, le=730)
    email: Email | None = None
    name: Name | None = None


class CheckoutOut(BaseModel):
    """A page of Stripe's to pay on."""

    id: str = Field(examples=["cs_test_ExampleOnly"])
    url: str
    stripe_customer_id: str
    reused: bool = Field(description="The same order was open already")


class PortalIn(In):
    """Where to come back to."""

    return_url: str = Field(max_length=2048, examples=["https://app.example.com/settings"])


class PortalOut(BaseModel):
    """A page of Stripe's to manage cards, invoices and plans."""

    url: str


class ReturnOut(BaseModel):
    """What became of a purchase."""

    state: returned.State
    subscription_status: str | None = None


@router.get("/products")
async def list_products(
    *, caller: SignedIn, limit: Limit = 20, starting_after: After = None, active: Active = True
) -> PageOut:
    """List what can be bought, straight from Stripe: nothing of it is stored here."""
    page = await catalog.list_products(
        caller.service.world.stripe, limit=limit, starting_after=starting_after, active=active
    )
    return PageOut(data=page.data, has_more=page.has_more, next=page.next)


@router.get("/prices")
async def list_prices(
    *,
    caller: SignedIn,
    limit: Limit = 20,
    starting_after: After = None,
    active: Active = True,
    product: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,255}$")] = None,
    currency: Annotated[str | None, Query(pattern=r"^[a-z]{3}$", examples=["eur"])] = None,
    type: Annotated[Literal["recurring", "one_time"] | None, Query()] = None,  # noqa: A002 (Stripe's name)
) -> PageOut:
    """List what it costs, straight from Stripe."""
    page = await catalog.list_prices(
        caller.service.world.stripe,
        limit=limit,
        starting_after=starting_after,
        active=active,
        product=product,
        currency=currency,
        type=type,
    )
    return PageOut(data=page.data, has_more=page.has_more, next=page.next)


@router.post("/customer", responses={201: {"model": CustomerOut, "description": "Created"}})
async def ensure_customer(
    caller: Buyer, response: Response, body: CustomerIn | None = None
) -> CustomerOut:
    """Get the Stripe customer of the organization (or of the user), creating it at most once."""
    given = body or CustomerIn(email=None, name=None)
    wish = caller.wish(email=given.email, name=given.name)
    customer, made = await caller.service.world.desk.ensure(caller.owner, wish, actor=caller.actor)
    response.status_code = 201 if made else 200
    return CustomerOut(
        stripe_customer_id=customer.stripe_customer_id,
        owner=str(customer.owner),
        created=made,
        sync_status=customer.sync_status,
    )


@router.post("/checkout", status_code=201)
async def open_checkout(caller: Buyer, body: CheckoutIn) -> CheckoutOut:
    """Open a page to pay on; refused (409) while a subscription of the owner still runs."""
    order = Order(
        lines=[Line(price=line.price, quantity=line.quantity) for line in body.lines],
        success_url=body.success_url,
        cancel_url=body.cancel_url,
        trial_days=body.trial_days,
    )
    session = await caller.service.world.till.open(
        caller.owner, order, caller.wish(email=body.email, name=body.name), actor=caller.actor
    )
    return CheckoutOut(
        id=session.id,
        url=session.url,
        stripe_customer_id=session.customer.stripe_customer_id,
        reused=session.reused,
    )


@router.post("/portal", status_code=201)
async def portal(caller: Buyer, body: PortalIn) -> PortalOut:
    """Open Stripe's page for cards, invoices and plans."""
    world = caller.service.world
    url = await open_portal(
        world.desk,
        caller.owner,
        return_url=body.return_url,
        origins=world.settings.return_origins,
    )
    return PortalOut(url=url)


@router.get("/return", response_model=ReturnOut)
async def come_back(
    request: Request,
    session_id: Annotated[str, Query(pattern=r"^cs_[A-Za-z0-9_]{1,255}$")],
    onward: Annotated[
        str | None,
        Query(alias="next", max_length=2048, description="Go on to this page of ours"),
    ] = None,
) -> ReturnOut | RedirectResponse:
    """Take somebody back from the checkout: look at Stripe now, so that the gate is open for her.

    No token is needed: the session's id is a secret that only the buyer's browser was given.
    """
    service: Service = request.app.state.service
    settings = service.world.settings
    if onward is not None and not rules.is_allowed(onward, settings.return_origins):
        raise AddressNotAllowed("people may not be sent there", address=onward)
    world = service.world
    await strangers_budget(settings).spend(world.db)  # whoever asks costs a call to Stripe
    purchase = await returned.settle_purchase(
        world.db, world.customers, session_id, wait=settings.return_wait, lease=settings.lease
    )
    if onward is not None:
        return RedirectResponse(_with_state(onward, purchase.state), 303)
    bought = purchase.subscription
    return ReturnOut(
        state=purchase.state, subscription_status=bought.status.value if bought else None
    )


def strangers_budget(settings: Settings) -> Budget:
    """Leave the workers three quarters of Stripe's limit, whatever nobody in particular asks."""
    rate = settings.stripe_rate / 4
    mode = "live" if settings.livemode else "test"
    return Budget(
        name=f"return:{mode}",
        every=timedelta(seconds=1 / rate),
        burst=max(4, round(rate)),
        patience=timedelta(seconds=2),
    )


def _with_state(address: str, state: returned.State) -> str:
    """Say in the query of a page, which ends before its fragment, what became of a purchase."""
    page, sharp, fragment = address.partition("#")
    mark = "&" if "?" in page else "?"
    return f"{page}{mark}state={state.value}{sharp}{fragment}"
