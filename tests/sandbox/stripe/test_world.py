from datetime import timedelta

import pytest

from tenure.base.clock import StoppedClock, moment
from tenure.base.ids import CountedIds
from tenure.sandbox.stripe.model import Policy
from tenure.sandbox.stripe.resources import customers, subscriptions
from tenure.sandbox.stripe.route import Call
from tenure.sandbox.stripe.seed import seed
from tenure.sandbox.stripe.world import World, new_world

START = 1_800_000_000


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock(moment(START))


@pytest.fixture
def world(clock: StoppedClock) -> World:
    return new_world(Policy(), clock=clock, ids=CountedIds())


def test_real_time_brings_renewals_too(world: World, clock: StoppedClock) -> None:
    price = seed(world.test)["prices"]["team_monthly"]
    customer = customers.create(Call(books=world.test, params={"email": "a@b.test"}, path={}))
    given = {
        "customer": customer["id"],
        "items": [{"price": price}],
        "collection_method": "send_invoice",
        "days_until_due": 60,
    }
    sub = subscriptions.create(Call(books=world.test, params=given, path={}))

    clock.tick(timedelta(days=32))
    assert world.catch_up() == 2

    billed = world.test.owned("invoice", customer["id"])
    assert [i["created"] for i in billed] == [START, START + 31 * 86_400]
    assert (sub["status"], world.state.offset) == ("active", 0)


def test_the_same_run_makes_the_same_names() -> None:
    first, second = (
        seed(new_world(clock=StoppedClock(moment(START)), ids=CountedIds()).test) for _ in "ab"
    )

    assert first == second
