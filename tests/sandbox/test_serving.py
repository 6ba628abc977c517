from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message

from tenure.sandbox.clerk.app import clerk_inside
from tenure.sandbox.serving import NotStarted, a_port, beside, make_server, port_of, url_at
from tenure.sandbox.workos.app import workos_inside


async def saved_as_the_answer_starts(
    app: ASGIApp, path: str, key: str, read: Callable[[], str]
) -> str:
    """POST nothing, and read the state at the moment in which the caller first hears of it."""
    seen: list[str] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b'{"email": "ada@example.com"}'}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] < 300
            seen.append(read())

    headers = [(b"authorization", f"Bearer {key}".encode())]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
    await app(scope | {"query_string": b"", "http_version": "1.1"}, receive, send)
    (text,) = seen
    return text


async def test_clerk_saves_before_it_answers(tmp_path: Path) -> None:
    """B5: a SIGKILL loses nothing that was answered."""
    state = tmp_path / "clerk.json"
    async with clerk_inside(state=state) as inside:
        asked = (inside.transport.app, "/v1/users", inside.secret_key, state.read_text)
        assert "user.created" in await saved_as_the_answer_starts(*asked)


async def test_workos_saves_before_it_answers(tmp_path: Path) -> None:
    """B5: a SIGKILL loses nothing that was answered."""
    state = tmp_path / "workos.json"
    async with workos_inside(state=state) as inside:
        asked = (inside.transport.app, "/user_management/users", inside.api_key, state.read_text)
        assert "user.created" in await saved_as_the_answer_starts(*asked)


def test_a_server_beside_the_caller_answers_until_the_block_ends() -> None:
    with a_port() as listener:
        url = url_at(port_of(listener))
        with beside(make_server(Starlette()), listener, "thing"):
            assert httpx.get(url).status_code == 404
        with pytest.raises(httpx.TransportError):
            httpx.get(url, timeout=0.5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_that_cannot_start_says_so() -> None:
    @asynccontextmanager
    async def broken(_: Starlette) -> AsyncGenerator[None]:
        raise RuntimeError("no database")
        yield

    server = make_server(Starlette(lifespan=broken))
    with a_port() as listener, pytest.raises(NotStarted, match="the pretended thing did not"):  # noqa: SIM117 (only the inner one may raise)
        with beside(server, listener, "thing"):
            pass
