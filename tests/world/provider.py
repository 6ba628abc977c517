"""A provider in whose pretended instance things happen at random, and what is true there.

Clerk and WorkOS are such (`clerk_acts.py`, `workos_acts.py`). A third one, Supabase Auth say, has
no organizations: its acts are of users alone, its `truth` has no members, and `PROVIDERS` in
`test_identity_world.py` gets one more line.
"""

import random  # noqa: TID251 (every choice comes from a seed that is printed)
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import httpx

from tenure.base.clock import StoppedClock
from tenure.identity.claims import Principal
from tenure.identity.directory import Directory, Reader
from tenure.journal.model import Knock

Json = dict[str, Any]
Pair = tuple[str, str]  # the organization's id and the user's
Act = Callable[[], Awaitable[str | None]]  # says whom it concerned; None: nothing to do
T = TypeVar("T")

ADDRESSES = 8  # so few that an address comes back under another user
LIFETIME = timedelta(minutes=5)  # of a token


@dataclass(frozen=True, kw_only=True)
class Person:
    email: str | None
    name: str | None
    blocked: bool = False


@dataclass(frozen=True, kw_only=True)
class Member:
    id: str
    role: str
    status: str


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What the provider has now, read from its memory and not through its API."""

    people: Mapping[str, Person]
    organizations: Mapping[str, tuple[str, str | None]]  # name and slug
    members: Mapping[Pair, Member]


class Provider(Protocol):
    """One pretended instance."""

    name: str
    reader: Reader
    directory: Directory | None  # None: we have no API key
    clock: StoppedClock
    chance: random.Random

    async def begin(self) -> None:
        """Make the founder, who is never deleted: whom else shall we know the instance by?"""
        ...

    async def act(self) -> str:
        """Do something, and say what."""
        ...

    async def trouble(self) -> str:
        """Break the next answers to us; `calm` ends it."""
        ...

    async def calm(self) -> None: ...

    async def bring(self, pair: Pair) -> bool:
        """Make somebody a member, if she is not one."""
        ...

    def knocks(self, after: int = 0) -> Sequence[Knock]:
        """Give what was told after the first so many times, in the order of happening."""
        ...

    def truth(self) -> Truth: ...

    def token(self) -> Principal | None:
        """Sign somebody in; None while there is nobody."""
        ...

    def generations(self) -> Mapping[str, Pair]:
        """Give every membership that ever was, by its id."""
        ...

    def ended(self) -> Mapping[str, set[str]]:
        """Give the sessions that ever ended, and the events that told of each."""
        ...


@dataclass(kw_only=True)
class Acting:
    """What the acts at all providers have in common."""

    chance: random.Random
    clock: StoppedClock
    http: httpx.AsyncClient
    troubled: bool = False
    lied: bool = False  # an answer was older than what it was asked about
    count: int = 0
    founder: str | None = None

    def weights(self) -> dict[Act, float]:
        raise NotImplementedError

    def faults(self) -> list[Json]:
        raise NotImplementedError

    async def create_user(self) -> str | None:
        raise NotImplementedError

    async def begin(self) -> None:
        self.founder = await self.create_user()

    async def act(self) -> str:
        """Do something that can be done, and say what; what is refused did not happen."""
        await self.calm()
        weights = self.weights()
        while True:
            (chosen,) = self.chance.choices(list(weights), list(weights.values()))
            about = await chosen()
            if about is not None:
                return f"{chosen.__name__} {about}"  # type: ignore[attr-defined]

    async def ask(self, method: str, path: str, **body: Any) -> Json | None:
        answer = await self.http.request(method, path, json=body or None)
        assert answer.status_code < 500, answer.text
        return answer.json() if answer.is_success and answer.content else None

    async def trouble(self) -> str:
        fault = self.chance.choice(self.faults())
        await self.ask("POST", "/_sandbox/faults", **fault)
        self.troubled = True
        self.lied = self.lied or fault["name"] == "stale"
        return f"trouble {fault}"

    async def calm(self) -> None:
        if self.troubled:
            await self.ask("DELETE", "/_sandbox/faults")
            self.troubled = False

    def a_moment(self) -> timedelta:
        return timedelta(milliseconds=self.chance.choice([0, 1, 1, 3_000]))

    def some(self, things: Sequence[T]) -> T | None:
        return self.chance.choice(things) if things else None

    def address(self) -> str:
        return f"somebody{self.chance.randrange(ADDRESSES)}@example.com"

    def word(self) -> str:
        self.count += 1
        return f"Name{self.count}"

    def role(self) -> str:
        return self.chance.choice(["admin", "member", "member"])

    def principal(
        self, provider: str, user: str, org: str | None, *, slug: str | None, role: str | None
    ) -> Principal:
        now = self.clock.now()
        return Principal(
            provider=provider,
            issuer=f"https://{provider}.test",
            user_id=user,
            session_id=None,
            org_id=org,
            org_slug=slug,
            role=role,
            permissions=frozenset(),
            actor=None,
            issued_at=now,
            expires_at=now + LIFETIME,
        )
