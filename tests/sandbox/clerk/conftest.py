from collections.abc import AsyncIterator, Iterator

import pytest
from clerk_backend_api import Clerk

from tenure.base.ids import CountedIds
from tenure.sandbox.clerk.app import Running, running_clerk

from .inside import Room, a_room


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with a_room() as room:
        yield room


@pytest.fixture(scope="module")
def clerk() -> Iterator[Running]:
    with running_clerk(ids=CountedIds()) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(clerk: Running) -> Iterator[Clerk]:
    with Clerk(bearer_auth=clerk.secret_key, server_url=f"{clerk.url}/v1") as sdk:
        yield sdk
