"""A merchant and customers who do things at Stripe at random."""

import random  # noqa: TID251 (every choice comes from a seed that is printed)
from dataclasses import dataclass
from typing import Any

import stripe as sdk

from tests.billing.shop import DAY, Shop

LONGEST = 40  # days at once: a renewal and some dunning


@dataclass(frozen=True, kw_only=True)
class Merchant:
    """Acts for one customer at a time; what Stripe refuses did not happen."""

    shop: Shop
    chance: random.Random

    def act(self, customer: str) -> str:
        """Do something, and say what."""
        acts = {
            self.subscribe: 4,
            self.change_quantity: 3,
            self.add_item: 2,
            self.cancel: 2,
            self.cancel_later: 2,
            self.take_back: 1,
            self.pause: 1,
            self.card_fails: 1,
            self.rename: 1,
            self.wait: 2,
            self.delete: 1,
        }
        (chosen,) = self.chance.choices(list(acts), list(acts.values()))
        try:
            chosen(customer)
        except sdk.StripeError as refused:
            return f"{chosen.__name__}: {type(refused).__name__}"
        return chosen.__name__

    def subscribe(self, customer: str) -> None:
        self.shop.subscribe(customer, quantity=self.chance.randint(1, 9))

    def change_quantity(self, customer: str) -> None:
        for sub in self._some(customer):
            item = {"id": sub["items"].data[0].id, "quantity": self.chance.randint(1, 99)}
            self._update(sub, items=[item], proration_behavior="none")

    def add_item(self, customer: str) -> None:
        for sub in self._some(customer):
            price = self.shop.price("business_monthly")
            self._update(sub, items=[{"price": price}], proration_behavior="none")

    def cancel(self, customer: str) -> None:
        for sub in self._some(customer):
            self.shop.merchant.v1.subscriptions.cancel(sub.id)

    def cancel_later(self, customer: str) -> None:
        for sub in self._some(customer):
            self._update(sub, cancel_at_period_end=True)

    def take_back(self, customer: str) -> None:
        for sub in self._some(customer):
            self._update(sub, cancel_at_period_end=False)

    def pause(self, customer: str) -> None:
        for sub in self._some(customer):
            paused = sub.pause_collection is not None
            self._update(sub, pause_collection="" if paused else {"behavior": "void"})

    def card_fails(self, customer: str) -> None:
        for sub in self._some(customer):
            card = self.shop.give_card(customer, "chargeCustomerFail")
            self._update(sub, default_payment_method=card)

    def rename(self, customer: str) -> None:
        name = f"Name {self.chance.randint(1, 99)}"
        self.shop.merchant.v1.customers.update(customer, {"name": name})

    def wait(self, _: str) -> None:
        self.shop.box.advance(self.chance.randint(1, LONGEST) * DAY)

    def delete(self, customer: str) -> None:
        self.shop.merchant.v1.customers.delete(customer)

    def _some(self, customer: str) -> list[sdk.Subscription]:
        found = self.shop.merchant.v1.subscriptions.list({"customer": customer}).data
        return self.chance.sample(found, min(1, len(found)))

    def _update(self, sub: sdk.Subscription, **fields: Any) -> None:
        self.shop.merchant.v1.subscriptions.update(sub.id, fields)  # type: ignore[arg-type]
