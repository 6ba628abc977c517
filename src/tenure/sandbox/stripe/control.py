"""The sandbox's own doors, under `/_sandbox`: time, trouble, deliveries, state."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar, cast

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tenure.base.errors import TenureError
from tenure.sandbox.stripe.errors import StripeRefusal
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.seed import seed
from tenure.sandbox.stripe.world import World

Door = Callable[[World, Request, Obj], Awaitable[Obj]]
LONGEST_FLUSH = 60.0
POLL = 0.01


class BadControl(TenureError):
    """A control request could not be understood."""

    code: ClassVar[str] = "sandbox.bad_control"
    hint: ClassVar[str] = "See docs for the sandbox's control API."


async def health(world: World, _request: Request, _given: Obj) -> Obj:
    """Say that the sandbox is up, and what it holds."""
    counts = {kind: len(rows) for kind, rows in world.state.tables["test"].items()}
    return {"ok": True, "now": world.test.now(), "offset": world.state.offset, "test": counts}


async def read_clock(world: World, _request: Request, _given: Obj) -> Obj:
    """Tell the sandbox's time."""
    return {"now": world.test.now(), "offset": world.state.offset}


async def advance_clock(world: World, _request: Request, given: Obj) -> Obj:
    """Move the time of every customer without a test clock."""
    now = world.test.now()
    seconds, to = given.get("seconds"), given.get("to")
    if (seconds is None) == (to is None):
        raise BadControl('give either {"seconds": n} or {"to": unix time}')
    amount = seconds if to is None else to
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise BadControl(f"not a whole number: {amount!r}")
    target = now + amount if to is None else amount
    if target < now:
        raise BadControl(f"time does not go back: now is {now}, asked was {target}")
    steps = world.advance_to(target)
    return {"now": world.test.now(), "steps": steps}


async def plan_fault(world: World, _request: Request, given: Obj) -> Obj:
    """Plan trouble."""
    fault = world.faults.plan(given)
    return {"id": fault.id, "name": fault.name, "left": fault.left}


async def list_faults(world: World, _request: Request, _given: Obj) -> Obj:
    """Show planned trouble."""
    return {"data": list(world.faults.listed())}


async def clear_faults(world: World, _request: Request, _given: Obj) -> Obj:
    """Plan no more trouble."""
    world.faults.clear()
    return {"data": []}


async def list_deliveries(world: World, request: Request, _given: Obj) -> Obj:
    """Show deliveries, oldest first; `?status=` and `?event=` narrow them."""
    wanted = {k: v for k, v in request.query_params.items() if k in {"status", "event", "type"}}
    rows = [
        d
        for d in world.state.deliveries.values()
        if all(d[name] == value for name, value in wanted.items())
    ]
    return {"data": rows}


async def flush(world: World, _request: Request, given: Obj) -> Obj:
    """Wait until everything due was tried; `{"retries": true}` makes waiting retries due."""
    bound = given.get("timeout", 10.0)
    if not isinstance(bound, int | float) or not 0 <= bound <= LONGEST_FLUSH:
        raise BadControl(f"timeout must be between 0 and {LONGEST_FLUSH:.0f} seconds")
    if given.get("retries"):
        world.courier.retry_now()
    try:
        async with asyncio.timeout(bound):
            while world.courier.busy():  # noqa: ASYNC110 (idleness is many facts, not one event)
                await asyncio.sleep(POLL)
    except TimeoutError:
        pass
    waiting = [d for d in world.state.deliveries.values() if d["status"] in {"pending", "held"}]
    return {"done": not world.courier.busy(), "waiting": len(waiting)}


async def redeliver(world: World, request: Request, _given: Obj) -> Obj:
    """Deliver an event again to every endpoint that is enabled."""
    event_id = request.path_params["id"]
    for books in (world.test, world.live):
        event = books.find("event", event_id)
        if event is not None:
            enabled = [
                e for e in books.table("webhook_endpoint").values() if e["status"] == "enabled"
            ]
            return {"data": [world.courier.plan(books, event, e)["id"] for e in enabled]}
    raise BadControl(f"no such event: {event_id}")


async def roll(world: World, request: Request, given: Obj) -> Obj:
    """Give an endpoint a new secret; `{"keep": true}` (usual) signs with both, else only it."""
    name = request.path_params["id"]
    for books in (world.test, world.live):
        endpoint = books.find("webhook_endpoint", name)
        if endpoint is not None:
            secret = given.get("secret") or world.ids.token("whsec_", 32)
            kept: list[str] = endpoint["_secrets"][:1] if given.get("keep", True) else []
            endpoint["_secrets"] = [secret, *kept]
            return {"id": name, "secret": secret, "signing_with": len(endpoint["_secrets"])}
    raise BadControl(f"no such webhook endpoint: {name}")


async def count_requests(world: World, _request: Request, _given: Obj) -> Obj:
    """Tell how often each operation was asked for."""
    return {"total": world.requests.total(), "by_operation": dict(world.requests)}


async def reset_requests(world: World, _request: Request, _given: Obj) -> Obj:
    """Begin counting anew."""
    world.requests.clear()
    return {"total": 0, "by_operation": {}}


async def save(world: World, _request: Request, given: Obj) -> Obj:
    """Write everything to a file."""
    path = _path(given)
    world.state.save(path)
    return {"path": str(path)}


async def load(world: World, _request: Request, given: Obj) -> Obj:
    """Replace everything by what a file holds."""
    load_world(world, _path(given))
    return {"path": str(given["path"])}


def load_world(world: World, path: Path) -> None:
    """Replace everything by what a file holds.

    Errors: UnreadableState.
    """
    world.state.load(path)
    world.test.reindex()
    world.live.reindex()
    world.courier.reload()


def _path(given: Obj) -> Path:
    path = given.get("path")
    if not isinstance(path, str) or not path:
        raise BadControl('give {"path": "…"}')
    if not Path(path).parent.is_dir():
        raise BadControl(f"no such directory: {Path(path).parent}")
    return Path(path)


async def plant(world: World, _request: Request, _given: Obj) -> Obj:
    """Make the demonstration's catalogue."""
    return seed(world.test)


DOORS: list[tuple[str, str, Door]] = [
    ("GET", "/health", health),
    ("GET", "/clock", read_clock),
    ("POST", "/clock/advance", advance_clock),
    ("GET", "/faults", list_faults),
    ("POST", "/faults", plan_fault),
    ("DELETE", "/faults", clear_faults),
    ("GET", "/deliveries", list_deliveries),
    ("POST", "/deliveries/flush", flush),
    ("POST", "/events/{id}/redeliver", redeliver),
    ("POST", "/webhook_endpoints/{id}/roll", roll),
    ("GET", "/requests", count_requests),
    ("DELETE", "/requests", reset_requests),
    ("POST", "/save", save),
    ("POST", "/load", load),
    ("POST", "/seed", plant),
]


def control_routes(world: World) -> list[Route]:
    """Build the routes of the control API."""
    return [
        Route(f"/_sandbox{path}", _endpoint(world, door), methods=[method])
        for method, path, door in DOORS
    ]


def _endpoint(world: World, door: Door) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def serve(request: Request) -> JSONResponse:
        try:
            return JSONResponse(await door(world, request, _given(await request.body())))
        except TenureError as error:
            refused = {"code": error.code, "message": str(error), "hint": error.hint}
            if isinstance(error, StripeRefusal):
                refused["stripe"] = json.dumps(error.envelope)
            return JSONResponse({"error": refused}, status_code=400)

    return serve


def _given(body: bytes) -> Obj:
    """Read a JSON object; nothing means an empty one.

    Errors: BadControl.
    """
    if not body:
        return {}
    try:
        given = json.loads(body)
    except ValueError as error:
        raise BadControl(f"the body is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise BadControl("the body must be a JSON object")
    return cast("Obj", given)
