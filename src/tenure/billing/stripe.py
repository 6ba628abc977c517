"""Stripe's API, as far as we use it: the only file that imports Stripe's SDK."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import stripe

from tenure.base.errors import TenureError
from tenure.base.log import log
from tenure.billing.errors import (
    NoSuchObject,
    Refused,
    StripeAway,
    StripeBusy,
    StripeFailed,
    StripeKeyRefused,
    StripeKeySpent,
    StripeTrouble,
)
from tenure.billing.projection import Raw

API_VERSION = str(stripe.api_version)  # the one this SDK was made for; shapes follow it
PAGE = 100
ENTITLEMENTS, METHODS = "/v1/entitlements/active_entitlements", "/v1/payment_methods"
TIMEOUT = 10.0  # seconds for one call
TRIES = 2  # further ones, by the SDK, for lost connections, 409 and 5xx; never for 429

TROUBLES: tuple[tuple[type[stripe.StripeError], type[StripeTrouble], str], ...] = (
    (stripe.RateLimitError, StripeBusy, "Stripe asks us to slow down"),
    (stripe.AuthenticationError, StripeKeyRefused, "Stripe does not accept our key"),
    (stripe.PermissionError, StripeKeyRefused, "our key may not do this at Stripe"),
    (stripe.IdempotencyError, StripeKeySpent, "Stripe knows the key for another request"),
    (stripe.APIConnectionError, StripeAway, "Stripe did not answer"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Stripe's answers about one customer, as they came."""

    customer: Raw
    subscriptions: tuple[Raw, ...] = ()
    entitlements: tuple[Raw, ...] = ()
    payment_methods: tuple[Raw, ...] = ()
    open_invoices: tuple[Raw, ...] = ()


class Stripe:
    """Calls Stripe within our share of its limits; every failure becomes an error of ours."""

    def __init__(
        self,
        secret_key: str,
        *,
        api_base: str,
        spend: Callable[[], Awaitable[None]],
        timeout: float = TIMEOUT,
    ) -> None:
        self.livemode = secret_key[2:].startswith("_live_")
        self._spend = spend
        self._http = stripe.HTTPXClient(timeout=timeout)
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": api_base},
            http_client=self._http,
            max_network_retries=TRIES,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()

    async def call(self, method: str, path: str, *, key: str | None = None, **params: Any) -> Raw:  # noqa: ANN401 (Stripe's parameters)
        """Make one call and give its answer as Stripe wrote it.

        Errors: StripeTrouble and what stands under it; Refused for a parameter of ours.
        """
        await self._spend()
        options: dict[str, Any] = {"idempotency_key": key} if key else {}
        ask = cast("Callable[..., Awaitable[Any]]", self._client.raw_request_async)
        try:
            answer = await ask(method, path, **params, **options)
        except stripe.StripeError as exc:
            raise _translated(exc, method, path) from exc
        return cast("Raw", answer.data)

    async def pages(self, path: str, **params: Any) -> AsyncIterator[Raw]:  # noqa: ANN401 (as above)
        """Go through every page of a list."""
        after: dict[str, str] = {}
        while True:
            page = await self.call("get", path, limit=PAGE, **params, **after)
            for item in page["data"]:
                yield item
            if not page["has_more"]:
                return
            after = {"starting_after": page["data"][-1]["id"]}

    async def all(self, path: str, **params: Any) -> tuple[Raw, ...]:  # noqa: ANN401 (as above)
        """Read every page of a list."""
        return tuple([item async for item in self.pages(path, **params)])

    async def look_at(self, customer_id: str) -> Snapshot:
        """Read everything we keep about one customer: all pages, canceled subscriptions too.

        Errors: NoSuchObject when Stripe never had this customer, StripeTrouble.
        """
        try:
            async with asyncio.TaskGroup() as asked:
                customer_of = asked.create_task(self.call("get", f"/v1/customers/{customer_id}"))
                subscriptions_of = asked.create_task(self._subscriptions(customer_id))
                entitlements_of = asked.create_task(self._of_customer(ENTITLEMENTS, customer_id))
                methods_of = asked.create_task(self._of_customer(METHODS, customer_id))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        customer, subscriptions = customer_of.result(), subscriptions_of.result()
        if customer.get("deleted"):
            return Snapshot(customer=customer, subscriptions=subscriptions)
        is_late = any(s["status"] == "past_due" for s in subscriptions)
        return Snapshot(
            customer=customer,
            subscriptions=subscriptions,
            entitlements=entitlements_of.result(),
            payment_methods=methods_of.result(),
            open_invoices=await self._open_invoices(customer_id) if is_late else (),
        )

    async def subscription(self, subscription_id: str) -> Raw | None:
        """Read one subscription with all its items; None when Stripe does not have it."""
        try:
            return await self._whole(await self.call("get", f"/v1/subscriptions/{subscription_id}"))
        except NoSuchObject:
            return None

    async def _subscriptions(self, customer_id: str) -> tuple[Raw, ...]:
        found = await self._of_customer("/v1/subscriptions", customer_id, status="all")
        return tuple([await self._whole(subscription) for subscription in found])

    async def _whole(self, subscription: Raw) -> Raw:
        """Complete the items, of which a payload holds the first few only."""
        if not subscription["items"]["has_more"]:
            return subscription
        items = await self.all("/v1/subscription_items", subscription=subscription["id"])
        return {**subscription, "items": {**subscription["items"], "data": items}}

    async def _open_invoices(self, customer_id: str) -> tuple[Raw, ...]:
        return await self.all("/v1/invoices", customer=customer_id, status="open")

    async def _of_customer(self, path: str, customer_id: str, **params: str) -> tuple[Raw, ...]:
        """List what belongs to a customer; a deleted customer may have no lists any more."""
        try:
            return await self.all(path, customer=customer_id, **params)
        except NoSuchObject:
            return ()


def _translated(exc: stripe.StripeError, method: str, path: str) -> TenureError:
    """Say in our words what Stripe's SDK raised; the detail goes to the log, not to the client."""
    log.warning(
        "billing.stripe.failed",
        call=f"{method} {path}",
        status=exc.http_status,
        code=exc.code,
        stripe_request=exc.request_id,
        error=str(exc.user_message or exc),
    )
    param: str | None = getattr(exc, "param", None)
    if isinstance(exc, stripe.InvalidRequestError) and _is_missing(exc, param):
        return NoSuchObject(f"Stripe does not know {param or 'this object'}", mixed_up=_mixed(exc))
    if isinstance(exc, (stripe.InvalidRequestError, stripe.CardError)):
        why = exc.code or type(exc).__name__
        return Refused(f"Stripe refuses {param or 'the request'} ({why})", param=param)
    for kind, ours, message in TROUBLES:
        if isinstance(exc, kind):
            return ours(message)
    return _by_status(exc.http_status or 0)


def _is_missing(exc: stripe.StripeError, param: str | None) -> bool:
    """Tell what we asked for from what a parameter names, such as a cursor or a price."""
    about_itself = exc.http_status == HTTPStatus.NOT_FOUND or param == "customer"
    return exc.code == "resource_missing" and about_itself


def _by_status(status: int) -> StripeTrouble:
    if status == HTTPStatus.CONFLICT:
        return StripeBusy("Stripe is still busy with the same request")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return StripeFailed(f"Stripe failed with status {status}")
    return StripeTrouble(f"Stripe answered with status {status}")


def _mixed(exc: stripe.StripeError) -> bool:
    """Recognise a test/live mix-up, which Stripe tells in its message only."""
    return "a similar object exists in" in (exc.user_message or "")
