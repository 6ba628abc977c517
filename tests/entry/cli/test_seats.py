"""Who holds the seats, and how many there are."""

from collections.abc import Iterator

import pytest

from tests.entry.cli.conftest import Run
from tests.entry.cli.identity_scene import Scene, a_scene


@pytest.fixture
def scene(run: Run, url: str) -> Iterator[Scene]:
    with a_scene(run, url) as made:
        yield made


@pytest.fixture
def org(scene: Scene) -> str:
    """An organization of three."""
    made = scene.an_org(scene.a_user())
    for name in ("grace", "bob"):
        scene.join(made, scene.a_user(name))
    assert scene.tenure("sync", "backfill", "--json").status == 0
    return made


def test_who_holds_a_seat_is_told(scene: Scene, org: str) -> None:
    """M6: seats equal allocated memberships."""
    said = scene.tenure("seats", "explain", org)

    assert said.status == 0
    assert "3 seats taken, no limit" in said.out
    assert "holds a seat   ada, admin, active" in said.out
    assert scene.tenure("seats", "explain", org, "--json").json["is_right"]


def test_a_limit_by_hand_takes_seats_from_those_who_came_last(scene: Scene, org: str) -> None:
    said = scene.tenure("seats", "limit", org, "2")

    assert said.status == 0
    assert "2 seats taken, limit 2: set by hand" in said.out
    assert "beyond it      bob" in said.out
    assert "1 seat taken away by this limit: bob" in said.out
    assert "taken away" not in scene.tenure("seats", "limit", org, "2").out
    (lost,) = scene.tenure("seats", "limit", org, "1", "--json").json["lost"]
    assert lost["called"] == "grace"
    assert "no limit" in scene.tenure("seats", "limit", org, "none").out
    lines = scene.sql("SELECT actor FROM tenure.audit_log WHERE action = 'seats.limited'")
    assert [line["actor"] for line in lines] == ["tenure:cli"] * 4


def test_where_the_limit_comes_from_is_told(scene: Scene, org: str) -> None:
    scene.sql("UPDATE tenure.seats SET bought = 5")
    assert "limit 5: that many are bought" in scene.tenure("seats", "explain", org).out

    said = scene.tenure("seats", "limit", org, "4")

    assert "limit 4: set by hand; 5 are bought" in said.out


def test_a_wrong_counter_is_exit_1(scene: Scene, org: str) -> None:
    scene.sql("UPDATE tenure.seats SET used = 1")

    said = scene.tenure("seats", "explain", org)

    assert said.status == 1
    assert "WRONG: the counter says 1, the rows say 3" in said.out


@pytest.mark.parametrize("limit", ["-1", "x", "1.5", "99999999999"])
def test_what_is_no_number_is_refused(scene: Scene, org: str, limit: str) -> None:
    said = scene.tenure("seats", "limit", org, limit)

    assert (said.status, "cli.no_number" in said.err) == (2, True)
    assert "from 0 to 999999999" in said.err


def test_an_unknown_organization_is_said(scene: Scene) -> None:
    said = scene.tenure("seats", "explain", "org_none")

    assert (said.status, "identity.unknown_organization" in said.err) == (2, True)
