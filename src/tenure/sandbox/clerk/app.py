"""The pretended Clerk as a web application, in this process or in its own."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tenure.base.clock import Clock, SystemClock
from tenure.base.ids import Ids, RandomIds
from tenure.sandbox.clerk import backend, control, organizations
from tenure.sandbox.clerk.control import Fault, Watch
from tenure.sandbox.clerk.world import Refused, World, load

HOST = "127.0.0.1"
ORIGIN = "http://localhost:3000"
START_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A sandbox that is up."""

    url: str  # the Frontend API URL (`iss`) and the base of the Backend API (add `/v1`)
    secret_key: str
    publishable_key: str
    origin: str  # the `azp` of its tokens
    world: World


class Door:
    """Stands before the routes: counts, breaks what shall break, asks for the key, saves."""

    def __init__(self, app: ASGIApp, *, world: World, watch: Watch) -> None:
        self._app = app
        self._world = world
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"].startswith("/_sandbox"):
            return await self._inside(scope, receive, send)
        self._watch.requests[f"{scope['method']} {scope['path']}"] += 1
        fault = self._watch.strike(scope["path"])
        if fault is not None and fault.name == "latency":
            await asyncio.sleep(fault.seconds)
        elif fault is not None:
            return await _break(fault, scope, receive, send)
        try:
            if scope["path"].startswith("/v1/"):
                backend.check_secret(self._world, Headers(scope=scope).get("authorization", ""))
        except Refused as exc:
            return await JSONResponse(exc.body, exc.status)(scope, receive, send)
        return await self._inside(scope, receive, send)

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
        if scope["type"] == "http" and scope["method"] != "GET":
            self._world.save()


async def _break(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    if fault.name == "refuse":  # promise a body and never send it: the server cuts the line
        headers = [(b"content-length", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        return
    status = int(fault.name)
    codes = {429: "too_many_requests"}
    refused = Refused(status, codes.get(status, "internal_clerk_error"), "a fault of the sandbox")
    retry = {"retry-after": str(max(1, round(fault.seconds)))} if status == 429 else None  # noqa: PLR2004 (RFC 6585)
    await JSONResponse(refused.body, status, retry)(scope, receive, send)


def build(world: World) -> ASGIApp:
    """Put the routes together."""
    app = Starlette(
        routes=[*backend.routes, *organizations.routes, *control.routes],
        exception_handlers={Refused: _answer},
    )
    app.state.world = world
    app.state.watch = watch = Watch()
    return Door(app, world=world, watch=watch)


async def _answer(_: Request, exc: Exception) -> Response:
    if not isinstance(exc, Refused):
        raise exc
    return JSONResponse(exc.body, exc.status)


def open_world(
    port: int,
    *,
    state: Path | None = None,
    secret_key: str | None = None,
    origin: str = ORIGIN,
    clock: Clock | None = None,
    ids: Ids | None = None,
) -> World:
    """Load or found the instance that will be served at `port`."""
    ids = ids or RandomIds()
    world = World(
        url=f"http://{HOST}:{port}",
        origin=origin,
        clock=clock or SystemClock(),
        ids=ids,
        state=load(state, ids, secret_key=secret_key),
        path=state,
    )
    world.save()
    return world


def run(
    *,
    port: int,
    state: Path | None = None,
    secret_key: str | None = None,
    origin: str = ORIGIN,
) -> None:
    """Serve in this process until it is told to stop."""
    world = open_world(port, state=state, secret_key=secret_key, origin=origin)
    _server(build(world), port).run()


@contextlib.contextmanager
def running_clerk(
    *,
    state: Path | None = None,
    origin: str = ORIGIN,
    clock: Clock | None = None,
    ids: Ids | None = None,
) -> Generator[Running]:
    """Serve on a free port beside the caller, in a thread, until the block ends."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        world = open_world(port, state=state, origin=origin, clock=clock, ids=ids)
        server = _server(build(world), port)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield Running(
                url=world.url,
                secret_key=world.state.secret_key,
                publishable_key=world.publishable_key,
                origin=origin,
                world=world,
            )
        finally:
            server.should_exit = True
            thread.join(START_SECONDS)


def _server(app: ASGIApp, port: int) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=HOST,
            port=port,
            lifespan="off",
            ws="none",
            access_log=False,
            log_level="critical",  # a fault that breaks a connection is meant, not an error
            timeout_graceful_shutdown=1,
        )
    )


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    tick = threading.Event()
    for _ in range(int(START_SECONDS * 100)):
        if server.started:
            return
        if not thread.is_alive():
            break
        tick.wait(0.01)
    raise RuntimeError("the Clerk sandbox did not start")
