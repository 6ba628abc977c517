"""One row per API call: method, path, what it takes, who answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.params import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read and checked."""

    books: Books
    params: Obj
    path: dict[str, str]
    base_url: str = ""

    @property
    def id(self) -> str:
        """Give the id in the path."""
        return self.path["id"]


Handler = Callable[[Call], Obj]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the API; `{name}` in the path stands for one segment."""

    method: str
    path: str
    answer: Handler
    takes: Shape = field(default_factory=dict[str, object])
    need: Sequence[str] = ()

    def match(self, method: str, parts: Sequence[str]) -> dict[str, str] | None:
        """Give the named segments if this row serves that path."""
        wanted = self.path.strip("/").split("/")
        if method != self.method or len(wanted) != len(parts):
            return None
        found: dict[str, str] = {}
        for want, part in zip(wanted, parts, strict=True):
            if want.startswith("{"):
                found[want[1:-1]] = part
            elif want != part:
                return None
        return found


def get(path: str, answer: Handler, takes: Shape | None = None, need: Sequence[str] = ()) -> Route:
    """Row for reading."""
    return Route(method="GET", path=path, answer=answer, takes=takes or {}, need=need)


def post(path: str, answer: Handler, takes: Shape | None = None, need: Sequence[str] = ()) -> Route:
    """Row for creating or changing."""
    return Route(method="POST", path=path, answer=answer, takes=takes or {}, need=need)


def delete(path: str, answer: Handler, takes: Shape | None = None) -> Route:
    """Row for taking away."""
    return Route(method="DELETE", path=path, answer=answer, takes=takes or {})
