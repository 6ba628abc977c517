"""A WorkOS sandbox in this process, whoever asks it, and one clock for both."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from tenure.base.clock import StoppedClock
from tenure.base.ids import CountedIds
from tenure.identity.workos import WorkosDirectory
from tenure.sandbox.workos.app import build, open_world
from tenure.sandbox.workos.world import World

MEMBERSHIPS = "/user_management/organization_memberships"


@dataclass(frozen=True, kw_only=True)
class Scene:
    world: World
    clock: StoppedClock
    http: httpx.AsyncClient  # with the key
    directory: WorkosDirectory

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        answer = await self.http.request(method, path, json=body or None)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def a_user(self, name: str = "ada") -> str:
        return (await self.ask("POST", "/user_management/users", email=f"{name}@example.com"))["id"]

    async def an_org(self, name: str = "Analytical Engines") -> str:
        return (await self.ask("POST", "/organizations", name=name))["id"]

    async def a_member(self, org: str, user: str, **given: str) -> str:
        made = await self.ask("POST", MEMBERSHIPS, organization_id=org, user_id=user, **given)
        return made["id"]

    async def fail(self, name: str, **fault: Any) -> None:
        await self.ask("POST", "/_sandbox/faults", name=name, **fault)

    async def behave(self, **policy: Any) -> None:
        await self.ask("PATCH", "/_sandbox/policy", **policy)

    async def inject(self, **event: Any) -> str:
        return (await self.ask("POST", "/_sandbox/events", webhook=False, **event))["id"]

    async def requests(self) -> dict[str, int]:
        return (await self.ask("GET", "/_sandbox/requests"))["by_path"]

    def events(self) -> list[bytes]:
        """All there ever were, as a webhook or a list would show them."""
        kept = self.world.state.events
        return [msgspec.json.encode(kept[key].event) for key in self.world.event_ids]

    def other(
        self, key: str = "", base: str = "", spend: Callable[[], Awaitable[None]] | None = None
    ) -> WorkosDirectory:
        """Somebody else who asks; `spend` may keep her waiting before each call."""
        return WorkosDirectory(
            key or self.world.state.api_key,
            api_base=base or self.world.url,
            http=self.http,
            spend=spend or at_once,
        )


async def at_once() -> None:
    """Take a call's turn without waiting."""


@asynccontextmanager
async def a_scene(clock: StoppedClock) -> AsyncIterator[Scene]:
    world = open_world("http://workos.test", clock=clock, ids=CountedIds())
    transport = httpx.ASGITransport(build(world))
    headers = {"authorization": f"Bearer {world.state.api_key}"}
    async with (
        httpx.AsyncClient(transport=transport, base_url=world.url, headers=headers) as http,
        httpx.AsyncClient(transport=transport) as ours,
    ):
        directory = WorkosDirectory(
            world.state.api_key, api_base=world.url, http=ours, spend=at_once
        )
        yield Scene(world=world, clock=clock, http=http, directory=directory)
