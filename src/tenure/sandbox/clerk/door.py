"""What stands before the routes: counts, breaks what shall break, asks for the key, saves."""

import asyncio

import httpx
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenure.sandbox.clerk.asking import check_secret
from tenure.sandbox.clerk.ratelimit import RateLimit
from tenure.sandbox.clerk.world import Refused, World
from tenure.sandbox.faults import FaultOfTime, Watch
from tenure.sandbox.serving import promise, saving, unheard

TOO_MANY = 429


class Door:
    """The way in for every request."""

    def __init__(
        self, app: ASGIApp, *, world: World, watch: Watch[FaultOfTime], limit: RateLimit, wire: bool
    ) -> None:
        self._app = app
        self._world = world
        self._watch = watch
        self._limit = limit
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["path"].startswith("/_sandbox"):
            return await self._inside(scope, receive, send)
        fault = self._watch.strike(scope["method"], scope["path"])
        if fault is not None and fault.name == "latency":
            await asyncio.sleep(fault.wait())
        if fault is not None and fault.name == "refuse":
            return await self._cut(send)
        instead = _failure(fault) or self._refusal(scope)
        if instead is not None:
            return await instead(scope, receive, send)
        return await self._through(fault, scope, receive, send)

    async def _through(
        self, fault: FaultOfTime | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if fault is not None and fault.name == "stale":
            await self._stale(fault.back, scope, receive, send)
        elif fault is not None and fault.name == "done_500":
            await self._inside(scope, receive, unheard)
            await _refused(500)(scope, receive, send)
        else:
            await self._inside(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        """Find a reason of Clerk's own to let nobody in."""
        path: str = scope["path"]
        if not path.startswith("/v1/"):
            return None
        try:
            check_secret(self._world, Headers(scope=scope).get("authorization", ""))
            _check_offered(self._world, path)
        except Refused as exc:
            return JSONResponse(exc.body, exc.status)
        wait = self._limit.wait(path)
        return None if wait is None else _refused(TOO_MANY, wait)

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "GET":
            return await self._app(scope, receive, send)
        self._world.history.begin()
        return await self._app(scope, receive, saving(self._world.save, send))

    async def _stale(self, back: int, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from the past; a GET waits for nothing inside, so nobody else gets there."""
        said: list[Message] = []

        async def keep(message: Message) -> None:
            said.append(message)

        with self._world.history.behind(back):
            await self._app(scope, receive, keep)
        for message in said:
            await send(message)

    async def _cut(self, send: Send) -> None:
        if not self._wire:
            raise httpx.ReadError("a fault of the sandbox")
        await promise(send)


def _check_offered(world: World, path: str) -> None:
    if path.startswith("/v1/organization") and not world.has_organizations:
        raise Refused(403, "organization_not_enabled_in_instance", "organizations are turned off")


def _failure(fault: FaultOfTime | None) -> Response | None:
    if fault is None or not fault.name.isdecimal():
        return None
    return _refused(int(fault.name), max(1, round(fault.wait())))


def _refused(status: int, wait: int = 1) -> Response:
    code = "too_many_requests" if status == TOO_MANY else "internal_clerk_error"
    refused = Refused(status, code, "a fault of the sandbox")
    retry = {"retry-after": str(wait)} if status == TOO_MANY else None
    return JSONResponse(refused.body, status, retry)
