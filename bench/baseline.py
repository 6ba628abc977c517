"""What people write first: one insert for each request; and what nobody can be faster than."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from tenure.base.clock import SystemClock
from tenure.base.db import Pool, open_pool
from tenure.billing import events, signature
from tenure.journal.model import Knock

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
SECRETS = (os.environ.get("STRIPE_WEBHOOK_SECRET", "whsec_x"),)
DATABASE = os.environ.get("DATABASE_URL", "")
INSERT = """
    INSERT INTO bench_inbox (event_id, kind, customer, body) VALUES (%s, %s, %s, %s)
    ON CONFLICT DO NOTHING
    """
OK = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"2")],
}
pool: list[Pool] = []


async def verify_only(scope: Scope, receive: Receive, send: Send) -> None:
    """Check the signature and answer; keep nothing."""
    if await is_request(scope, receive, send):
        await _knock(scope, receive)
        await answer(send)


async def insert_each(scope: Scope, receive: Receive, send: Send) -> None:
    """Check the signature, insert the event, answer: one commit for each request."""
    if not await is_request(scope, receive, send):
        return
    knock = await _knock(scope, receive)
    customer = knock.subject.id if knock.subject else None
    async with pool[0].connection() as conn:
        await conn.execute(INSERT, (knock.event_id, knock.kind, customer, knock.body))
    await answer(send)


async def is_request(scope: Scope, receive: Receive, send: Send) -> bool:
    """Say whether this is a request; what else there is, is dealt with here."""
    if scope["type"] == "lifespan":
        await receive()
        async with _opened():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
    return scope["type"] == "http"


@asynccontextmanager
async def _opened() -> AsyncGenerator[None]:
    if not DATABASE:
        yield
        return
    async with open_pool(DATABASE) as opened:
        pool.append(opened)
        yield


async def _knock(scope: Scope, receive: Receive) -> Knock:
    raw = (await receive())["body"]
    header = next(v.decode() for k, v in scope["headers"] if k == b"stripe-signature")
    signature.verify(raw, header, SECRETS, now=SystemClock().now())
    return events.knock_of(raw, livemode=False)


async def answer(send: Send) -> None:
    """Say that all is well."""
    await send(OK)
    await send({"type": "http.response.body", "body": b"{}"})


TABLE = """
    CREATE TABLE IF NOT EXISTS bench_inbox (
        event_id text PRIMARY KEY, kind text, customer text, body bytea,
        at timestamptz DEFAULT now())
    """
