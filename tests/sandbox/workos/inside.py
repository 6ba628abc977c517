"""A WorkOS inside the test, its official SDK, a receiver of webhooks, a clock that stands."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from workos import AsyncWorkOSClient
from workos.organization_membership._resource import RoleSingle

from tenure.base.clock import StoppedClock
from tenure.base.ids import CountedIds
from tenure.sandbox.workos.app import Inside, workos_inside

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOOK = "http://app.test/webhooks/workos"
MEMBERSHIPS = "/user_management/organization_memberships"
ALL = (
    *("user.created", "user.updated", "user.deleted"),
    *("organization.created", "organization.updated", "organization.deleted"),
    *(f"organization_membership.{what}" for what in ("created", "updated", "deleted")),
    *("session.created", "session.revoked"),
    *(f"invitation.{what}" for what in ("created", "accepted", "resent", "revoked")),
)


@dataclass(kw_only=True)
class Room:
    workos: Inside
    sdk: AsyncWorkOSClient
    clock: StoppedClock
    received: list[httpx.Request] = field(default_factory=list)

    @property
    def http(self) -> httpx.AsyncClient:
        return self.workos.http

    def pass_(self, seconds: float) -> None:
        self.clock.tick(timedelta(seconds=seconds))

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        answer = await self.http.request(method, path, json=body or None)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def post(self, path: str, **body: Any) -> Any:
        return await self.ask("POST", path, **body)

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.http.get(path, params=query)
        assert answer.is_success, answer.text
        return answer.json()

    async def refused(self, method: str, path: str, **body: Any) -> tuple[int, str]:
        answer = await self.http.request(method, path, json=body or None)
        assert answer.is_error
        said = answer.json()
        return answer.status_code, said.get("code") or said["error"]

    async def a_user(self, email: str = "ada@example.com", **given: Any) -> str:
        return (await self.post("/user_management/users", email=email, **given))["id"]

    async def an_org(self, name: str = "Acme", **given: Any) -> str:
        return (await self.post("/organizations", name=name, **given))["id"]

    async def a_pair(self, email: str = "ada@example.com") -> tuple[str, str]:
        return await self.an_org(), await self.a_user(email)

    async def a_member(self, org: str, user: str, role: str | None = None) -> Any:
        return await self.sdk.organization_membership.create_organization_membership(
            user_id=user,
            organization_id=org,
            role=RoleSingle(role_slug=role) if role else None,
        )

    async def signed_in(self, user: str, org: str | None = None) -> Any:
        code = await self.post("/_sandbox/codes", user_id=user, organization_id=org)
        return await self.sdk.user_management.authenticate_with_code(code=code["code"])

    async def kinds(self, after: str = "") -> list[str]:
        """List the names of everything that happened."""
        return [e["type"] for e in (await self.get("/_sandbox/events", after=after))["data"]]

    async def last_event(self) -> str:
        return (await self.get("/_sandbox/events"))["data"][-1]["id"]

    async def events(self, **query: Any) -> Any:
        return await self.get("/events", **{"events": ",".join(ALL), "order": "asc"} | query)

    async def event_ids(self, **query: Any) -> list[str]:
        return [event["id"] for event in (await self.events(**query))["data"]]


@asynccontextmanager
async def a_room(**setup: Any) -> AsyncIterator[Room]:
    received: list[httpx.Request] = []

    async def take(request: httpx.Request) -> httpx.Response:
        received.append(request)
        return httpx.Response(200)

    clock = StoppedClock(START)
    given: Any = {"clock": clock, "ids": CountedIds(), "webhook_url": HOOK} | setup
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(take)) as http,
        workos_inside(**{"http": http, **given}) as workos,
        httpx.AsyncClient(transport=workos.transport) as plain,
    ):
        sdk = AsyncWorkOSClient(
            api_key=workos.api_key,
            client_id=workos.client_id,
            base_url=workos.url,
            http_client=plain,
            max_retries=0,
        )
        yield Room(workos=workos, sdk=sdk, clock=clock, received=received)
