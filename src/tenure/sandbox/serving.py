"""What every sandbox that is a web application needs: a port, a server, a thread beside the caller.

with a_port() as listener:
    server = make_server(build(open_world(url_of(listener))))
    with beside(server, listener, "Clerk"):
        ...
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Protocol

import httpx
import uvicorn
from starlette.types import ASGIApp, Message, Send

from tenure.base.errors import TenureError

HOST = "127.0.0.1"
START_SECONDS = 10.0
STOP_SECONDS = 10.0
TICK_SECONDS = 0.01


class NotStarted(TenureError):
    """The sandbox did not come up."""

    code = "sandbox.not_started"
    hint = "Look for a traceback above: the server's thread has ended."


class Carrier(Protocol):
    """Whoever carries webhooks until it is cancelled."""

    async def run(self, http: httpx.AsyncClient) -> None:
        """Carry them."""


@contextlib.contextmanager
def a_port() -> Generator[socket.socket]:
    """Hold a free port until the block ends."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        yield listener


def port_of(listener: socket.socket) -> int:
    """Tell which port is held."""
    return listener.getsockname()[1]


def url_at(port: int) -> str:
    """Write the address of a sandbox."""
    return f"http://{HOST}:{port}"


def make_server(app: ASGIApp, port: int = 0) -> uvicorn.Server:
    """Build the server; without a port it must be given a socket."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=HOST,
            port=port,
            lifespan="on",
            ws="none",
            access_log=False,
            log_level="critical",  # a fault that breaks a connection is meant, not an error
            timeout_graceful_shutdown=1,
        )
    )


@contextlib.contextmanager
def beside(server: uvicorn.Server, listener: socket.socket, name: str) -> Generator[None]:
    """Serve in a thread until the block ends.

    Errors: NotStarted.
    """
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        _wait_until_started(server, thread, name)
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread, name: str) -> None:
    for _ in range(int(START_SECONDS / TICK_SECONDS)):
        if server.started:
            return
        thread.join(TICK_SECONDS)  # ends at once where there is nothing more to wait for
        if not thread.is_alive():
            break
    raise NotStarted(f"the pretended {name} did not start")


@contextlib.asynccontextmanager
async def carrying(carrier: Carrier, save: Callable[[], None]) -> AsyncGenerator[None]:
    """Let the webhooks of a server go out for as long as it lives; then save."""
    async with httpx.AsyncClient(timeout=None, trust_env=False) as http:  # noqa: S113 (the courier keeps the time)
        task = asyncio.create_task(carrier.run(http))
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        save()


def saving(save: Callable[[], None], send: Send) -> Send:
    """Save before an answer starts, so that what was answered is never lost."""

    async def save_and_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            save()
        await send(message)

    return save_and_send


async def promise(send: Send) -> None:
    """Promise a body and never send it: once the application returns, the server cuts the line."""
    headers = [(b"content-length", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def unheard(_: Message) -> None:
    """Send nothing to anybody."""
