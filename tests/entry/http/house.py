"""A whole service in this process: real Postgres, pretended Stripe and Clerk over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from tenure.base import settings
from tenure.base.db import Db
from tenure.base.settings import Settings
from tenure.entry.http.app import App
from tenure.entry.world import Service
from tenure.journal.reconcile import drain
from tenure.sandbox.stripe.running import Box
from tenure.sandbox.stripe.signing import signature
from tests.identity.clerk_scene import Scene

SECRET = "whsec_test"
ORIGIN = "http://localhost:3000"
SHAPE = {"code", "message", "hint", "request_id"}


def settings_for(database: str, *, stripe: str, clerk: str, **changes: Any) -> Settings:
    environ = {
        "DATABASE_URL": database,
        "STRIPE_SECRET_KEY": "sk_test_x",
        "STRIPE_WEBHOOK_SECRET": SECRET,
        "STRIPE_API_BASE": stripe,
        "CLERK_ISSUER": clerk,
        "CORS_ORIGINS": ORIGIN,
        "CLERK_AUTHORIZED_PARTIES": ORIGIN,
        "TENURE_STRIPE_RATE": "500",
        "TENURE_MAX_BODY_KB": "64",
    }
    return replace(settings.load(environ, None, need="serve"), **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A running service, and who can be sent to its doors."""

    app: App
    http: httpx.AsyncClient
    db: Db
    scene: Scene
    box: Box

    @property
    def service(self) -> Service:
        assert self.app._service is not None  # noqa: SLF001 (the lifespan has begun)
        return self.app._service  # noqa: SLF001 (as above)

    def someone(self, **session: Any) -> dict[str, str]:
        """Sign up with an organization, and give the headers of a request."""
        return self.as_session(self.scene.a_session(**session)["id"])

    def as_session(self, session_id: str, **asked: Any) -> dict[str, str]:
        return bearer(self.scene.mint(session_id=session_id, **asked))

    def member_of(self, org_id: str, role: str = "org:member") -> dict[str, str]:
        user = self.scene.post("/v1/users", first_name="Bob")
        self.scene.post(f"/v1/organizations/{org_id}/memberships", user_id=user["id"], role=role)
        session = self.scene.post("/v1/sessions", user_id=user["id"], organization_id=org_id)
        return self.as_session(session["id"])

    def event(self, number: int = 1, **changes: Any) -> bytes:
        """Write an event as Stripe does."""
        base = {
            "id": f"evt_{number}",
            "object": "event",
            "type": "customer.subscription.updated",
            "created": int(self.scene.clock.now().timestamp()),
            "livemode": False,
            "data": {"object": {"id": "sub_1", "object": "subscription", "customer": "cus_1"}},
        }
        return json.dumps(base | changes).encode()

    def signed(self, raw: bytes, *, secret: str = SECRET, ago: int = 0) -> dict[str, str]:
        at = int(self.scene.clock.now().timestamp()) - ago
        return {"stripe-signature": signature(raw, [secret], at)}

    async def knock(self, raw: bytes, **headers: str) -> httpx.Response:
        return await self.http.post(
            "/webhooks/stripe", content=raw, headers=headers or self.signed(raw)
        )

    async def kept(self) -> list[dict[str, Any]]:
        async with self.db.statement() as tx:
            cur = await tx.execute("SELECT * FROM tenure.inbox ORDER BY received_at, event_id")
            return await cur.fetchall()

    async def work(self) -> None:
        """Do what a worker would do."""
        world = self.service.world
        await drain(self.db, world.customers, world.pace, world.ids)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """Check the one error shape, and give what is in it."""
    error = answer.json()["error"]
    assert set(error) - {"fields"} == SHAPE, error
    assert error["request_id"] == answer.headers["x-request-id"]
    assert error["message"]
    assert answer.headers["content-type"].startswith("application/json")
    return error


@asynccontextmanager
async def living(app: App) -> AsyncIterator[None]:
    """Run an application's lifespan, as a server does."""
    orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "state": {}}, orders.get, told.put))
    await orders.put({"type": "lifespan.startup"})
    assert await _told(task, told) == "lifespan.startup.complete"
    try:
        yield
    finally:
        await orders.put({"type": "lifespan.shutdown"})
        assert await _told(task, told) == "lifespan.shutdown.complete"
        await task


async def _told(task: asyncio.Task[None], told: asyncio.Queue[dict[str, Any]]) -> str:
    waiting = asyncio.create_task(told.get())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        waiting.cancel()
        await task
        pytest.fail("the application ended without a word")
    return waiting.result()["type"]


@asynccontextmanager
async def a_house(found: Settings, db: Db, *, scene: Scene, box: Box) -> AsyncIterator[House]:
    app = App(found, clock=scene.clock)
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with (
        living(app),
        httpx.AsyncClient(transport=transport, base_url="http://tenure.test") as client,
    ):
        yield House(app=app, http=client, db=db, scene=scene, box=box)
