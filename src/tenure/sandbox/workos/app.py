"""The pretended WorkOS as a web application, in this process or in its own."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

import httpx
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tenure.base.clock import Clock
from tenure.base.ids import Ids, RandomIds
from tenure.sandbox import jose
from tenure.sandbox.faults import Watch
from tenure.sandbox.serving import a_port, beside, carrying, make_server, port_of, saving, url_at
from tenure.sandbox.workos import (
    authenticate,
    control,
    directory,
    events,
    invitations,
    memberships,
    organizations,
    poison,
    seed,
    sessions,
    users,
    webhooks,
)
from tenure.sandbox.workos.asked import STALE, check_key, refuse
from tenure.sandbox.workos.faults import Fault, spoil
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.state import Policy, found_state, load
from tenure.sandbox.workos.world import SCHEDULE, World

INSIDE = "http://workos.test"
KEYLESS = (
    "/sso/jwks/",
    "/user_management/authenticate",
    "/user_management/sessions/logout",
)


class Setup(TypedDict, total=False):
    """What a sandbox starts with; everything may be left out."""

    state: Path | None  # what happens is kept in this file
    api_key: str | None
    client_id: str | None
    policy: Policy | None
    clock: Clock | None
    ids: Ids | None
    webhook_url: str
    webhook_secret: str | None
    webhook_scale: float  # of the waits between the tries of a webhook
    http: httpx.AsyncClient | None  # carries the webhooks; a server brings its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A sandbox that is up; its world belongs to another thread, so ask it over HTTP."""

    url: str
    api_key: str
    client_id: str
    webhook_secret: str
    world: World


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A sandbox inside of this process, that nobody else can reach."""

    url: str
    api_key: str
    client_id: str
    webhook_secret: str
    world: World
    transport: httpx.ASGITransport  # for any client that shall reach it
    http: httpx.AsyncClient  # with the API key; paths begin at the root


class Door:
    """Stands before the routes: counts, breaks what shall break, asks for the key, saves."""

    def __init__(self, app: ASGIApp, *, world: World, watch: Watch[Fault]) -> None:
        self._app = app
        self._world = world
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"].startswith("/_sandbox"):
            return await self._inside(scope, receive, send)
        method, path = scope["method"], scope["path"]
        fault = self._watch.strike(method, path)
        if fault is None:
            return await self._checked(scope, receive, send)
        return await self._struck(fault, scope, receive, send)

    async def _struck(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.name == "latency":
            await asyncio.sleep(fault.wait())
        elif fault.name == "stale":
            scope[STALE] = fault.back
        else:
            return await spoil(fault, self._checked, scope, receive, send)
        return await self._checked(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if not scope["path"].startswith(KEYLESS):
                check_key(self._world, Headers(scope=scope))
        except Refused as exc:
            return await JSONResponse(exc.body, exc.status)(scope, receive, send)
        return await self._inside(scope, receive, send)

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        looks = scope["type"] != "http" or scope["method"] == "GET"
        if looks and not scope.get("path", "").endswith("/logout"):
            return await self._app(scope, receive, send)
        return await self._app(scope, receive, saving(self._world.save, send))


def build(world: World) -> ASGIApp:
    """Put the routes together; a server's life starts and ends the deliveries of webhooks."""
    routes = [
        *(*users.routes, *sessions.routes, *organizations.routes, *memberships.routes),
        *(*invitations.routes, *events.routes, *authenticate.routes),
        *(*control.routes, *directory.routes, *seed.routes),
        *(*poison.routes, *webhooks.routes),  # ours shows more events than the courier's door
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={Refused: refuse},
        lifespan=lambda _: carrying(world.courier, world.save),
    )
    app.state.world = world
    app.state.watch = watch = Watch[Fault]()
    return Door(app, world=world, watch=watch)


def open_world(url: str, *, pem: str | None = None, **setup: Unpack[Setup]) -> World:
    """Load or found the environment that will be served at `url`.

    Errors: UnreadableState.
    """
    ids, path = setup.get("ids") or RandomIds(), setup.get("state")
    state = load(path) if path is not None and path.exists() else found_state(ids)
    state.api_key = setup.get("api_key") or state.api_key
    state.client_id = setup.get("client_id") or state.client_id
    state.webhook_secret = setup.get("webhook_secret") or state.webhook_secret
    state.policy = setup.get("policy") or state.policy
    world = World(
        state,
        url=url,
        clock=setup.get("clock"),
        ids=ids,
        path=path,
        http=setup.get("http"),
        schedule=replace(SCHEDULE, scale=setup.get("webhook_scale", 1.0)),
    )
    world.pem = pem
    hook = setup.get("webhook_url")
    if hook and hook not in {endpoint.url for endpoint in world.courier.endpoints()}:
        world.courier.register(hook, state.webhook_secret)
    world.save()
    return world


def run(*, port: int, **setup: Unpack[Setup]) -> None:
    """Serve in this process until it is told to stop."""
    world = open_world(url_at(port), **setup)
    make_server(build(world), port).run()


@contextlib.contextmanager
def running_workos(**setup: Unpack[Setup]) -> Generator[Running]:
    """Serve on a free port beside the caller, in a thread, until the block ends."""
    with a_port() as listener:
        world = open_world(url_at(port_of(listener)), **setup)
        with beside(make_server(build(world)), listener, "WorkOS"):
            yield Running(
                url=world.url,
                api_key=world.state.api_key,
                client_id=world.state.client_id,
                webhook_secret=world.state.webhook_secret,
                world=world,
            )


@contextlib.asynccontextmanager
async def workos_inside(url: str = INSIDE, **setup: Unpack[Setup]) -> AsyncGenerator[Inside]:
    """Open one without a port or a thread; its webhooks go out by `world.courier.deliver_due()`.

    They are carried by the `http` of the setup. All of these share their first signing key.
    """
    world = open_world(url, pem=jose.shared_pem("workos"), **setup)
    transport = httpx.ASGITransport(build(world))
    headers = {"authorization": f"Bearer {world.state.api_key}"}
    async with httpx.AsyncClient(transport=transport, base_url=url, headers=headers) as http:
        yield Inside(
            url=url,
            api_key=world.state.api_key,
            client_id=world.state.client_id,
            webhook_secret=world.state.webhook_secret,
            world=world,
            transport=transport,
            http=http,
        )
