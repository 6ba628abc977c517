"""From an HTTP request to a handler and back."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from inspect import isawaitable
from typing import TypeVar, cast

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tenure.sandbox.workos.paging import Page
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.state import Json
from tenure.sandbox.workos.world import World

STALE = "tenure.sandbox.stale"  # in a scope: how many changes behind its reader is


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request says; the body is read already, so that a handler never waits."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Json:
        """The JSON object of the body; an empty body is an empty object.

        Errors: Refused.
        """
        return read(self.raw, Json, status=400)


Handler = Callable[[World, Asked], Response | Awaitable[Response]]
T = TypeVar("T")


def world_of(request: Request) -> World:
    """Find the environment this request speaks to."""
    return cast("World", request.app.state.world)


def route(method: str, path: str, handler: Handler) -> Route:
    """Serve a path with a handler."""

    async def serve(request: Request) -> Response:
        world = world_of(request)
        asked = Asked(
            path=request.path_params, query=request.query_params, raw=await request.body()
        )
        if STALE in request.scope:
            with world.journal.rewound(request.scope[STALE]):
                return cast("Response", handler(world, asked))
        with world.change():
            answer = handler(world, asked)
        return await answer if isawaitable(answer) else answer

    return Route(path, serve, methods=[method])


def read(raw: bytes, kind: type[T], *, status: int = 422) -> T:
    """Read a body as JSON of this kind.

    Errors: Refused.
    """
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise Refused(status, "invalid_request", f"Request body invalid: {exc}") from exc


def text(given: Json, name: str) -> str:
    """Take a parameter that must be there.

    Errors: Refused.
    """
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise Refused.invalid(name, "must be a string that is not empty")
    return value


def answered(page: Page, rows: list[Json]) -> Response:
    """Answer with a page."""
    places = {"before": page.before, "after": page.after}
    return JSONResponse({"object": "list", "data": rows, "list_metadata": places})


def check_key(world: World, headers: Headers) -> None:
    """Let only the holder of the API key through.

    Errors: Refused.
    """
    scheme, _, given = headers.get("authorization", "").partition(" ")
    key = world.state.api_key.encode()
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), key):
        refused = Refused(401, "unauthorized", "Unauthorized")
        refused.body = {"message": "Unauthorized"}
        raise refused


async def refuse(_: Request, exc: Exception) -> Response:
    """Answer with a refusal."""
    if not isinstance(exc, Refused):
        raise exc
    return JSONResponse(exc.body, exc.status)
