"""The inbox's front: many requests, one statement, and an answer only after its commit."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Self

from tenure.base.db import DatabaseAway, Db, Tx
from tenure.journal import store
from tenure.journal.errors import InboxFull
from tenure.journal.model import Knock

BATCH = 128  # knocks in one statement at most
ROOM = 20_000  # knocks in memory at most
WRITERS = 2  # one statement is written while the next one is gathered
GIVE_UP = 8.0  # seconds; providers wait longer than that
SLOW = f"the database did not commit within {GIVE_UP:.0f} s"
CLOSED = "the process stops; the event was not committed"

Waiting = tuple[Knock, "asyncio.Future[None]"]


class Inbox:
    """Gathers what is sent at the same time and commits it together."""

    def __init__(self, db: Db) -> None:
        self._db = db
        self._waiting: list[Waiting] = []
        self._some = asyncio.Event()
        self._writers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._writers = [asyncio.create_task(self._write()) for _ in range(WRITERS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.cancel()
        await asyncio.gather(*self._writers, return_exceptions=True)
        _answer(self._waiting, DatabaseAway(CLOSED))

    async def keep(self, knock: Knock) -> None:
        """Return once the event is committed.

        Errors: DatabaseAway, InboxFull. The provider must try again.
        """
        if len(self._waiting) >= ROOM:
            raise InboxFull(f"{ROOM} events wait to be written")
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((knock, answer))
        self._some.set()
        await answer

    async def _write(self) -> None:
        line = _Line(self._db)
        try:
            while True:
                await self._some.wait()
                if taken := self._take():
                    await self._commit(taken, line)
        finally:
            await line.drop()

    def _take(self) -> list[Waiting]:
        """Take what waits; nothing where the other writer was quicker."""
        taken, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
        if not self._waiting:
            self._some.clear()
        return taken

    async def _commit(self, taken: list[Waiting], line: "_Line") -> None:
        despair = asyncio.get_running_loop().call_later(GIVE_UP, self._despair, taken)
        try:
            async with asyncio.timeout(GIVE_UP):
                await line.put([knock for knock, _ in taken])
        except TimeoutError:
            _answer(taken, DatabaseAway(SLOW))
        except Exception as exc:  # noqa: BLE001 (whatever it is, every request must hear of it)
            if len(taken) > 1 and not isinstance(exc, DatabaseAway):
                for one in taken:  # one bad event must not hold up the others
                    await self._commit([one], line)
            else:
                _answer(taken, exc)
        else:
            _answer(taken, None)
        finally:
            despair.cancel()
            _answer(taken, DatabaseAway(CLOSED))  # who has no answer yet: we are being closed

    def _despair(self, taken: list[Waiting]) -> None:
        """Answer those whose commit takes too long, and those behind them, before it is undone."""
        behind, self._waiting = self._waiting, []
        _answer([*taken, *behind], DatabaseAway(SLOW))


class _Line:
    """A connection that one writer keeps: asking for one costs as much as a small batch."""

    def __init__(self, db: Db) -> None:
        self._db = db
        self._held: AbstractAsyncContextManager[Tx] | None = None
        self._tx: Tx | None = None

    async def put(self, knocks: Sequence[Knock]) -> None:
        """Write a batch; where the kept connection had died, once more on a new one.

        Errors: DatabaseAway.
        """
        kept = self._tx is not None
        try:
            await self._once(knocks)
        except DatabaseAway:
            if not kept:
                raise
            await self._once(knocks)  # events are kept once, however often they are written

    async def _once(self, knocks: Sequence[Knock]) -> None:
        if self._tx is None:
            self._held = self._db.statement()
            self._tx = await self._held.__aenter__()
        try:
            await store.put_knocks(self._tx, knocks)
        except BaseException as exc:
            await self.drop(exc)
            raise

    async def drop(self, exc: BaseException | None = None) -> None:
        """Give the connection back; with an error, as that error's end."""
        held, self._held, self._tx = self._held, None, None
        if held is not None:
            await held.__aexit__(
                type(exc) if exc else None, exc, exc.__traceback__ if exc else None
            )


def _answer(taken: Sequence[Waiting], problem: BaseException | None) -> None:
    for _, answer in taken:
        if answer.done():  # the client went away
            continue
        if problem is None:
            answer.set_result(None)
        else:
            answer.set_exception(problem)
