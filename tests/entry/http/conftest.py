from collections.abc import AsyncIterator, Iterator

import pytest

from tenure.base.db import Db
from tenure.sandbox.stripe.running import Box, running_stripe
from tests.entry.http.house import House, a_house, settings_for
from tests.identity.clerk_scene import Scene, a_scene


@pytest.fixture(scope="session")
def scene() -> Iterator[Scene]:
    """A Clerk of this session; its clock, which is ours too, only ever moves forward."""
    with a_scene() as made:
        yield made


@pytest.fixture(scope="session")
def stripe_box() -> Iterator[Box]:
    with running_stripe(seed=True) as made:
        yield made


@pytest.fixture
def box(stripe_box: Box) -> Iterator[Box]:
    """A Stripe without trouble; what a test plans is forgotten after it."""
    yield stripe_box
    stripe_box.control("DELETE", "/faults")


@pytest.fixture
async def house(url: str, db: Db, scene: Scene, box: Box) -> AsyncIterator[House]:
    found = settings_for(url, stripe=box.url, clerk=scene.clerk.url)
    async with a_house(found, db, scene=scene, box=box) as made:
        yield made
