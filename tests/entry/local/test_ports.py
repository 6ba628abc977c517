import socket
from collections.abc import Iterator

import pytest

from tenure.entry.local import ports
from tenure.entry.local.errors import PortTaken
from tenure.sandbox.postgres import free_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def free_ones() -> dict[str, int]:
    return {name: free_port() for name in ("stripe", "identity", "postgres")}


def test_the_ports_of_the_last_time_are_chosen_again() -> None:
    kept, service = free_ones(), free_port()
    chosen, notes = ports.choose(kept, service=service)
    assert (chosen.stripe, chosen.identity, chosen.postgres) == tuple(kept.values())
    assert chosen.service == service
    assert notes == []


def test_a_port_that_is_taken_is_said_and_another_one_chosen(taken: int) -> None:
    chosen, notes = ports.choose({**free_ones(), "identity": taken}, service=free_port())
    assert chosen.identity != taken
    assert notes == [f"port {taken} is taken, so identity listens on {chosen.identity}"]


def test_a_port_that_was_asked_for_is_not_exchanged(taken: int) -> None:
    with pytest.raises(PortTaken, match=str(taken)):
        ports.choose({}, service=taken)


def test_no_port_is_given_twice() -> None:
    service = free_port()
    kept = {"stripe": service, "identity": service, "postgres": service}
    chosen, notes = ports.choose(kept, service=service)
    assert len({chosen.service, chosen.stripe, chosen.identity, chosen.postgres}) == 4
    assert len(notes) == 3


def test_strange_notes_of_the_last_time_are_no_ports() -> None:
    kept = {**free_ones(), "stripe": "many", "else": 7}
    chosen, _ = ports.choose(kept, service=free_port())
    assert isinstance(chosen.stripe, int)
