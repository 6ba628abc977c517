"""A provider in this process, and our tables that follow it as the worker lets them."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import httpx

from tenure.base.clock import StoppedClock
from tenure.base.db import Db
from tenure.base.ids import Ids, RandomIds
from tenure.entry.worker.tasks import ROUTES
from tenure.identity import decisions
from tenure.identity.act import Policy
from tenure.identity.clerk import ClerkDirectory
from tenure.identity.directory import Directory, Page
from tenure.identity.errors import StaleAnswer
from tenure.identity.fulfil import Fulfilment
from tenure.identity.model import Kind
from tenure.identity.sync import Inbound
from tenure.identity.walk import Step, Walker
from tenure.identity.wish import Wishes
from tenure.journal import relay, store
from tenure.journal.model import Claim, Knock, Subject
from tenure.journal.reconcile import Reconciler, look_and_write
from tests.sandbox.clerk.inside import Room, a_room

from .builders import Registry, rows
from .workos_scene import Scene
from .workos_scene import a_scene as a_workos

KINDS: tuple[Kind, ...] = ("user", "org", "membership", "session")
NOW, LEASE = timedelta(0), timedelta(hours=1)
Item = TypeVar("Item")
Letter = tuple[str, bytes]
Order = Callable[[Sequence[Knock]], Sequence[Knock]]


def as_sent(knocks: Sequence[Knock]) -> Sequence[Knock]:
    return knocks


@dataclass(kw_only=True)
class Mirror:
    """Our side of one provider."""

    db: Db
    clock: StoppedClock
    directory: Directory
    letters: Callable[[], Sequence[Letter]]  # everything the provider ever sent
    asks: bool = True  # there is an API key
    policy: Policy = field(default_factory=Policy)
    ids: Ids = field(default_factory=RandomIds)
    heard: int = 0

    @property
    def provider(self) -> str:
        return self.directory.provider

    @property
    def ours(self) -> Registry:
        return Registry(
            db=self.db,
            clock=self.clock,
            ids=self.ids,
            provider=self.provider,
            policy=self.policy,
        )

    @property
    def wishes(self) -> Wishes:
        return Wishes(db=self.db, clock=self.clock, ids=self.ids, policy=self.policy)

    def inbound(self, which: Kind) -> Inbound:
        return Inbound(
            which=which,
            reader=self.directory,
            directory=self.directory if self.asks else None,
            db=self.db,
            clock=self.clock,
            ids=self.ids,
            policy=self.policy,
        )

    def walker(self, **changes: Any) -> Walker:
        base: dict[str, Any] = {
            "directory": self.directory,
            "db": self.db,
            "clock": self.clock,
            "ids": self.ids,
            "policy": self.policy,
        }
        return Walker(**base | changes)

    async def walk(self, **changes: Any) -> list[Step]:
        return [step async for step in self.walker(**changes).walk()]

    def reconcilers(self) -> list[Reconciler[Any]]:
        outbound = Fulfilment(directory=self.directory, db=self.db, clock=self.clock, ids=self.ids)
        return [*map(self.inbound, KINDS), outbound]

    async def hear(self, order: Order = as_sent) -> int:
        """Take in what the provider has sent since the last time; say how much that was."""
        fresh = list(self.letters())[self.heard :]
        self.heard += len(fresh)
        knocks = [self.directory.knock_of(body, event_id=name) for name, body in fresh]
        for knock in order(knocks):
            async with self.db.statement() as tx:
                await store.put_knocks(tx, [knock])
        return len(fresh)

    async def work(self) -> int:
        """Look at all that is due, and carry wishes out, until nothing is; say how many looks.

        Errors: what a look or a write raises; its claim is given back.
        """
        looks = 0
        while looked := await self._work_once():
            looks += looked
        return looks

    async def carry_wishes(self) -> None:
        """Carry wishes to the provider, and look at nothing."""
        await relay.relay(self.db, ROUTES)
        await self._drain(self.reconcilers()[-1])

    async def _work_once(self) -> int:
        await relay.relay(self.db, ROUTES)
        return sum([await self._drain(reconciler) for reconciler in self.reconcilers()])

    async def _drain(self, reconciler: Reconciler[Any]) -> int:
        async with self.db.statement() as tx:
            claims = await store.take_due(tx, reconciler.kind, limit=100, lease=LEASE)
        try:
            for claim in claims:
                await self._look(reconciler, claim)
        except Exception:
            await self._give_back(claims)
            raise
        return len(claims)

    async def _look(self, reconciler: Reconciler[Any], claim: Claim) -> None:
        try:
            await look_and_write(self.db, reconciler, claim, pause=NOW)
        except (
            StaleAnswer
        ) as exc:  # too soon: tried again at once, as the worker does a little later
            async with self.db.statement() as tx:
                await store.put_off(tx, claim, error=str(exc), wait=NOW)

    async def _give_back(self, claims: Sequence[Claim]) -> None:
        async with self.db.statement() as tx:
            for claim in claims:
                await store.give_back(tx, claim)

    async def follow(self, order: Order = as_sent) -> None:
        await self.hear(order)
        await self.work()

    async def mark(self, kind: str, *names: str) -> None:
        async with self.db.statement() as tx:
            await store.mark(tx, [Subject(f"{self.provider}.{kind}", name) for name in names])

    async def wait_over(self) -> None:
        """Let every look that was put off be due now."""
        async with self.db.statement() as tx:
            await tx.execute("UPDATE tenure.subjects SET retry_at = clock_timestamp()")

    async def due(self) -> set[str]:
        """Name what is due, at once or later."""
        found = await rows(
            self.db, "SELECT kind, id FROM tenure.subjects WHERE dirty_seq > settled_seq"
        )
        return {f"{row['kind'].partition('.')[2]} {row['id']}" for row in found}

    async def made(self, kind: str, name: str) -> list[tuple[str, str]]:
        """List what was decided about a subject, oldest first."""
        subject = Subject(f"{self.provider}.{kind}", name)
        async with self.db.statement() as tx:
            kept = await decisions.list_of_subject(tx, subject)
        return [(one.verdict, one.reason) for one in kept]

    async def state(self) -> dict[str, set[tuple[Any, ...]]]:
        """Read who is here, as a provider would put it."""
        return {
            "users": await self._all(
                """
                SELECT i.external_id, u.email, u.blocked_until IS NOT NULL FROM tenure.users u
                  JOIN tenure.identities i ON i.user_id = u.id WHERE u.deleted_at IS NULL
                """
            ),
            "orgs": await self._all(
                """
                SELECT i.external_id, o.name FROM tenure.organizations o
                  JOIN tenure.identities i ON i.org_id = o.id WHERE o.deleted_at IS NULL
                """
            ),
            "memberships": await self._all(
                """
                SELECT m.external_id, o.external_id AS org, u.external_id AS person, m.role,
                       m.status FROM tenure.memberships m
                  JOIN tenure.identities o ON o.org_id = m.org_id
                  JOIN tenure.identities u ON u.user_id = m.user_id WHERE m.removed_at IS NULL
                """
            ),
        }

    async def _all(self, query: Any) -> set[tuple[Any, ...]]:
        return {tuple(row.values()) for row in await rows(self.db, query)}

    async def truth(self) -> dict[str, set[tuple[Any, ...]]]:
        """Ask the provider for everybody, as `state` tells it of us."""
        users = await _every(self.directory.users)
        orgs = await _every(self.directory.organizations)
        members = [
            m for org in orgs for m in await _every(partial(self.directory.memberships, org.id))
        ]
        return {
            "users": {(u.id, u.email, u.blocked) for u in users},
            "orgs": {(o.id, o.name) for o in orgs},
            "memberships": {(m.id, m.org.id, m.user.id, m.role, m.status.value) for m in members},
        }

    async def check(self) -> None:
        """Fail where we differ from the provider, or from ourselves."""
        assert await self.state() == await self.truth()
        await self.ours.check()


async def _every(read: Callable[[str | None], Awaitable[Page[Item]]]) -> list[Item]:
    """Read a list to its end."""
    page = await read(None)
    found = list(page.items)
    while page.next is not None:
        page = await read(page.next)
        found += page.items
    return found


async def at_once() -> None:
    """Take a call's turn without waiting."""


@dataclass(kw_only=True)
class Clerk(Mirror):
    """Our side of a Clerk."""

    room: Room

    async def an_org(self, name: str = "Engines") -> str:
        return await self.room.an_org(name=name)

    async def a_user(self, name: str = "ada") -> str:
        return await self.room.a_user(first_name=name, email_address=[f"{name}@example.com"])

    async def join(self, org: str, user: str, role: str = "member") -> str:
        path = f"/v1/organizations/{org}/memberships"
        return (await self.room.post(path, user_id=user, role=f"org:{role}"))["id"]

    async def set_role(self, org: str, user: str, role: str) -> None:
        path = f"/v1/organizations/{org}/memberships/{user}"
        await self.room.ask("PATCH", path, role=f"org:{role}")

    async def leave(self, org: str, user: str) -> None:
        await self.room.ask("DELETE", f"/v1/organizations/{org}/memberships/{user}")

    async def a_member(self, name: str = "ada", org: str = "", role: str = "member") -> str:
        """Make a user who is in an organization; give the pair's name."""
        user, org = await self.a_user(name), org or await self.an_org()
        await self.join(org, user, role)
        return f"{org}/{user}"

    async def fail(self, name: str, **fault: Any) -> None:
        await self.room.post("/_sandbox/faults", name=name, **fault)

    def tick(self, seconds: float = 1) -> None:
        self.clock.tick(timedelta(seconds=seconds))


@asynccontextmanager
async def a_clerk(db: Db, **changes: Any) -> AsyncGenerator[Clerk]:
    async with a_room() as room, httpx.AsyncClient(transport=room.clerk.transport) as http:
        directory = ClerkDirectory(
            room.clerk.secret_key,
            livemode=False,
            api_base=room.clerk.url,
            http=http,
            spend=at_once,
        )

        def letters() -> Sequence[Letter]:
            return [(one.id, one.body) for one in room.clerk.world.courier.letters()]

        base: dict[str, Any] = {"db": db, "clock": room.clock, "directory": directory}
        yield Clerk(room=room, letters=letters, **base | changes)


@dataclass(kw_only=True)
class Workos(Mirror):
    """Our side of a WorkOS."""

    scene: Scene

    def tick(self, seconds: float = 1) -> None:
        self.clock.tick(timedelta(seconds=seconds))


@asynccontextmanager
async def a_workos_mirror(db: Db, clock: StoppedClock, **changes: Any) -> AsyncGenerator[Workos]:
    async with a_workos(clock) as scene:
        base: dict[str, Any] = {"db": db, "clock": clock, "directory": scene.directory}
        yield Workos(
            scene=scene, letters=lambda: [("", body) for body in scene.events()], **base | changes
        )
