"""Everything the doors hand out: built once, when a process starts, and passed down."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx
import psycopg
from psycopg import AsyncConnection

from tenure.base.budget import Budget
from tenure.base.clock import Clock, SystemClock
from tenure.base.db import Db, open_pool
from tenure.base.ids import Ids, RandomIds
from tenure.base.settings import Settings
from tenure.billing.checkout import Till
from tenure.billing.customers import Desk
from tenure.billing.stripe import Stripe
from tenure.billing.sync import Customers
from tenure.entry.issuers import issuers
from tenure.entry.providers import open_directories, readers
from tenure.gate.cache import FactsCache
from tenure.gate.check import Gate
from tenure.gate.model import Policy
from tenure.gate.watch import watching
from tenure.identity.directory import Directory, Reader
from tenure.identity.session import Verifier
from tenure.journal.inbox import Inbox
from tenure.journal.reconcile import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The outside, as one value."""

    settings: Settings
    clock: Clock
    ids: Ids
    db: Db
    stripe: Stripe
    readers: Mapping[str, Reader]  # by provider: whose events we read
    directories: Mapping[str, Directory]  # whom we have a key for, and can ask

    @property
    def direct_url(self) -> str:
        """The database's address for LISTEN and for the worker: past a transaction pooler."""
        return self.settings.database_direct_url or self.settings.database_url

    @property
    def pace(self) -> Pace:
        """How hard a worker works."""
        settings = self.settings
        return Pace(lease=settings.lease, pause=settings.pause, concurrency=settings.concurrency)

    @property
    def desk(self) -> Desk:
        """Where customers are made."""
        return Desk(db=self.db, stripe=self.stripe, clock=self.clock, ids=self.ids)

    @property
    def till(self) -> Till:
        """Where checkout sessions are opened."""
        return Till(
            db=self.db,
            stripe=self.stripe,
            clock=self.clock,
            ids=self.ids,
            origins=self.settings.return_origins,
        )

    @property
    def customers(self) -> Customers:
        """The single writer of what Stripe says."""
        return Customers(db=self.db, stripe=self.stripe, clock=self.clock, ids=self.ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A world that takes requests."""

    world: World
    inbox: Inbox
    gate: Gate


@asynccontextmanager
async def open_world(
    settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None
) -> AsyncGenerator[World]:
    """Open the database and the providers while the block lasts; none needs to answer yet."""
    pooled = bool(settings.database_direct_url) or await is_pooled(settings.database_url)
    pool = open_pool(settings.database_url, size=settings.pool_size, pooled=pooled)
    async with AsyncExitStack() as stack:
        await pool.open(wait=False)
        stack.push_async_callback(pool.close)
        db = Db(pool)
        budget = stripe_budget(settings)
        stripe = Stripe(
            settings.stripe_secret_key,
            api_base=settings.stripe_api_base,
            spend=lambda: budget.spend(db),
        )
        stack.push_async_callback(stripe.close)
        yield World(
            settings=settings,
            clock=clock or SystemClock(),
            ids=ids or RandomIds(),
            db=db,
            stripe=stripe,
            readers=readers(settings),
            directories=await stack.enter_async_context(open_directories(settings, db, clock)),
        )


@asynccontextmanager
async def open_service(world: World) -> AsyncGenerator[Service]:
    """Open what takes requests: the gate and the inbox."""
    async with open_gate(world) as gate, Inbox(world.db) as inbox:
        yield Service(world=world, inbox=inbox, gate=gate)


@asynccontextmanager
async def open_gate(world: World) -> AsyncGenerator[Gate]:
    """Open the verifier and the gate: all that a guarded application needs."""
    settings = world.settings
    cache = FactsCache(max_age=settings.facts_max_age)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient())
        verifier = Verifier(issuers(settings), clock=world.clock, http=http)
        stack.push_async_callback(verifier.close)
        await stack.enter_async_context(watching(world.direct_url, cache))
        yield Gate(
            verifier=verifier,
            db=world.db,
            clock=world.clock,
            ids=world.ids,
            livemode=settings.livemode,
            cache=cache,
            policy=Policy(past_due_grace=settings.grace, observe=settings.gate_mode == "observe"),
        )


async def is_pooled(url: str) -> bool:
    """Say whether a pooler may stand before Postgres; where nobody answers, be careful.

    A pooler makes up the number of the server's process that it tells its clients.
    """
    try:
        async with await AsyncConnection.connect(
            url, autocommit=True, prepare_threshold=None, connect_timeout=2
        ) as conn:
            row = await (await conn.execute("SELECT pg_backend_pid()")).fetchone()
            return row is None or row[0] != conn.info.backend_pid
    except psycopg.Error:
        return True


def stripe_budget(settings: Settings) -> Budget:
    """Share Stripe's limit among all processes: a quarter second's worth may go at once."""
    rate = settings.stripe_rate
    mode = "live" if settings.livemode else "test"
    return Budget(
        name=f"stripe:{mode}", every=timedelta(seconds=1 / rate), burst=max(4, round(rate / 4))
    )
