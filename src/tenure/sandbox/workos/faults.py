"""What goes wrong with API calls, and how often each was asked for."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import httpx
import msgspec
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tenure.sandbox.workos.refusal import Refused

BEFORE = frozenset({"500", "429", "refuse"})  # nothing was done
AFTER = frozenset({"lost", "done_500"})  # it was done, and nobody hears of it
NAMES = BEFORE | AFTER | {"latency", "stale"}


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Something that goes wrong with the next `count` requests (-1: all) that `match` is for.

    `match` is a path's beginning, or a glob with a star; a method may stand before it:
    `POST /user_management`. "500" and "429" answer so and do nothing; "refuse" breaks the
    connection; "latency" waits `seconds` first; "lost" does what is asked, waits `seconds`
    (usually none) and breaks the connection; "done_500" does it and answers 500; "stale" answers
    a GET of objects as they were `back` changes ago.
    """

    name: str
    count: int = 1
    match: str = "/"
    seconds: float | None = None
    back: int = 1

    def hits(self, method: str, path: str) -> bool:
        """Tell whether this request is meant."""
        if self.count == 0 or (self.name == "stale" and not _is_look(method, path)):
            return False
        wanted, _, begin = self.match.rpartition(" ")
        fits = fnmatchcase(path, begin) if "*" in begin else path.startswith(begin)
        return wanted in {"", method} and fits


def _is_look(method: str, path: str) -> bool:
    """Tell whether a request reads objects; events and keys are no objects."""
    objects = path.startswith(("/user_management", "/organizations"))
    return method == "GET" and objects and not path.endswith("/logout")


@dataclass(slots=True)
class Watch:
    """What was asked, and what shall go wrong next."""

    requests: Counter[str] = field(default_factory=Counter[str])
    faults: list[Fault] = field(default_factory=list[Fault])

    def strike(self, method: str, path: str) -> Fault | None:
        """Take one use of the first fault that is meant for this request."""
        for fault in self.faults:
            if fault.hits(method, path):
                fault.count -= fault.count > 0
                self.faults = [one for one in self.faults if one.count]
                return fault
        return None


async def spoil(fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer wrongly, before or after the thing was done.

    Errors: ReadError (a broken connection, for a caller in the same process).
    """
    if fault.name in AFTER:
        await app(scope, receive, _unheard)
    if fault.name == "lost":
        await asyncio.sleep(fault.seconds or 0.0)
    if fault.name in {"refuse", "lost"}:  # promise a body and never send it
        headers = [(b"content-length", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        raise httpx.ReadError("the sandbox broke the connection")
    await _failed(fault)(scope, receive, send)


def _failed(fault: Fault) -> JSONResponse:
    if fault.name == "429":
        wait = max(1, round(fault.seconds or 1.0))
        refused = Refused(429, "rate_limit_exceeded", "Rate limit exceeded.", retry_after=wait)
        return JSONResponse(refused.body, 429, {"retry-after": str(wait)})
    return JSONResponse({"message": "Internal Server Error"}, 500)


async def _unheard(_: Message) -> None:
    return
