"""What goes wrong with API calls, and how often each was asked for."""

import asyncio

import httpx
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tenure.sandbox.faults import FaultOfTime
from tenure.sandbox.serving import promise, unheard
from tenure.sandbox.workos.refusal import Refused

BEFORE = frozenset({"500", "429", "refuse"})  # nothing was done
AFTER = frozenset({"lost", "done_500"})  # it was done, and nobody hears of it
NAMES = BEFORE | AFTER | {"latency", "stale"}


class Fault(FaultOfTime, kw_only=True, forbid_unknown_fields=True):
    """Something that goes wrong with the next requests that it is for.

    "500" and "429" answer so and do nothing; "refuse" breaks the
    connection; "latency" waits `seconds` first; "lost" does what is asked, waits `seconds`
    (usually none) and breaks the connection; "done_500" does it and answers 500; "stale" answers
    a GET of objects as they were `back` changes ago.
    """

    def is_look(self, method: str, path: str) -> bool:
        """Tell whether a request reads objects; events and keys are no objects."""
        objects = path.startswith(("/user_management", "/organizations"))
        return method == "GET" and objects and not path.endswith("/logout")


async def spoil(fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer wrongly, before or after the thing was done.

    Errors: ReadError (a broken connection, for a caller in the same process).
    """
    if fault.name in AFTER:
        await app(scope, receive, unheard)
    if fault.name == "lost":
        await asyncio.sleep(fault.wait(0.0))
    if fault.name in {"refuse", "lost"}:
        await promise(send)
        raise httpx.ReadError("the sandbox broke the connection")
    await _failed(fault)(scope, receive, send)


def _failed(fault: Fault) -> JSONResponse:
    if fault.name == "429":
        wait = max(1, round(fault.wait()))
        refused = Refused(429, "rate_limit_exceeded", "Rate limit exceeded.", retry_after=wait)
        return JSONResponse(refused.body, 429, {"retry-after": str(wait)})
    return JSONResponse({"message": "Internal Server Error"}, 500)
