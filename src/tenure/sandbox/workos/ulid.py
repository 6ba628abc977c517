"""Ids as WorkOS makes them: a prefix, ten signs of time in milliseconds, sixteen more."""

import hashlib

from tenure.base.ids import Ids

SIGNS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def written(number: int, length: int) -> str:
    """Write a number in Crockford's base 32."""
    return "".join(SIGNS[number >> 5 * place & 31] for place in reversed(range(length)))


class Ulids:
    """Makes ids that sort by time; those of one millisecond in the order of making."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._last = 0
        self._count = 0

    def make(self, prefix: str, ms: int) -> str:
        """Name an object; a clock that is set back does not change the order."""
        self._count = self._count + 1 if ms <= self._last else 0
        self._last = max(self._last, ms)
        tail = self._ids.token("", 12).upper()
        return f"{prefix}{written(self._last, 10)}{written(self._count, 4)}{tail}"

    def loose(self, prefix: str, ms: int) -> str:
        """Name something whose order within its millisecond is left to chance."""
        digest = hashlib.sha256(self._ids.token("", 16).encode()).digest()
        return f"{prefix}{written(ms, 10)}{''.join(SIGNS[byte & 31] for byte in digest[:16])}"
