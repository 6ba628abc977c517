"""An issuer's keys on this machine, with a counter: `GET /count` tells and begins again at 0.

A path that begins with /far takes as long as an issuer across a network does.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

KEYS = os.environ.get("BENCH_JWKS", "{}").encode()
FAR = 0.02  # seconds
fetches: list[str] = []


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer any path with the keys."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = KEYS
    if scope["path"] == "/count":
        body = str(len(fetches)).encode()
        fetches.clear()
    else:
        fetches.append(scope["path"])
        if scope["path"].startswith("/far"):
            await asyncio.sleep(FAR)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
