"""The whole HTTP door: hot paths bare, the rest as a FastAPI application."""

import gc
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from tenure.base.clock import Clock
from tenure.base.errors import TenureError
from tenure.base.ids import Ids, RandomIds
from tenure.base.log import log, named
from tenure.base.settings import Settings
from tenure.entry.http import answers, hot, metrics, sessions
from tenure.entry.http.hot import Receive, Scope, Send
from tenure.entry.http.openapi import openapi
from tenure.entry.http.rest import make_rest
from tenure.entry.world import Service, open_service, open_world
from tenure.gate.asgi import GIVEN_ID


class App:
    """An ASGI application: names every request, counts it, and sends it to its door."""

    def __init__(
        self, settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None
    ) -> None:
        self._ids = ids or RandomIds()
        self._service: Service | None = None
        self._max_body = settings.max_body
        rest = make_rest()
        rest.openapi = openapi
        rest.router.lifespan_context = self._lifespan
        self._rest = with_cors(rest, settings.cors_origins)
        self._open = lambda: open_world(settings, clock=clock, ids=ids)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._rest(scope, cast("Any", receive), cast("Any", send))
            return
        started, name = time.perf_counter(), self._name(scope)
        said = {"status": 0}

        async def named_send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                said["status"] = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", name.encode())]
            await send(message)

        named(request_id=name)  # to the end of the request's task
        try:
            await self._dispatch(scope, receive, named_send)
        except Exception:  # noqa: BLE001 (a bug: logged with the id, told without its insides)
            log.exception("http.broke", path=scope["path"])
            if not said["status"]:
                await hot.answer(named_send, 500, answers.BROKEN())
        metrics.answered(_door(scope), said["status"], time.perf_counter() - started)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = hot.door_of(scope["path"])
        if found is not None and self._service is not None:
            await found[1](self._service, scope, receive, send)
            return
        try:
            whole = await hot.bounded(scope, receive, limit=self._max_body)
        except TenureError as exc:
            await hot.refuse(send, exc)
            return
        await self._rest(scope, cast("Any", whole), cast("Any", send))

    def _name(self, scope: Scope) -> str:
        given = next((v for k, v in scope["headers"] if k == b"x-request-id"), b"")
        return given.decode() if GIVEN_ID.fullmatch(given) else self._ids.token("req_", 16)

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncGenerator[None]:
        try:
            async with (
                self._open() as world,
                open_service(world) as service,
                sessions.open_broker(service) as broker,
            ):
                self._service = app.state.service = service
                app.state.sessions = broker
                gc.collect()
                gc.freeze()  # what was loaded stays: no request waits while it is gone through
                yield
                self._service = None
        except Exception:  # the server only says that it did not start
            log.exception("http.ended")
            raise


def with_cors(rest: FastAPI, origins: tuple[str, ...]) -> FastAPI | CORSMiddleware:
    """Let pages of `origins` call us; outermost, so that they can read of a bug too."""
    if not origins:
        return rest
    return CORSMiddleware(
        rest,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "X-Request-Id"],
        expose_headers=["X-Request-Id", "Retry-After"],
        max_age=600,
    )


def _door(scope: Scope) -> str:
    """Name the door for a counter: the route's pattern, never a path that a stranger made up."""
    if (found := hot.door_of(scope["path"])) is not None:
        return found[0]
    route = scope.get("route")
    return str(getattr(route, "path", "unknown"))
