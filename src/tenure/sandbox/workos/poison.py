"""The log of events through the sandbox's own door, and events that are not as they should be."""

from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec
from starlette.responses import JSONResponse, Response

from tenure.sandbox.workos.asked import Asked, read, route
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.state import Entry, Json
from tenure.sandbox.workos.world import World, iso

NAME = "organization_membership.updated"


class Injected(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An event made to order.

    `event` is shown as it is, with an `id` and a `created_at` of ours if it is an object that has
    none. `name` is what a reader finds it by, and the kind of its webhook. `age` in seconds puts
    it into the past, as one that became visible late. `of` names the event that a poisoned one is
    a copy of.
    """

    event: Any = None
    poison: Literal["missing_fields", "not_an_object", "unknown_type"] | None = None
    of: str | None = None
    name: str = NAME
    organization_id: str | None = None
    age: float = 0.0
    webhook: bool = True


def list_all(world: World, asked: Asked) -> Response:
    """`GET /_sandbox/events?type=user.*&after=event_…`: by id, with nothing held back or forgotten.

    The same as of other sandboxes, and what no webhook was sent for.
    """
    kind, after = asked.query.get("type", "*"), asked.query.get("after", "")
    entries = (world.state.events[key] for key in world.event_ids if key > after)
    return JSONResponse(
        {
            "data": [
                {"id": one.id, "type": one.name, "body": one.event}
                for one in entries
                if fnmatchcase(one.name, kind)
            ]
        }
    )


def inject(world: World, asked: Asked) -> Response:
    """`POST /_sandbox/events`: put an event into the log; the fields are those of `Injected`."""
    given = read(asked.raw, Injected)
    at = world.now_ms() - round(given.age * 1000)
    event_id = world.event_id(at)
    entry = Entry(
        id=event_id,
        at=at,
        name=given.name,
        org=given.organization_id,
        event=_named(_made(world, given), event_id, at),
    )
    world.log(entry, webhook=given.webhook)
    return JSONResponse({"id": event_id, "event": entry.event})


def _made(world: World, given: Injected) -> Any:  # noqa: ANN401 (that is the point of it)
    if given.poison is None:
        return given.event
    if given.poison == "not_an_object":
        return "poison"
    if given.poison == "unknown_type":
        return {"object": "event", "event": "planet.exploded", "data": {"object": "planet"}}
    data = {"object": given.name.rpartition(".")[0], "id": "poison"}
    return {"object": "event", "event": given.name, "data": _stripped(world, given.of) or data}


def _stripped(world: World, event_id: str | None) -> Json:
    """Leave nothing of an event's object but what it is."""
    if event_id is None:
        return {}
    entry = world.state.events.get(event_id)
    if entry is None:
        raise Refused.missing("Event", event_id)
    names = ("object", "id", "user_id", "organization_id")
    return {name: entry.event["data"][name] for name in names if name in entry.event["data"]}


def _named(event: Any, event_id: str, at: int) -> Any:  # noqa: ANN401 (that is the point of it)
    if not isinstance(event, dict):
        return event
    return {"id": event_id, "created_at": iso(at), **event}  # pyright: ignore[reportUnknownVariableType] (whatever was given)


routes = [
    route("GET", "/_sandbox/events", list_all),
    route("POST", "/_sandbox/events", inject),
]
