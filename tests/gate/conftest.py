from collections.abc import Iterator

import pytest

from tests.identity.clerk_scene import Scene, a_scene


@pytest.fixture(scope="session")
def scene() -> Iterator[Scene]:
    """A Clerk of this session; its clock only ever moves forward."""
    with a_scene() as made:
        yield made
