"""A process with a broker: `python -m tests.identity.refresh_process URL WORKOS… HANDLE what`.

It says that it is ready, waits for a line, and then `refresh`es, saying which token it got, or
stays open for `rescue` until it is killed.
"""

import asyncio
import sys
from dataclasses import dataclass

import httpx

from tenure.base.clock import SystemClock
from tenure.base.db import Db, open_pool
from tenure.base.ids import RandomIds
from tenure.identity.issuers import workos
from tenure.identity.refresh import Broker
from tenure.identity.sealed import Sealer
from tenure.identity.session import Verifier
from tenure.identity.workos_tokens import Door
from tests.identity.refresh_scene import at_once


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a process is started with."""

    url: str
    api_base: str
    client_id: str
    api_key: str
    key: str
    handle: str
    what: str


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(call: Call) -> None:
    door = Door(
        api_base=call.api_base, client_id=call.client_id, api_key=call.api_key, spend=at_once
    )
    clock, ids = SystemClock(), RandomIds()
    async with (
        open_pool(call.url, size=2, pooled=True) as pool,
        httpx.AsyncClient() as http,
        Verifier([workos(call.client_id, api_base=call.api_base)], clock=clock, http=http) as one,
    ):
        broker = Broker(Db(pool), door, Sealer([call.key]), verifier=one, clock=clock, ids=ids)
        say("ready")
        await asyncio.to_thread(sys.stdin.readline)
        if call.what == "rescue":
            async with broker:
                await asyncio.sleep(3600)
        for live in await asyncio.gather(*(broker.refresh(call.handle) for _ in range(2))):
            say(f"{live.is_fresh} {live.principal is not None} {live.access_token}")


if __name__ == "__main__":
    names = ("url", "api_base", "client_id", "api_key", "key", "handle", "what")
    asyncio.run(main(Call(**dict(zip(names, sys.argv[1:], strict=True)))))
