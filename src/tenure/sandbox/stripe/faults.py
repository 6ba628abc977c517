"""Trouble on request: each kind by its name, as often as asked."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

from tenure.base.errors import TenureError
from tenure.base.ids import Ids
from tenure.sandbox.stripe.model import Obj

WEBHOOK_FAULTS = ("lose", "double", "delay", "reorder", "tie")
API_FAULTS = ("429", "lock_timeout", "500", "timeout", "cached_500", "latency")
USUAL_SECONDS = {"delay": 1.0, "reorder": 0.5, "timeout": 90.0, "latency": 0.1}


class UnknownFault(TenureError):
    """A fault was asked for that does not exist, or with values that make no sense."""

    code: ClassVar[str] = "sandbox.unknown_fault"
    hint: ClassVar[str] = (
        "Use one of: " + ", ".join(WEBHOOK_FAULTS + API_FAULTS) + "; count -1 or above 0; seconds "
        "at least 0; match an event type (`invoice.*`) or `[METHOD ]/path/prefix`."
    )


@dataclass(slots=True, kw_only=True)
class Fault:
    """One kind of trouble; `left` counts down, -1 never ends."""

    id: str
    name: str
    left: int
    match: str
    seconds: float

    def hits(self, subject: str) -> bool:
        """Tell whether an event type, or `METHOD /path`, is meant."""
        if self.left == 0:
            return False
        if not self.match:
            return True
        if self.name in WEBHOOK_FAULTS:
            return fnmatchcase(subject, self.match) or subject.startswith(self.match)
        whole = subject if " " in self.match else subject.split(" ", 1)[1]
        return whole.startswith(self.match)


class Faults:
    """What is going to go wrong."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._planned: list[Fault] = []

    def plan(self, wish: Obj) -> Fault:
        """Plan trouble from a control request.

        Errors: UnknownFault.
        """
        name = str(wish.get("name", ""))
        unknown = set(wish) - {"name", "count", "match", "seconds"}
        if unknown:
            raise UnknownFault(f"unknown fields: {', '.join(sorted(unknown))}")
        if name not in WEBHOOK_FAULTS + API_FAULTS:
            raise UnknownFault(f"no fault is called {name!r}")
        count = wish.get("count", 1)
        seconds = wish.get("seconds", USUAL_SECONDS.get(name, 0.0))
        if not isinstance(count, int) or isinstance(count, bool) or count == 0 or count < -1:
            raise UnknownFault(f"count cannot be {count!r}")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
            raise UnknownFault(f"seconds cannot be {seconds!r}")
        match = wish.get("match") or ""
        if not isinstance(match, str):
            raise UnknownFault(f"match cannot be {match!r}")
        planned = Fault(
            id=self._ids.token("fault_", 8), name=name, left=count, match=match, seconds=seconds
        )
        self._planned.append(planned)
        return planned

    def take(self, name: str, subject: str) -> Fault | None:
        """Spend one turn of a planned fault that hits the subject."""
        for fault in self._planned:
            if fault.name == name and fault.hits(subject):
                if fault.left > 0:
                    fault.left -= 1
                return fault
        return None

    def listed(self) -> Sequence[Obj]:
        """Show what is planned and not yet spent."""
        return [asdict(fault) for fault in self._planned if fault.left != 0]

    def clear(self) -> None:
        """Plan nothing any more."""
        self._planned.clear()
