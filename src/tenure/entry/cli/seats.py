"""`tenure seats …`: who holds the seats of an organization, and how many there are."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

import click

from tenure.base.errors import TenureError
from tenure.entry.cli.asking import ACTOR, in_world
from tenure.entry.cli.group import json_option, say
from tenure.entry.cli.result import several
from tenure.entry.worker.identity import policy_of
from tenure.entry.world import World
from tenure.identity import explain as names
from tenure.identity import store
from tenure.identity.errors import UnknownOrganization
from tenure.identity.model import Membership, Seats
from tenure.identity.seats import Explained, SeatDesk

NONE = "none"
MOST = 999_999_999  # an integer of Postgres holds it


class NoNumber(TenureError):
    """A limit is neither a number of seats nor the word `none`."""

    code = "cli.no_number"
    hint = f"Give a number from 0 to {MOST}, or `none` to let what was bought decide."


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An organization's seats, and what to call the people."""

    org_id: UUID
    title: str
    seats: Explained
    called: dict[UUID, str]
    lost: tuple[Membership, ...] = ()  # who had a seat before


@click.group()
def seats() -> None:
    """Say who holds the seats of an organization, and set how many there are."""


@seats.command()
@click.argument("org")
@json_option
def explain(*, org: str, as_json: bool) -> None:
    """Say who holds a seat, who waits for one, and where the limit comes from.

    ORG: our key, or the provider's id.

    Exit status: 0 the counter is right, 1 it is not.
    """

    async def told(world: World) -> Told:
        return await _told(world, org)

    found = in_world(told)
    say(_data(found), _lines(found), as_json=as_json)
    raise SystemExit(0 if found.seats.is_right else 1)


# Without this, -1 would be taken for an option, and not be told what is wrong with it.
@seats.command(context_settings={"ignore_unknown_options": True})
@click.argument("org")
@click.argument("limit", metavar="N|none")
@json_option
def limit(*, org: str, limit: str, as_json: bool) -> None:
    """Set the limit by hand, whatever was bought; `none` lets what was bought decide again.

    Whoever loses a seat stays a member, beyond the limit: who came last loses it first.
    """
    fixed = _number(limit)

    async def done(world: World) -> Told:
        async with world.db.statement() as tx:
            org_id = await names.one_organization(tx, org)
        before = await _told(world, str(org_id))
        await _desk(world).fix(org_id, fixed, actor=ACTOR)
        return _compared(before, await _told(world, str(org_id)))

    found = in_world(done)
    say(_data(found), _lines(found), as_json=as_json)


def _number(text: str) -> int | None:
    if text == NONE:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST))):
        raise NoNumber(f"{text} is no number of seats")
    return int(text)


async def _told(world: World, org: str) -> Told:
    async with world.db.statement() as tx:
        org_id = await names.one_organization(tx, org)
        named = await store.get_organization(tx, org_id)
    found = await _desk(world).explain(org_id)
    if named is None or found is None:
        raise UnknownOrganization(f"no organization is called {org}", name=org)
    people = [member.user_id for member in (*found.holders, *found.waiting)]
    async with world.db.statement() as tx:
        called = await names.names_of(tx, people)
    return Told(org_id=org_id, title=named.name, seats=found, called=called)


def _compared(before: Told, after: Told) -> Told:
    """Say who lost a seat in between."""
    held = {one.id for one in before.seats.holders}
    lost = tuple(one for one in after.seats.waiting if one.id in held)
    return replace(after, lost=lost)


def _desk(world: World) -> SeatDesk:
    return SeatDesk(db=world.db, clock=world.clock, ids=world.ids, policy=policy_of(world))


def _data(found: Told) -> dict[str, object]:
    seats = found.seats.seats
    return {
        "organization": str(found.org_id),
        "name": found.title,
        "used": seats.used,
        "limit": seats.seat_limit,
        "bought": seats.bought,
        "fixed": seats.fixed,
        "is_right": found.seats.is_right,
        "holders": [_member(found, one) for one in found.seats.holders],
        "waiting": [_member(found, one) for one in found.seats.waiting],
        "lost": [_member(found, one) for one in found.lost],
    }


def _member(found: Told, member: Membership) -> dict[str, object]:
    return {
        "user": str(member.user_id),
        "called": found.called.get(member.user_id),
        "role": member.role,
        "status": member.status.value,
        "joined_at": member.joined_at or member.created_at,
    }


def _lines(found: Told) -> Iterator[str]:
    explained = found.seats
    seats = explained.seats
    yield f"{found.title} ({found.org_id}): {several(seats.used, 'seat')} taken, {_limit(seats)}"
    for one in explained.holders:
        yield f"  holds a seat   {_line(found, one)}"
    for one in explained.waiting:
        yield f"  beyond it      {_line(found, one)}"
    if found.lost:
        names = ", ".join(_called(found, one) for one in found.lost)
        yield f"  {several(len(found.lost), 'seat')} taken away by this limit: {names}"
    if not explained.is_right:
        yield f"  WRONG: the counter says {seats.used}, the rows say {len(explained.holders)}"


def _limit(seats: Seats) -> str:
    if seats.seat_limit is None:
        return "no limit"
    if seats.fixed is None:
        return f"limit {seats.seat_limit}: that many are bought"
    bought = "" if seats.bought is None else f"; {seats.bought} are bought"
    return f"limit {seats.seat_limit}: set by hand{bought}"


def _line(found: Told, member: Membership) -> str:
    since = member.joined_at or member.created_at
    role, status = member.role, member.status.value
    return f"{_called(found, member)}, {role}, {status}, since {since:%Y-%m-%d %H:%M}"


def _called(found: Told, member: Membership) -> str:
    return found.called.get(member.user_id, str(member.user_id))
