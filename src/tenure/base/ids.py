"""Where chance comes from: ids, secrets and jitter, each asked for by purpose."""

import secrets
import uuid
from typing import Protocol
from uuid import UUID

ALPHABET = b"0123456789abcdefghjkmnpqrstvwxyz"  # 32 signs: a byte picks one without bias
SIGNS = bytes(ALPHABET[byte & 31] for byte in range(256))


class Ids(Protocol):
    """Anything that can name new things."""

    def uuid(self) -> UUID:
        """Make a key for a row of ours."""
        ...

    def token(self, prefix: str, length: int = 24) -> str:
        """Make a name such as `cus_…`: `prefix`, then `length` letters and digits."""
        ...

    def jitter(self) -> float:
        """Pick a fraction, at least 0 and below 1, to spread out things that would collide."""
        ...


class RandomIds:
    """Ids that nobody can guess; the only place in the tree that asks for chance."""

    def uuid(self) -> UUID:
        """Make a random (version 4) key."""
        return uuid.uuid4()  # noqa: TID251 (this file is the one exception)

    def token(self, prefix: str, length: int = 24) -> str:
        """Make `prefix` followed by unguessable letters and digits."""
        return prefix + secrets.token_bytes(length).translate(SIGNS).decode()

    def jitter(self) -> float:
        """Pick a fraction."""
        return secrets.randbelow(1_000_000) / 1_000_000


class CountedIds:
    """Ids that count up from a seed: the same run gives the same names."""

    def __init__(self, seed: int = 1) -> None:
        self._seed = seed
        self._count = 0

    def uuid(self) -> UUID:
        """Make the next key."""
        self._count += 1
        return UUID(int=(self._seed << 64) + self._count)

    def token(self, prefix: str, length: int = 24) -> str:
        """Make the next name."""
        self._count += 1
        return f"{prefix}{self._seed}{self._count:0{length - len(str(self._seed))}d}"

    def jitter(self) -> float:
        """Pick the middle."""
        return 0.5
