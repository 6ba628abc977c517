"""Run the service: Granian serves, our application answers."""

import os
from pathlib import Path

from tenure.base import log, settings
from tenure.base.settings import Settings
from tenure.entry.http.app import App


def make() -> App:
    """Make the application in a serving process, from the environment it was given."""
    found = settings.load(os.environ, Path(".env"), need="serve")
    log.set_up(form=found.log_format, level=found.log_level)
    return App(found)


def run(found: Settings, *, processes: int = 1) -> None:
    """Serve until told to stop; add as many processes as there are cores to spare."""
    from granian.constants import Interfaces, Loops  # noqa: PLC0415 (the OpenAPI page needs no server)
    from granian.server import Server  # noqa: PLC0415 (as above)

    Server(
        "tenure.entry.http.server:make",
        factory=True,
        address=found.host,
        port=found.port,
        interface=Interfaces.ASGI,
        workers=processes,
        loop=Loops.uvloop,
        websockets=False,
        log_enabled=False,
        backlog=2048,
        respawn_failed_workers=True,
        workers_kill_timeout=10,
    ).serve()
