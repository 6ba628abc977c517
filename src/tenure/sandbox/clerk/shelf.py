"""Objects in memory: found by id and by what they belong to, in the order of their creation."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Place = tuple[int, int, str]  # when it was created, as the how-manieth, its id
Keys = Callable[[Json], Iterable[str]]

REMEMBERED = 16  # acts that can be looked behind


@dataclass(slots=True)
class History:
    """What the last acts changed, so that an answer can be given from before them."""

    _acts: deque[list[tuple["Shelf", str, Json | None, Json | None]]] = field(
        default_factory=lambda: deque(maxlen=REMEMBERED)
    )
    _fresh: bool = True

    def begin(self) -> None:
        """Begin an act; it counts from its first change on."""
        self._fresh = True

    def note(self, shelf: "Shelf", key: str, old: Json | None, new: Json | None) -> None:
        """Remember one change of the present act."""
        if self._fresh:
            self._acts.append([])
            self._fresh = False
        self._acts[-1].append((shelf, key, old, new))

    def forget(self) -> None:
        """Make the present state the oldest that is known."""
        self._acts.clear()
        self._fresh = True

    @contextmanager
    def behind(self, acts: int) -> Generator[None]:
        """Be, for the length of a block, where the world was so many acts ago."""
        changes = [change for act in list(self._acts)[-acts:] for change in act]
        for shelf, key, old, _ in reversed(changes):
            shelf.restore(key, old)
        try:
            yield
        finally:
            for shelf, key, _, new in changes:
                shelf.restore(key, new)


class Shelf:
    """All objects of one kind; a change replaces an object and never writes into it."""

    def __init__(
        self, rows: dict[str, Json], history: History, indexes: Mapping[str, Keys]
    ) -> None:
        self._rows = rows
        self._history = history
        self._indexes = indexes
        self._numbers: dict[str, int] = {}
        self._lines: dict[tuple[str, str], list[Place]] = {}
        for row in rows.values():
            self._enter(row)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: str) -> Json:
        return self._rows[key]

    def get(self, key: str) -> Json | None:
        """Find an object, if there is one with this id."""
        return self._rows.get(key)

    def places(self, index: str = "", value: str = "") -> Sequence[Place]:
        """List where everything is, or what an index has under a value; oldest first."""
        return self._lines.get((index, value), [])

    def at(self, places: Iterable[Place]) -> list[Json]:
        """Fetch what is at these places."""
        return [self._rows[key] for _, _, key in places]

    def of(self, index: str, value: str) -> list[Json]:
        """List what an index has under a value, oldest first."""
        return self.at(self.places(index, value))

    def one(self, index: str, value: str) -> Json | None:
        """Find the first that an index has under a value."""
        return next(iter(self.of(index, value)), None)

    def seek(self, keys: Iterable[str]) -> Sequence[Place]:
        """List where these are, as far as they are anywhere; oldest first."""
        return sorted(self._place(self._rows[key]) for key in set(keys) if key in self._rows)

    def put(self, row: Json) -> Json:
        """Add an object, or replace the one with its id."""
        self._history.note(self, row["id"], self._rows.get(row["id"]), row)
        self.restore(row["id"], row)
        return row

    def drop(self, key: str) -> None:
        """Take an object away."""
        self._history.note(self, key, self._rows[key], None)
        self.restore(key, None)

    def restore(self, key: str, row: Json | None) -> None:
        """Set what has this id, without remembering it as a change."""
        old = self._rows.get(key)
        if old is not None and row is not None and self._is_found_alike(old, row):
            self._rows[key] = row
            return
        if old is not None:
            self._leave(old)
        if row is not None:
            self._rows[key] = row
            self._enter(row)

    def _is_found_alike(self, old: Json, new: Json) -> bool:
        same_age = old["created_at"] == new["created_at"]
        return same_age and self._labels(old) == self._labels(new)

    def _labels(self, row: Json) -> list[tuple[str, str]]:
        named = [(name, key) for name, keys in self._indexes.items() for key in keys(row)]
        return [("", ""), *named]

    def _place(self, row: Json) -> Place:
        number = self._numbers.setdefault(row["id"], len(self._numbers))
        return row["created_at"], number, row["id"]

    def _enter(self, row: Json) -> None:
        place = self._place(row)
        for label in self._labels(row):
            line = self._lines.setdefault(label, [])
            if not line or line[-1] < place:
                line.append(place)
            else:
                insort(line, place)

    def _leave(self, row: Json) -> None:
        place = self._place(row)
        for label in self._labels(row):
            line = self._lines[label]
            del line[bisect_left(line, place)]
            if not line:
                del self._lines[label]
        del self._rows[row["id"]]
