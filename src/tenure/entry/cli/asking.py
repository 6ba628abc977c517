"""A world for a command that asks and writes once, and ends."""

import asyncio
import io
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TextIO, TypeVar, cast

import psycopg
from psycopg import AsyncConnection

from tenure.base import log
from tenure.base.settings import Settings
from tenure.entry.cli.environment import settings_for
from tenure.entry.cli.looking import cannot_look
from tenure.entry.world import World, open_world

T = TypeVar("T")
ACTOR = "tenure:cli"  # how the audit log names whoever may run commands here
LEVEL = "TENURE_LOG_LEVEL"
WAIT = 5  # seconds


class Aside(io.TextIOBase):
    """Standard error, whichever that is when something is written: the answer stands alone."""

    def write(self, text: str, /) -> int:
        """Write there."""
        return sys.stderr.write(text)


def in_world(job: Callable[[World], Awaitable[T]]) -> T:
    """Open the database and the providers, do a job with them, and close them again.

    Errors: BadSettings, CannotLook, and whatever the job raises.
    """
    settings = settings_for("db")
    quiet_log(settings)

    async def done() -> T:
        await _answers(settings.database_url or settings.database_direct_url)
        async with open_world(settings) as world:
            return await job(world)

    try:
        return asyncio.run(done())
    except psycopg.Error as exc:
        raise cannot_look(exc) from exc


def quiet_log(settings: Settings) -> None:
    """Leave standard error to the one line that says what went wrong, unless more was asked for."""
    is_asked = LEVEL in os.environ or settings.log_level != "info"
    level = settings.log_level if is_asked else "error"
    log.set_up(form="text", level=level, stream=cast("TextIO", Aside()))


async def _answers(url: str) -> None:
    """Connect once: a pool would try again and again, and keep the cause to itself."""
    async with await AsyncConnection.connect(url, connect_timeout=WAIT, prepare_threshold=None):
        pass
