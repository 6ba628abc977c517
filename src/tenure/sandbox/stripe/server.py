"""The pretended Stripe over HTTP."""

import asyncio
import signal
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypedDict, Unpack

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenure.sandbox.stripe import api
from tenure.sandbox.stripe.control import control_routes, load_world
from tenure.sandbox.stripe.errors import unknown_url
from tenure.sandbox.stripe.model import Policy
from tenure.sandbox.stripe.pages import page_routes
from tenure.sandbox.stripe.resources.webhook_endpoints import new_endpoint
from tenure.sandbox.stripe.seed import seed as plant
from tenure.sandbox.stripe.world import World, new_world

METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH"]


def make_app(world: World) -> Starlette:
    """Build the application; its life starts and ends the deliveries."""

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncGenerator[None]:
        timeout = httpx.Timeout(world.policy.webhook_timeout)
        async with httpx.AsyncClient(timeout=timeout, trust_env=False) as client:
            tasks = [
                asyncio.create_task(world.courier.run(client)),
                asyncio.create_task(_tick(world)),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def serve(request: Request) -> Response:
        return await _serve(world, request)

    everything = Route("/{path:path}", serve, methods=METHODS)
    routes = [*control_routes(world), *page_routes(world), everything]
    return Starlette(routes=routes, lifespan=life)


async def _serve(world: World, request: Request) -> Response:
    """Answer one API request."""
    path = request.url.path
    if path.startswith("/_sandbox"):
        return JSONResponse(unknown_url(request.method, path).body("req_none"), 404)
    asked = api.Asked(
        method=request.method,
        path=path,
        query=request.url.query,
        body=(await request.body()).decode("utf-8", "replace"),
        headers=request.headers,
        base_url=str(request.base_url).rstrip("/"),
    )
    found = await api.answer(world, asked)
    return JSONResponse(found.body, found.status, headers=found.headers)


async def _tick(world: World) -> None:
    """Let real time bring what it brings."""
    while True:
        await asyncio.sleep(world.policy.tick_every)
        world.catch_up()


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; port 0 picks a free one."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def address_of(sock: socket.socket) -> str:
    """Write a socket's address as a base URL."""
    host, port = sock.getsockname()[:2]
    return f"http://{host}:{port}"


def make_server(world: World) -> uvicorn.Server:
    """Build the HTTP server around the application."""
    return uvicorn.Server(
        uvicorn.Config(
            make_app(world),
            log_config=None,
            access_log=False,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=1,
        )
    )


class Setup(TypedDict, total=False):
    """What a sandbox starts with; everything may be left out.

    With `state`, what that file holds is loaded (if it exists), and `run` saves there at its end.
    """

    policy: Policy | None
    webhook_url: str
    webhook_secret: str
    seed: bool
    state: Path | None


def run(
    *,
    port: int,
    host: str = "127.0.0.1",
    ready: Callable[[str], None] | None = None,
    **setup: Unpack[Setup],
) -> None:
    """Serve until SIGTERM or SIGINT, then return; `ready` hears the address once it listens."""
    world = prepared(**setup)
    server = make_server(world)
    sock = listen(host, port)

    def leave(_number: int, _frame: object) -> None:
        server.should_exit = True  # uvicorn raises the signal again at its end: this hears it

    before = {s: signal.signal(s, leave) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        asyncio.run(_serve_until_told(server, sock, ready))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sock.close()
        kept = setup.get("state")
        if kept is not None:
            world.state.save(kept)


async def _serve_until_told(
    server: uvicorn.Server, sock: socket.socket, ready: Callable[[str], None] | None
) -> None:
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started and not serving.done():  # noqa: ASYNC110 (uvicorn offers a flag)
        await asyncio.sleep(0.01)
    if server.started and ready is not None:
        ready(address_of(sock))
    with suppress(asyncio.CancelledError):
        await serving


def prepared(**setup: Unpack[Setup]) -> World:
    """Build a world: loaded, seeded, and with its first endpoint, as asked for."""
    world = new_world(setup.get("policy"))
    state = setup.get("state")
    if state is not None and state.exists():
        load_world(world, state)
    if setup.get("seed"):
        plant(world.test)
    url = setup.get("webhook_url", "")
    known = {e["url"] for e in world.test.table("webhook_endpoint").values()}
    if url and url not in known:
        new_endpoint(world.test, url, ["*"], secret=setup.get("webhook_secret", ""))
    return world
