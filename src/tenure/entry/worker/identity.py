"""What the worker does about identity: one reconciler for each kind of thing at each provider."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tenure.base.budget import BudgetSpent
from tenure.base.log import log
from tenure.entry.world import World
from tenure.identity import poll, walk_store
from tenure.identity.act import UNLIMITED, Policy
from tenure.identity.errors import ProviderTrouble, Refused, TooManyMissing
from tenure.identity.fulfil import Fulfilment
from tenure.identity.instance import Instance
from tenure.identity.model import Kind
from tenure.identity.sync import Inbound
from tenure.identity.walk import Walker
from tenure.identity.workos import WorkosDirectory
from tenure.journal.reconcile import Reconciler

KINDS: tuple[Kind, ...] = ("user", "org", "membership", "session")
USERS_ONLY = frozenset({"supabase"})  # providers that know of no organizations


def policy_of(world: World) -> Policy:
    """Read the company's decisions from the settings."""
    settings = world.settings
    return Policy(
        over_limit=settings.over_limit,
        deletion=settings.user_deletion,
        absence_limit=settings.absence_limit,
    )


def _policy(world: World, provider: str) -> Policy:
    """Read the company's decisions for one provider."""
    if provider in USERS_ONLY:  # our own database: it cannot be the wrong one, nor lag
        return replace(policy_of(world), absence_limit=UNLIMITED)
    return policy_of(world)


def identity_reconcilers(world: World) -> Sequence[Reconciler[Any]]:
    """Make the reconcilers of every provider whose events we read."""
    instances = {
        name: Instance(directory=directory, db=world.db, clock=world.clock)
        for name, directory in world.directories.items()
    }
    inbound = [
        Inbound(
            which=which,
            reader=reader,
            directory=world.directories.get(name),
            db=world.db,
            clock=world.clock,
            ids=world.ids,
            policy=_policy(world, name),
            instance=instances.get(name),
        )
        for name, reader in world.readers.items()
        for which in (KINDS[:1] if name in USERS_ONLY else KINDS)
    ]
    outbound = [
        Fulfilment(directory=directory, db=world.db, clock=world.clock, ids=world.ids)
        for name, directory in world.directories.items()
        if name not in USERS_ONLY
    ]
    return [*inbound, *outbound]


def walkers(world: World) -> Sequence[Walker]:
    """Make a walker for every provider that can be asked."""
    return [
        Walker(
            directory=directory,
            db=world.db,
            clock=world.clock,
            ids=world.ids,
            policy=_policy(world, directory.provider),
        )
        for directory in world.directories.values()
    ]


async def walk_all(world: World) -> None:
    """Walk through every provider, one after the other; a failure of one holds up no other."""
    for walker in walkers(world):
        provider = walker.directory.provider
        try:
            counts = await _walk(walker)
        except (ProviderTrouble, TooManyMissing, BudgetSpent) as exc:
            log.warning("worker.walk_put_off", provider=provider, code=exc.code, error=str(exc))
            continue
        log.info("worker.walked", provider=provider, **(counts or {}))
        if counts is not None and provider == poll.PROVIDER:
            async with world.db.statement() as tx:
                place = await walk_store.get_place(tx, provider)
                if place is not None and place.phase == "ended":
                    await poll.forget_loss(tx, walked_from=place.began_at)


async def _walk(walker: Walker) -> dict[str, int] | None:
    """Walk to the end and count; None where another process walks."""
    counts = None
    async for step in walker.walk():
        counts = step.counts
    return counts


async def poll_events(world: World) -> bool:
    """Read WorkOS's list of events; say whether a walk is needed, because some may be lost."""
    directory = world.directories.get(poll.PROVIDER)
    if not isinstance(directory, WorkosDirectory):
        return False
    needed = False
    while True:
        try:
            polled = await poll.poll(world.db, directory, world.clock)
        except (ProviderTrouble, BudgetSpent, Refused) as exc:
            log.warning("worker.poll_put_off", code=exc.code, error=str(exc))
            return needed
        needed |= polled.began or polled.lost
        if polled.kept:
            log.info("worker.polled", kept=polled.kept, quarantined=polled.quarantined)
        if not polled.behind:
            return needed
