from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tenure.sandbox.clerk.app import Running
from tenure.sandbox.stripe.running import Box
from tests.billing.shop import Shop
from tests.entry.worker.street import Street, a_shop, a_street, sandboxes


@pytest.fixture(scope="session")
def outside() -> Iterator[tuple[Box, Running, int]]:
    with sandboxes() as made:
        yield made


@pytest.fixture
def box(outside: tuple[Box, Running, int]) -> Iterator[Box]:
    yield outside[0]
    outside[0].control("DELETE", "/faults")


@pytest.fixture
def street(
    tmp_path: Path,
    url: str,
    outside: tuple[Box, Running, int],
    box: Box,
    request: pytest.FixtureRequest,
) -> Iterator[Street]:
    """Processes on the test's own database; what they logged is printed when the test fails."""
    with a_street(tmp_path, url, box, outside[1], outside[2]) as made:
        yield made
        request.node.add_report_section("call", "logs", made.logs()[-20_000:])


@pytest.fixture
async def shop(url: str, box: Box) -> AsyncIterator[Shop]:
    async with a_shop(url, box) as made:
        yield made
