"""Run the service: uvicorn serves, our application answers."""

import os
import signal
from pathlib import Path
from types import FrameType

import uvicorn

from tenure.base import log, settings
from tenure.base.settings import Settings
from tenure.entry.http.app import App

MAKE = "tenure.entry.http.server:make"
GRACE = 8  # seconds that requests under way get when we are told to stop
KEEP_ALIVE = 75  # seconds; longer than the load balancers before us, so that they hang up first


def make() -> App:
    """Make the application in a serving process, from the environment it was given."""
    found = settings.load(os.environ, Path(".env"), need="serve")
    log.set_up(form=found.log_format, level=found.log_level)
    return App(found)


def run(found: Settings, *, processes: int = 1) -> None:
    """Serve until told to stop; add as many processes as there are cores to spare."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again when it has stopped in peace; being told to is no failure.
        signal.signal(number, _stopped_in_peace)
    uvicorn.run(
        App(found) if processes == 1 else MAKE,
        factory=processes > 1,
        workers=processes,
        host=found.host,
        port=found.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,  # lines of libraries come out in our form
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )


def _stopped_in_peace(_number: int, _frame: FrameType | None) -> None:
    """Do nothing more."""
