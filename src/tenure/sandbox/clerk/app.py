"""The pretended Clerk as a web application, in this process or in its own."""

import contextlib
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from tenure.base.clock import Clock, SystemClock
from tenure.base.ids import Ids, RandomIds
from tenure.sandbox import jose
from tenure.sandbox.clerk import (
    control,
    invitations,
    members,
    organizations,
    sessions,
    svix,
    users,
)
from tenure.sandbox.clerk.door import Door
from tenure.sandbox.clerk.ratelimit import RateLimit
from tenure.sandbox.clerk.world import Refused, World, load
from tenure.sandbox.faults import FaultOfTime, Watch
from tenure.sandbox.mailroom import Unsendable
from tenure.sandbox.serving import a_port, beside, carrying, make_server, port_of, url_at

INSIDE = "http://clerk.test"
ORIGIN = "http://localhost:3000"


class Setup(TypedDict, total=False):
    """What a sandbox starts with; everything may be left out."""

    state: Path | None  # what happens is kept in this file
    secret_key: str | None
    origin: str
    clock: Clock | None
    ids: Ids | None
    rate: int  # of the Backend API, per ten seconds; 0: no limit
    organizations: bool  # whether the instance has them turned on
    webhook_url: str
    webhook_secret: str
    webhook_scale: float  # of the waits between the tries of a webhook
    http: httpx.AsyncClient | None  # carries the webhooks; a server brings its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A sandbox that is up."""

    url: str  # the Frontend API URL (`iss`) and the base of the Backend API (add `/v1`)
    secret_key: str
    publishable_key: str
    origin: str  # the `azp` of its tokens
    world: World


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A sandbox inside of this process, that nobody else can reach."""

    url: str
    secret_key: str
    world: World
    transport: httpx.ASGITransport  # for any client that shall reach it
    http: httpx.AsyncClient  # with the secret key; paths begin at the root


def build(world: World, *, rate: int = 0, wire: bool = True) -> ASGIApp:
    """Put the routes together; without a wire there is no line to cut."""
    routes = (users, sessions, organizations, members, invitations, control)
    app = Starlette(
        routes=[route for module in routes for route in module.routes],
        exception_handlers={Refused: _answer},
        lifespan=lambda _: carrying(world.courier, world.save),
    )
    app.state.world = world
    app.state.watch = watch = Watch[FaultOfTime]()
    limit = RateLimit(clock=world.clock, limit=rate)
    return Door(app, world=world, watch=watch, limit=limit, wire=wire)


async def _answer(_: Request, exc: Exception) -> Response:
    if not isinstance(exc, Refused):
        raise exc
    return JSONResponse(exc.body, exc.status)


def open_world(url: str, *, pem: str | None = None, **setup: Unpack[Setup]) -> World:
    """Load or found the instance that will be served at `url`.

    Errors: UnreadableState, Unsendable.
    """
    ids, path = setup.get("ids") or RandomIds(), setup.get("state")
    world = World(
        url=url,
        origin=setup.get("origin", ORIGIN),
        clock=setup.get("clock") or SystemClock(),
        ids=ids,
        state=load(path, ids, secret_key=setup.get("secret_key"), pem=pem),
        path=path,
        has_organizations=setup.get("organizations", True),
        http=setup.get("http"),
        schedule=replace(svix.SCHEDULE, scale=setup.get("webhook_scale", 1.0)),
    )
    if hook := setup.get("webhook_url"):
        _register(world, hook, setup.get("webhook_secret") or "")
    world.save()
    return world


def _register(world: World, url: str, given: str) -> None:
    """Send webhooks to `url`; given secrets (two, with a comma, while they are changed) hold.

    Errors: Unsendable.
    """
    secrets = [secret.strip() for secret in given.split(",") if secret.strip()]
    if not all(svix.is_secret(secret) for secret in secrets):
        raise Unsendable("the webhook secret is none of Svix's: whsec_ and base64")
    known = [endpoint for endpoint in world.courier.endpoints() if endpoint.url == url]
    if not known:
        known = [world.courier.register(url, svix.new_secret(world.ids))]
    for endpoint in known:
        endpoint.secrets = secrets or endpoint.secrets


def run(*, port: int, **setup: Unpack[Setup]) -> None:
    """Serve in this process until it is told to stop."""
    world = open_world(url_at(port), **setup)
    make_server(build(world, rate=setup.get("rate", 0)), port).run()


@contextlib.contextmanager
def running_clerk(**setup: Unpack[Setup]) -> Generator[Running]:
    """Serve on a free port beside the caller, in a thread, until the block ends."""
    with a_port() as listener:
        world = open_world(url_at(port_of(listener)), **setup)
        server = make_server(build(world, rate=setup.get("rate", 0)))
        with beside(server, listener, "Clerk"):
            yield Running(
                url=world.url,
                secret_key=world.state.secret_key,
                publishable_key=world.publishable_key,
                origin=world.origin,
                world=world,
            )


@contextlib.asynccontextmanager
async def clerk_inside(url: str = INSIDE, **setup: Unpack[Setup]) -> AsyncGenerator[Inside]:
    """Open one without a port or a thread; its webhooks go out by `world.courier.deliver_due()`.

    They are carried by the `http` of the setup. All of these share one signing key.
    """
    world = open_world(url, pem=jose.shared_pem("clerk"), **setup)
    app = build(world, rate=setup.get("rate", 0), wire=False)
    transport = httpx.ASGITransport(app)
    headers = {"authorization": f"Bearer {world.state.secret_key}"}
    async with httpx.AsyncClient(transport=transport, base_url=url, headers=headers) as http:
        yield Inside(
            url=url,
            secret_key=world.state.secret_key,
            world=world,
            transport=transport,
            http=http,
        )
