from collections.abc import AsyncIterator, Iterator

import pytest

from tenure.base.clock import StoppedClock
from tenure.base.db import Db
from tenure.base.ids import CountedIds
from tenure.billing.model import Owner
from tenure.billing.stripe import Stripe
from tenure.sandbox.stripe.running import Box, running_stripe

from .shop import Shop, merchant_of, new_org, stripe_of


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, str]]:
    """One sandbox for all tests of this folder, and the file with its first state."""
    first = str(tmp_path_factory.mktemp("stripe") / "first.json")
    with running_stripe(seed=True) as running:
        running.control("POST", "/save", path=first)
        yield running, first


@pytest.fixture
def box(started: tuple[Box, str]) -> Box:
    """A sandbox as new: a catalogue, and nothing else."""
    running, first = started
    running.control("DELETE", "/faults")
    running.control("POST", "/load", path=first)
    running.control("DELETE", "/requests")
    return running


@pytest.fixture
async def stripe(box: Box) -> AsyncIterator[Stripe]:
    found = stripe_of(box)
    yield found
    await found.close()


@pytest.fixture
def shop(box: Box, db: Db, stripe: Stripe, clock: StoppedClock, ids: CountedIds) -> Shop:
    return Shop(box=box, merchant=merchant_of(box), db=db, stripe=stripe, clock=clock, ids=ids)


@pytest.fixture
async def org(db: Db) -> Owner:
    return await new_org(db)
