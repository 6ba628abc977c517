"""A Clerk inside the test, with a receiver of its webhooks and a clock that stands."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from tenure.base.clock import StoppedClock
from tenure.base.ids import CountedIds
from tenure.sandbox.clerk.app import Inside, Setup, clerk_inside

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MS = int(START.timestamp() * 1000)
HOOK = "http://app.test/webhooks/clerk"


@dataclass(kw_only=True)
class Room:
    clerk: Inside
    clock: StoppedClock
    received: list[httpx.Request] = field(default_factory=list)

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        answer = await self.clerk.http.request(method, path, json=body or None)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, **body: Any) -> Any:
        return await self.ask("POST", path, **body)

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.clerk.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def a_user(self, **given: Any) -> str:
        return (await self.post("/v1/users", **({"first_name": "Ada"} | given)))["id"]

    async def an_org(self, **given: Any) -> str:
        return (await self.post("/v1/organizations", **({"name": "Acme"} | given)))["id"]

    async def events(self) -> list[dict[str, Any]]:
        return [event["body"] for event in (await self.get("/_sandbox/events"))["data"]]

    async def kinds(self) -> list[str]:
        return [event["type"] for event in await self.events()]

    async def deliver(self) -> list[str]:
        """Deliver what is due; tell the types of everything that ever arrived."""
        await self.clerk.world.courier.deliver_due()
        return [json.loads(request.content)["type"] for request in self.received]


@asynccontextmanager
async def a_room(**setup: Any) -> AsyncIterator[Room]:
    received: list[httpx.Request] = []

    async def take(request: httpx.Request) -> httpx.Response:
        received.append(request)
        return httpx.Response(200)

    usual: Setup = {"clock": StoppedClock(START), "ids": CountedIds(), "webhook_url": HOOK}
    given: Any = usual | setup
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(take)) as http,
        clerk_inside(**{"http": http, **given}) as clerk,
    ):
        yield Room(clerk=clerk, clock=given["clock"], received=received)
