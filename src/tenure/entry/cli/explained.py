"""What `tenure sync explain` found, in words."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any, cast

from tenure.entry.cli.result import several
from tenure.identity.decisions import Kept
from tenure.identity.explain import Belonging, Explained, Name, Tombstone
from tenure.identity.members_list import Lived
from tenure.identity.model import Membership
from tenure.journal.find import Came, Standing

FINAL = "final: a signed event or `tenure users delete` said so"


def lines_of(one: Explained) -> Iterator[str]:
    """Tell of one thing, from what it is to what was decided about it."""
    yield f"{one.what} {one.id}: {one.title}"
    if one.deleted_at:
        yield f"  deleted {_at(one.deleted_at)}"
    if one.blocked:
        yield "  blocked by the provider"
    yield from map(_name, one.names)
    for belonging in one.memberships:
        yield from _belonging(belonging)
    yield from map(_tombstone, one.tombstones)
    yield from map(_look, one.looks)
    if one.what == "event":
        yield from _fate(one)
    else:
        yield from map(_event, one.events)
    yield from map(_decision, one.decisions)


def data_of(one: Explained) -> dict[str, Any]:
    """Tell the same for programs; a membership's status is the one that history tells."""
    data = asdict(one)
    for belonging, told in zip(one.memberships, data["memberships"], strict=True):
        told["member"]["status"] = belonging.member.told_status
    return data


def _name(name: Name) -> str:
    if name.version is None:
        return f"  {name.provider} {name.external_id}: only named so far, never seen itself"
    seen = f", seen {_at(name.seen_at)}" if name.seen_at else ""
    return f"  {name.provider} {name.external_id}: as of {_at(name.version)}{seen}"


def _belonging(one: Belonging) -> Iterator[str]:
    yield f"  {one.user_name} in {one.org_name}: {_state(one.member)}"
    yield from map(_lived, one.history)


def _state(member: Membership) -> str:
    seat = "holds a seat" if member.holds_seat else "without a seat"
    if member.is_here and not member.holds_seat:
        seat = "beyond the seat limit"
    told = f"{member.told_status} as {member.role}, {seat}, generation {member.generation}"
    if member.external_id is None:
        told += ", known from a token only"
    wish = " ".join(filter(None, (member.wish, member.wish_role and f"role {member.wish_role}")))
    if wish and member.wished_at:
        told += f"; wished: {wish}, by {member.wished_by}, {_at(member.wished_at)}, not done yet"
    return told


def _lived(line: Lived) -> str:
    was = f"{line.status_from} as {line.role_from}" if line.status_from else "nothing"
    now = f"{line.status_to} as {line.role_to}{_seat(line)}"
    name = f" {line.external_id}" if line.external_id else ""
    return f"    {_at(line.at)}  {was} → {now}  ({line.cause}{name}, generation {line.generation})"


def _seat(line: Lived) -> str:
    if line.seat_to:
        return ", seated"
    return ", seat given up" if line.seat_from else ""


def _tombstone(grave: Tombstone) -> str:
    how = FINAL if grave.proof == "event" else "it was not there when we asked"
    name = f"{grave.provider} {grave.kind} {grave.external_id}"
    return f"  tombstone {name}: deleted {_at(grave.deleted_at)} ({how})"


def _look(look: Standing) -> str:
    name = f"  look {look.kind} {look.id}:"
    if not look.is_due:
        return f"{name} settled {_at(look.settled_at) if look.settled_at else 'never'}"
    told = f"{name} due since {_at(look.marked_at)}"
    if look.attempts:
        when = f", again {_at(look.retry_at)}" if look.retry_at else ""
        told += f", tried {several(look.attempts, 'time')}{when}: {look.last_error or 'under way'}"
    return told


def _event(event: Came) -> str:
    note = f": {event.note}" if event.note else ""
    return f"  event {event.event_id} {event.kind}, kept {_at(event.received_at)}{note}"


def _fate(one: Explained) -> Iterator[str]:
    """Tell what became of an event: kept when, settled by which look."""
    (event,) = one.events
    happened = f", happened {_at(event.occurred_at)}" if event.occurred_at else ""
    yield f"  kept {_at(event.received_at)}{happened}"
    if event.subject is None or event.seq is None:
        yield f"  concerned nobody: {event.note or 'no reason kept'}"
        return
    yield f"  concerned {event.subject.kind} {event.subject.id}, as its mark {event.seq}"
    settled = next((look.settled_seq for look in one.looks), 0)
    if settled < event.seq:
        yield "  not settled yet"
    elif one.decisions:
        yield f"  settled by the look at mark {one.decisions[0].seq}"
    else:
        yield "  settled; what was decided is forgotten (TENURE_DECISION_DAYS)"


def _decision(made: Kept) -> str:
    details = ", ".join(f"{name} {_plain(value)}" for name, value in made.details.items() if value)
    name = f"{made.subject_kind} {made.subject_id}"
    told = f"  {_at(made.at)}  {name}: {made.verdict}, {made.reason}"
    return f"{told} ({details})" if details else told


def _plain(value: object) -> str:
    """Say a value as people would."""
    if isinstance(value, list):
        return " and ".join(map(str, cast("list[object]", value)))
    return str(value)


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d} {moment:%Z}"
