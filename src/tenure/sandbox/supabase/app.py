"""The pretended Supabase Auth as a web application, in this process or in its own."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from tenure.base.clock import Clock, SystemClock
from tenure.base.db import Db
from tenure.base.ids import Ids, RandomIds
from tenure.sandbox.faults import Fault, Watch
from tenure.sandbox.serving import a_port, beside, make_server, port_of, promise, saving, url_at
from tenure.sandbox.supabase import asking, control, database, people, sessions
from tenure.sandbox.supabase.signing import Algorithm
from tenure.sandbox.supabase.world import Refused, World, load

BASE = "/auth/v1"
OPEN = (f"{BASE}/.well-known/", f"{BASE}/health")  # what the gateway lets through without a key
VERSION = "2024-01-01"  # of the answers' shape, as newer clients ask for it
VERSION_HEADER = "x-supabase-api-version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A sandbox that is up."""

    url: str  # SUPABASE_URL; the issuer is `{url}/auth/v1`
    database_url: str
    world: World

    @property
    def anon_key(self) -> str:
        """SUPABASE_ANON_KEY."""
        return self.world.api_key("anon")

    @property
    def service_role_key(self) -> str:
        """SUPABASE_SERVICE_ROLE_KEY."""
        return self.world.api_key("service_role")

    @property
    def jwt_secret(self) -> str:
        """SUPABASE_JWT_SECRET."""
        return self.world.secret.text


class Door:
    """Stands before the routes: counts, breaks what shall break, asks for the key, saves."""

    def __init__(self, app: ASGIApp, *, world: World, watch: Watch[Fault]) -> None:
        self._app = app
        self._world = world
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if scope["path"].startswith("/_sandbox"):
            return await self._app(scope, receive, saving(self._world.save, send))
        fault = self._watch.strike(scope["method"], scope["path"])
        if fault is not None and fault.name == "latency":
            await asyncio.sleep(fault.wait())
        elif fault is not None:
            return await _break(fault, scope, receive, send)
        try:
            if not scope["path"].startswith(OPEN):
                asking.check_api_key(self._world, Headers(scope=scope).get("apikey", ""))
        except Refused as exc:
            return await _told(exc, Headers(scope=scope))(scope, receive, send)
        return await self._app(scope, receive, send)


async def _break(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    if fault.name == "refuse":
        return await promise(send)
    status = int(fault.name)
    reasons = {429: "over_request_rate_limit"}
    reason = reasons.get(status, "unexpected_failure")
    answer = _told(Refused(status, reason, "a fault of the sandbox"), Headers(scope=scope))
    return await answer(scope, receive, send)


def _told(exc: Refused, headers: Headers) -> Response:
    """Write a refusal in the shape that the client asks for: the newer one, or the older."""
    if headers.get(VERSION_HEADER, "") >= VERSION:
        body = {"code": exc.reason, "message": str(exc), **exc.more}
        return JSONResponse(body, exc.status, {VERSION_HEADER: VERSION})
    body = {"code": exc.status, "error_code": exc.reason, "msg": str(exc), **exc.more}
    return JSONResponse(body, exc.status)


def build(world: World, database_url: str) -> ASGIApp:
    """Put the routes together; the database is opened when the server starts."""

    @contextlib.asynccontextmanager
    async def opened(_: Starlette) -> AsyncGenerator[None]:
        async with database.open_as_auth(database_url) as pool:
            db = Db(pool)
            world.open_db = lambda: db
            yield

    app = Starlette(
        routes=[Mount(BASE, routes=[*people.routes, *sessions.routes]), *control.routes],
        exception_handlers={Refused: _answer},
        lifespan=opened,
    )
    app.state.world = world
    app.state.watch = watch = Watch[Fault]()
    return Door(app, world=world, watch=watch)


async def _answer(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, Refused):
        raise exc
    return _told(exc, request.headers)


def open_world(
    port: int,
    *,
    state: Path | None = None,
    algorithm: Algorithm = "ES256",
    clock: Clock | None = None,
    ids: Ids | None = None,
    **options: Any,  # noqa: ANN401 (the other fields of World, which checks them)
) -> World:
    """Load or found the project that will be served at `port`."""
    ids = ids or RandomIds()

    def closed() -> Db:
        raise Refused(503, "unexpected_failure", "the server has not started")

    world = World(
        url=url_at(port),
        clock=clock or SystemClock(),
        ids=ids,
        kept=load(state, ids, algorithm=algorithm),
        open_db=closed,
        path=state,
        **options,
    )
    world.save()
    return world


def run(
    *,
    port: int,
    database_url: str,
    state: Path | None = None,
    algorithm: Algorithm = "ES256",
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve in this process until it is told to stop; `ready` is called before that."""
    database.prepare(database_url)
    world = open_world(port, state=state, algorithm=algorithm)
    ready()
    make_server(build(world, database_url), port).run()


@contextlib.contextmanager
def running_supabase(
    database_url: str,
    *,
    state: Path | None = None,
    algorithm: Algorithm = "ES256",
    clock: Clock | None = None,
    ids: Ids | None = None,
    **options: Any,  # noqa: ANN401 (the other fields of World, which checks them)
) -> Generator[Running]:
    """Serve on a free port beside the caller, in a thread, until the block ends."""
    database.prepare(database_url)
    with a_port() as listener:
        port = port_of(listener)
        world = open_world(port, state=state, algorithm=algorithm, clock=clock, ids=ids, **options)
        with beside(make_server(build(world, database_url)), listener, "Supabase Auth"):
            yield Running(url=world.url, database_url=database_url, world=world)
