"""Rows by id, sorted lists to find them by, and what they were before the last changes."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

Row = dict[str, Any]
Key = Callable[[Row], tuple[Hashable, str] | None]
REMEMBERED = 100  # changes that can be looked behind


class Table:
    """Rows that are replaced, never altered, so that a former one stays what it was."""

    def __init__(self, rows: dict[str, Row], journal: "Journal", **keys: Key) -> None:
        self.rows = rows
        self.ids = sorted(rows)
        self._journal = journal
        self._keys = keys
        self._lists: dict[str, dict[Hashable, list[str]]] = {name: {} for name in keys}
        for row in rows.values():
            self._enter(row)

    def get(self, key: str) -> Row | None:
        """Look a row up."""
        return self.rows.get(key)

    def find(self, name: str, key: Hashable) -> Sequence[str]:
        """List, sorted, what a key leads to."""
        return self._lists[name].get(key, ())

    def first(self, name: str, key: Hashable) -> Row | None:
        """Look up the row that a key leads to."""
        found = self.find(name, key)
        return self.rows[found[0]] if found else None

    def put(self, row: Row) -> Row:
        """Add a row, or replace the one with its id."""
        self._journal.note(self, row["id"], self.rows.get(row["id"]))
        self.set(row["id"], row)
        return row

    def drop(self, key: str) -> None:
        """Remove a row."""
        self._journal.note(self, key, self.rows[key])
        self.set(key, None)

    def set(self, key: str, row: Row | None) -> None:
        """Make this the row, without noting it as a change."""
        before = self.rows.pop(key, None)
        if before is not None:
            self._leave(before)
        if row is not None:
            self.rows[key] = row
            self._enter(row)
        if (before is None) != (row is None):
            insort(self.ids, key) if row else _take(self.ids, key)

    def _enter(self, row: Row) -> None:
        for name, place in self._places(row):
            insort(self._lists[name].setdefault(place[0], []), place[1])

    def _leave(self, row: Row) -> None:
        for name, place in self._places(row):
            _take(self._lists[name][place[0]], place[1])

    def _places(self, row: Row) -> Iterable[tuple[str, tuple[Hashable, str]]]:
        for name, key in self._keys.items():
            place = key(row)
            if place is not None:
                yield name, place


Before = tuple[Table, str, Row | None]


class Journal:
    """Remembers the last changes, so that a read can be answered as before them."""

    def __init__(self) -> None:
        self._open: list[Before] = []
        self._changes: deque[list[Before]] = deque(maxlen=REMEMBERED)

    def note(self, table: Table, key: str, before: Row | None) -> None:
        """Add to the change that is under way."""
        self._open.append((table, key, before))

    def close(self) -> None:
        """End a change, if anything changed."""
        if self._open:
            self._changes.append(self._open)
            self._open = []

    def forget(self) -> None:
        """Make the present state the oldest that is known."""
        self._open = []
        self._changes.clear()

    @contextmanager
    def rewound(self, back: int) -> Generator[None]:
        """Show the rows as they were so many changes ago."""
        again: list[Before] = []
        for entries in reversed(list(self._changes)[-back:]):
            for table, key, before in reversed(entries):
                again.append((table, key, table.get(key)))
                table.set(key, before)
        try:
            yield
        finally:
            for table, key, row in reversed(again):
                table.set(key, row)


def _take(ids: list[str], key: str) -> None:
    del ids[bisect_left(ids, key)]
