from collections.abc import AsyncIterator

import pytest

from tests.sandbox.workos.inside import Room, a_room


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with a_room() as room:
        yield room
