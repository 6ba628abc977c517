"""Stripe's limits are kept by one allowance, however many clients share it."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tenure.base.budget import Budget, BudgetSpent
from tenure.base.db import Db, open_pool
from tenure.billing.errors import StripeBusy
from tenure.billing.stripe import Stripe
from tenure.sandbox.stripe.model import Policy
from tenure.sandbox.stripe.running import Box, running_stripe

from .shop import nothing

BUDGET = Budget(name="stripe:test", every=timedelta(seconds=1 / 20), burst=5)


@pytest.fixture
def strict() -> Iterator[Box]:
    """A Stripe with the limit of a real sandbox: 25 requests a second."""
    with running_stripe(policy=Policy(rate=25)) as box:
        yield box


async def ask(stripe: Stripe, times: int) -> int:
    """Ask at once, and count the 429s."""
    calls = [stripe.call("get", "/v1/customers") for _ in range(times)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    odd = [a for a in answers if isinstance(a, Exception) and not isinstance(a, StripeBusy)]
    assert odd == []
    return sum(isinstance(a, StripeBusy) for a in answers)


async def test_two_clients_with_one_allowance_are_never_told_to_slow_down(
    strict: Box, url: str, db: Db
) -> None:
    """B7, pain 12 (dj-stripe#2127): 429 during sync; the allowance is shared through Postgres."""
    async with open_pool(url, size=4) as pool:
        other = Db(pool)
        one, two = (
            Stripe("sk_test_x", api_base=strict.url, spend=lambda d=d: BUDGET.spend(d))
            for d in (db, other)
        )
        refused = await asyncio.gather(ask(one, 30), ask(two, 30))
        await one.close()
        await two.close()

    assert refused == [0, 0]
    assert strict.requests() == {"GET /v1/customers": 60}


async def test_without_an_allowance_the_same_calls_are_told_to_slow_down(strict: Box) -> None:
    free = Stripe("sk_test_x", api_base=strict.url, spend=nothing)

    assert await ask(free, 60) > 0

    await free.close()


async def test_a_call_that_would_wait_too_long_fails_at_once_and_takes_nothing(
    strict: Box, db: Db
) -> None:
    tight = Budget(name="tight", every=timedelta(hours=1), burst=1, patience=timedelta(0))
    stripe = Stripe("sk_test_x", api_base=strict.url, spend=lambda: tight.spend(db))

    await stripe.call("get", "/v1/customers")
    for _ in range(3):
        with pytest.raises(BudgetSpent):
            await stripe.call("get", "/v1/customers")

    assert strict.requests() == {"GET /v1/customers": 1}
    await stripe.close()
