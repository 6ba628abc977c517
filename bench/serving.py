"""Another application behind the same web server as ours, in one process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from bench.result import ROOT
from tenure.sandbox.postgres import free_port

WITHIN = 60.0  # seconds


@contextmanager
def serving(target: str, env: Mapping[str, str]) -> Generator[str]:
    """Serve an ASGI application for as long as the block lasts, and give its address."""
    port = free_port()
    server = subprocess.Popen(  # noqa: S603 (our own arguments)
        [
            *(sys.executable, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools"),
            *("--no-access-log", "--no-server-header", "--no-date-header", "--lifespan", "on"),
            *("--port", str(port), "--log-level", "error"),
            target,
        ],
        env={**env, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        until(lambda: _listens(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(WITHIN)


def until(holds: Callable[[], bool], *, within: float = WITHIN) -> None:
    """Wait, for some seconds at most, until something holds."""
    ends = time.monotonic() + within
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError(f"not within {within:.0f} s")
        time.sleep(0.02)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
