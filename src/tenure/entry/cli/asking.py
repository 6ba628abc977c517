"""A world for a command that asks and writes once, and ends."""

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable
from typing import TextIO, TypeVar, cast

import psycopg

from tenure.base import log
from tenure.entry.cli.environment import settings_for
from tenure.entry.world import World, open_world
from tenure.schema.apply import CannotLook

T = TypeVar("T")
ACTOR = "tenure:cli"  # how the audit log names whoever may run commands here


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
    log.set_up(form="text", level="warning", stream=cast("TextIO", Aside()))

    async def done() -> T:
        async with open_world(settings) as world:
            return await job(world)

    try:
        return asyncio.run(done())
    except psycopg.Error as exc:
        raise CannotLook(str(exc).strip().splitlines()[0]) from exc
