"""The gate in somebody else's application, as docs/how-to/guard-your-app.md shows it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Request

from tenure.base.settings import Settings
from tenure.entry.http import answers
from tenure.entry.http.guard import Caller, needs
from tenure.entry.world import open_gate, open_service, open_world
from tenure.gate.asgi import GateMiddleware, Scope
from tenure.gate.model import Needs
from tenure.sandbox.stripe.running import Box
from tests.entry.http.house import bearer, living, settings_for
from tests.identity.clerk_scene import Scene

Reporter = Annotated[Caller, Depends(needs(roles={"admin"}, features={"reports"}))]
Member = Annotated[Caller, Depends(needs(subscription=False))]
Admin = Annotated[Caller, Depends(needs(subscription=False, roles={"admin"}))]
Self = Annotated[Caller, Depends(needs(subscription=False, roles={"admin"}, personal=True))]


@pytest.fixture
def found(url: str, scene: Scene, box: Box) -> Settings:
    return settings_for(url, stripe=box.url, clerk=scene.clerk.url)


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with (
        living(app),  # type: ignore[arg-type]
        httpx.AsyncClient(transport=transport, base_url="http://app.test") as client,
    ):
        yield client


def guarded(found: Settings, scene: Scene) -> FastAPI:
    """Make an application with the middleware, opened in its lifespan."""

    def needs_of(scope: Scope) -> Needs | None:
        return {"/": None, "/members": Needs(subscription=False)}.get(scope["path"], Needs())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_world(found, clock=scene.clock) as world, open_gate(world) as gate:
            app.state.gate = gate
            yield

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(GateMiddleware, gate=lambda: app.state.gate, needs_of=needs_of)

    @app.get("/{path:path}")
    async def show(path: str, request: Request) -> str:
        decision = request.scope.get("tenure")
        return decision.reason if decision else f"nobody asked for /{path}"

    return app


async def test_the_middleware_guards_another_application(found: Settings, scene: Scene) -> None:
    """B8, M3: opened in its lifespan, opted out of by route, closed by default."""
    headers = bearer(scene.mint(session_id=scene.a_session()["id"]))
    async with client_of(guarded(found, scene)) as client:
        said = [
            (await client.get(path, headers=headers)).status_code
            for path in ("/", "/members", "/else")
        ]
        member = await client.get("/members", headers=headers)

    assert said == [200, 200, 402]
    assert member.json() == "subscription_not_asked"


def with_dependencies(found: Settings, scene: Scene) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_world(found, clock=scene.clock) as world, open_service(world) as service:
            app.state.service = service
            yield

    app = FastAPI(lifespan=lifespan)
    answers.install(app)

    @app.get("/reports")
    async def reports(caller: Reporter) -> str:
        return caller.actor

    @app.get("/members")
    async def members(caller: Member) -> str:
        return str(caller.owner)

    @app.get("/admins")
    async def admins(caller: Admin) -> str:
        return caller.actor

    @app.get("/selves")
    async def selves(caller: Self) -> str:
        return str(caller.owner)

    return app


async def test_the_dependency_guards_a_route(found: Settings, scene: Scene) -> None:
    """B8, M3: `needs(...)` with roles and features, in the one error shape."""
    headers = bearer(scene.mint(session_id=scene.a_session()["id"]))
    async with client_of(with_dependencies(found, scene)) as client:
        nobody = await client.get("/reports")
        poor = await client.get("/reports", headers=headers)
        member = await client.get("/members", headers=headers)

    assert (nobody.status_code, nobody.json()["error"]["code"]) == (401, "identity.no_token")
    assert (poor.status_code, poor.json()["error"]["code"]) == (402, "gate.no_subscription")
    assert member.json().startswith("org:")


async def test_a_role_is_not_had_by_leaving_the_organization_out(
    found: Settings, scene: Scene
) -> None:
    """M3: a session without an organization is no admin, unless the route is for her own sake."""
    user = scene.post("/v1/users", first_name="Grace")
    session = scene.post("/v1/sessions", user_id=user["id"])
    headers = bearer(scene.mint(session_id=session["id"]))
    async with client_of(with_dependencies(found, scene)) as client:
        admins = await client.get("/admins", headers=headers)
        selves = await client.get("/selves", headers=headers)

    assert (admins.status_code, admins.json()["error"]["code"]) == (403, "gate.role_missing")
    assert selves.json().startswith("user:")


async def test_who_impersonates_somebody_is_named(found: Settings, scene: Scene) -> None:
    session = scene.a_session()
    token = scene.mint(session_id=session["id"], claims={"act": {"sub": "user_support"}})
    async with client_of(with_dependencies(found, scene)) as client:
        said = await client.get("/admins", headers=bearer(token))

    assert said.json().endswith(" by user_support")
