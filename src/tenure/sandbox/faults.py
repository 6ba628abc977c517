"""What shall go wrong with requests, and how often each was asked for.

watch.faults.append(Fault(name="500", count=2, match="/v1/users"))
fault = watch.strike("GET", "/v1/users/user_1")  # None: nothing is meant for this request
"""

from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Generic, TypeVar, cast

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

FOR_EVER = -1


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Something that goes wrong with the next `count` requests (-1: all) that `match` is for.

    `match` is a path's beginning, or a glob with a star; a method may stand before it:
    `POST /v1/users`.
    """

    name: str
    count: int = 1
    match: str = "/"
    seconds: float | None = None

    def hits(self, method: str, path: str) -> bool:
        """Tell whether a request is meant."""
        wanted, _, begin = self.match.rpartition(" ")
        fits = fnmatchcase(path, begin) if "*" in begin else path.startswith(begin)
        return wanted in {"", method} and fits

    def wait(self, usual: float = 1.0) -> float:
        """Tell how many seconds it takes."""
        return usual if self.seconds is None else self.seconds

    def is_sensible(self) -> bool:
        """Tell whether its numbers mean anything."""
        return self.count > 0 or self.count == FOR_EVER


class FaultOfTime(Fault, kw_only=True, forbid_unknown_fields=True):
    """A fault that may be "stale": a GET is answered as things were `back` changes ago."""

    back: int = 1

    def hits(self, method: str, path: str) -> bool:
        """Tell whether a request is meant."""
        if self.name == "stale" and not self.is_look(method, path):
            return False
        return super().hits(method, path)

    def is_look(self, method: str, _path: str) -> bool:
        """Tell whether a request can be answered from the past."""
        return method == "GET"

    def is_sensible(self) -> bool:
        """Tell whether its numbers mean anything."""
        return super().is_sensible() and self.back > 0


F = TypeVar("F", bound=Fault)


@dataclass(slots=True)
class Watch(Generic[F]):
    """What was asked, and what shall go wrong next."""

    requests: Counter[str] = field(default_factory=Counter[str])
    faults: list[F] = field(default_factory=list[F])

    def strike(self, method: str, path: str) -> F | None:
        """Count a request, and take one use of the first fault that is meant for it."""
        self.requests[f"{method} {path}"] += 1
        for fault in self.faults:
            if fault.hits(method, path):
                fault.count -= fault.count > 0
                self.faults = [one for one in self.faults if one.count]
                return fault
        return None


async def count_requests(request: Request) -> Response:
    """`GET /_sandbox/requests`: how often each path was asked; `DELETE` starts again at 0."""
    watch = cast("Watch[Fault]", request.app.state.watch)
    if request.method == "DELETE":
        watch.requests.clear()
    return JSONResponse({"total": watch.requests.total(), "by_path": dict(watch.requests)})
