"""`tenure sync …`: fill, compare, repair and explain what we keep of the identity providers."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import click

from tenure.base.errors import TenureError
from tenure.base.settings import Settings
from tenure.entry.cli.asking import ACTOR, in_world
from tenure.entry.cli.explained import data_of, lines_of
from tenure.entry.cli.group import json_option, say
from tenure.entry.cli.result import several
from tenure.entry.worker.identity import identity_reconcilers, walkers
from tenure.entry.world import World
from tenure.identity import explain as reasons
from tenure.identity import poll, walk_store
from tenure.identity.poll import Replayed
from tenure.identity.walk import Step, Walker
from tenure.identity.walk_store import Difference
from tenure.journal import audit, find
from tenure.journal.model import Entry
from tenure.journal.reconcile import drain

PROVIDERS = ("clerk", "workos", "supabase")
ROUNDS = 100  # of draining: each takes 20 s at most


class NothingToAsk(TenureError):
    """There is no provider that could be asked."""

    code = "cli.nothing_to_ask"
    hint = (
        "Set CLERK_SECRET_KEY or WORKOS_API_KEY, or for Supabase Auth SUPABASE_URL, with "
        "DATABASE_URL its own database: otherwise there is only what events and tokens say."
    )


class NoSuchEvent(TenureError):
    """No event of an identity provider with this id is kept."""

    code = "cli.no_such_event"
    hint = "Kept events are forgotten after TENURE_INBOX_DAYS; `tenure sync backfill` asks anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """What a walk through one provider came to."""

    provider: str
    went_on: bool  # with a walk that was cut off before
    ended: bool  # False: another process walks on
    counts: dict[str, int]
    reasons: dict[str, int]  # of the differences met in this run


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What differs at one provider, and what was left after a repair."""

    provider: str
    differences: tuple[Difference, ...]
    looks: int = 0
    left: tuple[Difference, ...] | None = None  # None: nothing was repaired


provider_argument = click.argument(
    "provider", type=click.Choice(PROVIDERS), required=False, metavar="[PROVIDER]"
)


@click.group()
def sync() -> None:
    """Fill, compare, repair and explain what we keep of the identity providers."""


@sync.command()
@provider_argument
@json_option
def backfill(*, provider: str | None, as_json: bool) -> None:
    """List everything a provider has, and write who is unknown here.

    A run that was cut off is gone on with. Whatever else differs is marked, and a worker asks for
    it by name. Without PROVIDER: every one that we have a key for.
    """
    walked = in_world(partial(_backfill, provider=provider))
    say([asdict(one) for one in walked], map(_walked_line, walked), as_json=as_json)


@sync.group()
def drift() -> None:
    """Compare our rows with the source of truth; nothing is changed without --repair."""


@drift.command()
@provider_argument
@click.option("--repair", is_flag=True, help="Write what differs, as the provider says it is.")
@json_option
def identity(*, provider: str | None, repair: bool, as_json: bool) -> None:
    """List where users, organizations and memberships differ from the provider, and why.

    Exit status: 0 nothing differs (with --repair: nothing any more), 1 something does, 2 the
    provider or the database could not be asked.
    """
    found = in_world(partial(_compare, provider=provider, repair=repair))
    differing = [one for one in found if (one.left if one.left is not None else one.differences)]
    data = {"same": not differing, "providers": [asdict(one) for one in found]}
    say(data, _drift_lines(found), as_json=as_json)
    raise SystemExit(1 if differing else 0)


@sync.command()
@click.argument("name", metavar="USER|ORG|EVENT")
@json_option
def explain(*, name: str, as_json: bool) -> None:
    """Say why a user, an organization or an event stands as it does.

    Found by our key, a provider's id, an e-mail address, or the id of an event.
    """

    async def told(world: World) -> list[reasons.Explained]:
        async with world.db.transaction() as tx:
            return await reasons.explain(tx, name)

    found = in_world(told)
    lines = (line for one in found for line in lines_of(one))
    say([data_of(one) for one in found], lines, as_json=as_json)


@sync.command()
@click.argument("event")
@json_option
def replay(*, event: str, as_json: bool) -> None:
    """Read a kept event again, and mark whom it concerns: after it was in quarantine.

    Exit status: 0 marked, 1 it still concerns nobody.
    """
    done = in_world(partial(_replay, event=event))
    subject = f"{done.subject.kind} {done.subject.id}" if done.subject else None
    lines = [f"marked: {subject}; a worker looks at it" if subject else f"nobody: {done.note}"]
    say({"subject": subject, "note": done.note}, lines, as_json=as_json)
    raise SystemExit(0 if subject else 1)


async def _backfill(world: World, *, provider: str | None) -> list[Walked]:
    return [await _walk(world, walker) for walker in _chosen(world, provider)]


async def _walk(world: World, walker: Walker) -> Walked:
    name = walker.directory.provider
    async with world.db.statement() as tx:
        before = await walk_store.get_place(tx, name)
    seen, last = Counter[str](), None
    async for step in walker.walk():
        seen.update(one.reason for one in step.differences)
        _show(name, step)
        last = step
    async with world.db.statement() as tx:
        after = await walk_store.get_place(tx, name)
    return Walked(
        provider=name,
        went_on=before is not None and before.phase != "ended",
        ended=after is not None and after.phase == "ended",
        counts=last.counts if last else {},
        reasons=dict(seen),
    )


async def _compare(world: World, *, provider: str | None, repair: bool) -> list[Compared]:
    return [await _compared(world, one, repair=repair) for one in _chosen(world, provider)]


async def _compared(world: World, walker: Walker, *, repair: bool) -> Compared:
    name = walker.directory.provider
    found = await _differences(replace(walker, only_look=not repair))
    if not repair:
        return Compared(provider=name, differences=found)
    looks = await _drain(world, name)
    left = await _differences(replace(walker, only_look=True))
    if found:
        async with world.db.transaction() as tx:
            await audit.append(tx, _repaired(world, name, found, left))
    return Compared(provider=name, differences=found, looks=looks, left=left)


async def _differences(walker: Walker) -> tuple[Difference, ...]:
    found: list[Difference] = []
    async for step in walker.walk():
        found += step.differences
        _show(walker.directory.provider, step)
    return tuple(found)


async def _drain(world: World, provider: str) -> int:
    """Look at everything that is due, here and now, whether or not a worker runs."""
    mine = [r for r in identity_reconcilers(world) if r.kind.startswith(f"{provider}.")]
    looks = 0
    for _ in range(ROUNDS):
        round_of = [await drain(world.db, one, world.pace, world.ids) for one in mine]
        looks += sum(round_of)
        if not any(round_of):
            break
    return looks


def _repaired(
    world: World, provider: str, found: Sequence[Difference], left: Sequence[Difference]
) -> Entry:
    return Entry(
        org_id=None,
        user_id=None,
        at=world.clock.now(),
        actor=ACTOR,
        action="identity.repaired",
        subject=provider,
        details={
            "found": len(found),
            "reasons": dict(Counter(one.reason for one in found)),
            "left": len(left),
        },
    )


async def _replay(world: World, *, event: str) -> Replayed:
    async with world.db.statement() as tx:
        kept = await find.list_events(tx, event)
    for one in kept:
        reader = world.readers.get(one.source)
        done = await poll.replay(world.db, reader, event) if reader else None
        if done is not None:
            return done
    raise NoSuchEvent(f"no event {event} of an identity provider is kept")


def _chosen(world: World, provider: str | None) -> list[Walker]:
    """Choose whom to ask.

    Errors: NothingToAsk.
    """
    found = [w for w in walkers(world) if provider in (None, w.directory.provider)]
    if not found:
        raise NothingToAsk(_lacking(world.settings, provider))
    return found


def _lacking(settings: Settings, provider: str | None) -> str:
    if provider != "supabase":
        return f"there is no key for {provider or 'any provider'}"
    if not settings.supabase_url:
        return "SUPABASE_URL is not set"
    if "supabase" not in settings.trusted:
        return "TENURE_IDENTITY does not name supabase, and another provider is set"
    return "the database of DATABASE_URL has no auth.users"


def _show(provider: str, step: Step) -> None:
    """Show progress beside the answer."""
    met = ", ".join(f"{n} {what}" for what, n in step.counts.items())
    click.echo(f"{provider}: {met}", err=True)


def _walked_line(one: Walked) -> str:
    met = ", ".join(f"{n} {what}" for what, n in one.counts.items())
    how = "went on and " if one.went_on else ""
    end = "ended" if one.ended else "another process walks on"
    return f"{one.provider}: {how}{end}; {met or 'nothing'}{_in_words(one.reasons)}"


def _drift_lines(found: Sequence[Compared]) -> Iterator[str]:
    for one in found:
        yield from map(_difference_line, one.differences)
        counted = Counter(d.reason for d in one.differences)
        yield f"{one.provider}: {_differ(one.differences)}{_in_words(counted)}"
        if one.left is None:
            continue
        yield f"{one.provider}: {several(one.looks, 'look')}; {_differ(one.left)} still"
        yield from map(_difference_line, one.left)


def _differ(found: Sequence[Difference]) -> str:
    return several(len(found), "differs", "differ")


def _difference_line(one: Difference) -> str:
    return f"{one.subject.kind} {one.subject.id}: {one.reason}; ours {one.ours}, {one.theirs} there"


def _in_words(reasons_met: dict[str, int]) -> str:
    words = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons_met.items()))
    return f" ({words})" if words else ""
