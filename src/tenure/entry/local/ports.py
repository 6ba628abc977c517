"""Which port each process gets: the same ones every time, as long as nobody else has them."""

import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tenure.entry.local.errors import PortTaken
from tenure.sandbox.postgres import free_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports of one world, all on 127.0.0.1."""

    service: int = 8000
    stripe: int = 12_111
    identity: int = 12_112
    postgres: int = 12_120


def choose(kept: Mapping[str, object], *, service: int | None) -> tuple[Ports, list[str]]:
    """Choose the ports of a lasting world, and say what is not as usual.

    `kept`: those of the last time; `service`: the one that was asked for.
    Errors: PortTaken, where the one that was asked for cannot be had.
    """
    if service is not None and not is_free(service):
        raise PortTaken(f"somebody listens on port {service} already")
    usual: dict[str, int] = asdict(Ports())
    last = {name: port for name, port in kept.items() if name in usual and isinstance(port, int)}
    wanted = {**usual, **last, "service": service or usual["service"]}
    chosen: dict[str, int] = {}
    notes: list[str] = []
    for name, port in wanted.items():
        usable = is_free(port) and port not in chosen.values()
        chosen[name] = port if usable else _another(chosen)
        if chosen[name] != port:
            notes.append(f"port {port} is taken, so {name} listens on {chosen[name]}")
    return Ports(**chosen), notes


def any_free() -> Ports:
    """Choose ports for a world that does not last."""
    chosen: dict[str, int] = {}
    for name in asdict(Ports()):
        chosen[name] = _another(chosen)
    return Ports(**chosen)


def is_free(port: int) -> bool:
    """Say whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _another(chosen: Mapping[str, int]) -> int:
    while (port := free_port()) in chosen.values():
        pass
    return port
