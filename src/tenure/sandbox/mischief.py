"""What shall go wrong with webhooks: each trouble by its name, as often as asked."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeVar

from tenure.base.errors import TenureError
from tenure.base.ids import Ids

USUAL_SECONDS = {
    "lose": 0.0,
    "double": 0.0,
    "delay": 1.0,
    "reorder": 0.5,
    "permute": 0.5,
    "replay": 1.0,
}
TROUBLES = tuple(USUAL_SECONDS)

Held = TypeVar("Held")


class UnknownTrouble(TenureError):
    """A trouble with webhooks was asked for that does not exist, or that makes no sense."""

    code = "sandbox.unknown_trouble"
    hint = (
        f"Use one of: {', '.join(TROUBLES)}; count -1 or above 0; seconds at least 0; match a "
        "type of event (`user.*`)."
    )


@dataclass(slots=True, kw_only=True)
class Trouble(Generic[Held]):
    """One kind of trouble; `left` counts letters down, -1 never ends."""

    id: str
    name: str
    left: int
    match: str
    seconds: float
    seed: str  # of the order that `permute` makes
    held: list[Held] = field(default_factory=list[Held])
    until: float = 0.0  # when what is held is let go at the latest

    def release(self) -> list[Held]:
        """Let go of what was held back, in the order that it shall arrive in."""
        held, self.held = self.held, []
        if self.name == "reorder":
            return held[::-1]
        return [held[place] for place in _shuffled(self.seed, len(held))]

    def shown(self) -> dict[str, Any]:
        """Show it as the control door does."""
        names = ("id", "name", "left", "match", "seconds")
        return {name: getattr(self, name) for name in names} | {"held": len(self.held)}


class Mischief(Generic[Held]):
    """Everything that is going to go wrong with webhooks."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._planned: list[Trouble[Held]] = []

    def plan(
        self,
        name: str,
        *,
        match: str = "*",
        count: int = 1,
        seconds: float | None = None,
        seed: int | None = None,
    ) -> Trouble[Held]:
        """Plan a trouble.

        Errors: UnknownTrouble.
        """
        name = "lose" if name == "drop" else name
        if name not in USUAL_SECONDS:
            raise UnknownTrouble(f"no trouble is called {name!r}")
        if count == 0 or count < -1:
            raise UnknownTrouble(f"count cannot be {count}")
        seconds = USUAL_SECONDS[name] if seconds is None else seconds
        if not seconds >= 0:
            raise UnknownTrouble(f"seconds cannot be {seconds}")
        planned = Trouble[Held](
            id=self._ids.token("trouble_", 8),
            name=name,
            left=count,
            match=match,
            seconds=seconds,
            seed=str(self._ids.jitter() if seed is None else seed),
        )
        self._planned.append(planned)
        return planned

    def take(self, name: str, kind: str) -> Trouble[Held] | None:
        """Spend one turn of a trouble that is meant for this kind of letter."""
        for trouble in self._planned:
            if trouble.name == name and trouble.left and fnmatchcase(kind, trouble.match):
                trouble.left -= trouble.left > 0
                return trouble
        return None

    def over(self, now: float) -> Iterator[Trouble[Held]]:
        """Find those that have held letters back for long enough."""
        return (t for t in self._planned if t.held and (t.left == 0 or t.until <= now))

    def next_end(self) -> float | None:
        """Tell when the next of them lets go of what it holds."""
        return min((t.until for t in self._planned if t.held), default=None)

    def listed(self) -> Sequence[Trouble[Held]]:
        """List what is not spent."""
        self._planned = [t for t in self._planned if t.left or t.held]
        return list(self._planned)

    def clear(self) -> list[Held]:
        """Plan nothing any more; give back what was held."""
        held = [one for trouble in self._planned for one in trouble.release()]
        self._planned.clear()
        return held


def _shuffled(seed: str, size: int) -> list[int]:
    """Put the numbers below `size` into an order that only the seed decides."""
    return sorted(range(size), key=lambda n: hashlib.sha256(f"{seed}:{n}".encode()).digest())
