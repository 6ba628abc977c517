import psycopg
import pytest

from tenure.schema import apply, changes
from tests.conftest import recreate


@pytest.fixture
def empty(admin: str) -> str:
    return recreate(admin, "tenure_empty", "template0")


def test_every_change_goes_up_down_and_up_again(empty: str) -> None:
    """S1: one command creates everything; each change can be taken back."""
    all_changes = changes.load()
    assert not apply.apply(empty, all_changes).pending

    for change in reversed(all_changes):
        state = apply.back(empty, all_changes, to=change.number - 1)
        assert [c.number for c in state.applied] == list(range(1, change.number))
    with psycopg.connect(empty) as conn:
        left = conn.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('tenure')"
        )
        assert left.fetchone() == (0,)

    assert not apply.apply(empty, all_changes).pending
