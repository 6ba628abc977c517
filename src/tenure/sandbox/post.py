"""What a courier carries and where to, and what a provider promises about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One event on its way; its id is the same in every try and every replay."""

    id: str
    kind: str
    body: bytes


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """Where letters are sent to."""

    id: str
    url: str
    secrets: list[str]  # newest first; two while they are being changed
    kinds: list[str]  # globs; none: every kind
    enabled: bool = True
    failing_since: float | None = None

    def wants(self, kind: str) -> bool:
        """Tell whether a kind of letter goes there."""
        return self.enabled and (
            not self.kinds or any(fnmatchcase(kind, glob) for glob in self.kinds)
        )


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One letter to one endpoint; times are UNIX seconds."""

    id: str
    event: str
    type: str
    endpoint: str
    url: str
    planned_at: float
    next_at: float
    status: str = "pending"  # held, pending, delivered, failed, dropped
    attempts: int = 0
    delivered_at: float | None = None
    answers: list[int | str] = field(default_factory=list[int | str])


@dataclass(slots=True, kw_only=True)
class Post:
    """What survives a restart."""

    letters: dict[str, Letter] = field(default_factory=dict[str, Letter])
    endpoints: dict[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    deliveries: dict[str, Delivery] = field(default_factory=dict[str, Delivery])


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What a provider promises about its webhooks; times are in seconds."""

    waits: tuple[float, ...] = ()  # between tries: one try more than there are waits
    scale: float = 1.0  # of the waits and of `disable_after`, so that a test need not wait hours
    timeout: float = 15.0
    abort: tuple[str, str] | None = None  # the answer's header and value that end the retries
    disable_after: float | None = None  # nothing but failures for so long shuts the endpoint
    headers: Mapping[str, str] = field(default_factory=dict[str, str])  # with every letter

    def wait(self, attempts: int) -> float | None:
        """Tell how long to wait after so many tries; None: give up."""
        return self.waits[attempts - 1] * self.scale if attempts <= len(self.waits) else None
