"""The inbox's front: many requests, one statement, and an answer only after its commit."""

import asyncio
from collections.abc import Sequence
from typing import Protocol, Self

from tenure.base.db import DatabaseAway, Db
from tenure.journal import store
from tenure.journal.errors import InboxFull
from tenure.journal.model import Knock

BATCH = 500  # knocks in one statement at most
ROOM = 20_000  # knocks in memory at most
WRITERS = 2  # one statement is written while the next one is gathered
GIVE_UP = 8.0  # seconds; providers wait longer than that
CLOSED = "the process stops; the event was not committed"


class Keeper(Protocol):
    """What a webhook route needs: keep one event, durably."""

    async def keep(self, knock: Knock) -> None:
        """Return once the event is committed."""
        ...


class Inbox:
    """Gathers what is sent at the same time and commits it together."""

    def __init__(self, db: Db) -> None:
        self._db = db
        self._waiting: list[tuple[Knock, asyncio.Future[None]]] = []
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
        while True:
            await self._some.wait()
            taken, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            if not self._waiting:
                self._some.clear()
            if not taken:  # the other writer was quicker
                continue
            try:
                await self._commit(taken)
            finally:
                _answer(taken, DatabaseAway(CLOSED))  # who has no answer yet: we are being closed

    async def _commit(self, taken: list[tuple[Knock, asyncio.Future[None]]]) -> None:
        try:
            async with asyncio.timeout(GIVE_UP):
                await self._put([knock for knock, _ in taken])
        except TimeoutError:
            _answer(taken, DatabaseAway(f"the database did not commit within {GIVE_UP:.0f} s"))
        except Exception as exc:  # noqa: BLE001 (whatever it is, every request must hear of it)
            if len(taken) > 1 and not isinstance(exc, DatabaseAway):
                for one in taken:  # one bad event must not hold up the others
                    await self._commit([one])
            else:
                _answer(taken, exc)
        else:
            _answer(taken, None)

    async def _put(self, knocks: Sequence[Knock]) -> None:
        async with self._db.statement() as tx:
            await store.put_knocks(tx, knocks)


def _answer(
    taken: Sequence[tuple[Knock, asyncio.Future[None]]], problem: BaseException | None
) -> None:
    for _, answer in taken:
        if answer.done():  # the client went away
            continue
        if problem is None:
            answer.set_result(None)
        else:
            answer.set_exception(problem)
