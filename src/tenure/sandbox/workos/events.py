"""The Events API: filtered, paged, held back, forgotten after a while."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from starlette.responses import JSONResponse, Response

from tenure.sandbox.workos.asked import Asked, route
from tenure.sandbox.workos.names import EVENT_NAMES
from tenure.sandbox.workos.paging import Cut, asked_cut, cut
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.state import Entry
from tenure.sandbox.workos.world import EPOCH, World

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?Z")


def list_some(world: World, asked: Asked) -> Response:
    """`GET /events`."""
    wanted = _cut(world, asked)
    keep = _filter(world, asked, ascending=wanted.order == "asc")
    entries = world.state.events
    page = cut(world.event_ids, wanted, lambda key: keep(entries[key]))
    rows = [entries[key].event for key in page.ids]
    places = {"after": page.after}  # there is no `before`, unlike in other lists
    return JSONResponse({"object": "list", "data": rows, "list_metadata": places})


def _cut(world: World, asked: Asked) -> Cut:
    """Read where the page begins.

    Errors: Refused.
    """
    wanted = asked_cut(asked.query)
    if world.policy.ignore_order:
        wanted = Cut(order="asc", after=wanted.after, before=wanted.before, limit=wanted.limit)
    if wanted.after is not None and "range_start" in asked.query:
        raise _bad("Only one of 'after' and 'range_start' can be given.")
    for cursor in (wanted.after, wanted.before):
        entry = world.state.events.get(cursor) if cursor else None
        if cursor and (entry is None or entry.at < _oldest(world)):
            raise _bad(f"The cursor '{cursor}' is unknown or has expired.")
    return wanted


def _filter(world: World, asked: Asked, *, ascending: bool) -> Callable[[Entry], bool]:
    """Decide which events a request is about.

    Errors: Refused.
    """
    names, org = _names(asked), asked.query.get("organization_id")
    since = max(_moment(asked, "range_start", -1) + 1, _oldest(world))
    now = world.now_ms()
    until = _moment(asked, "range_end", now + 1)
    if ascending:  # an event becomes visible late, so that none with a later id is seen before it
        until = min(until, now - round(world.policy.hold_back * 1000) + 1)

    def keep(entry: Entry) -> bool:
        fits = entry.name in names and org in (None, entry.org)
        return fits and since <= entry.at < until

    return keep


def _oldest(world: World) -> int:
    return world.now_ms() - round(world.policy.retention * 1000)


def _names(asked: Asked) -> frozenset[str]:
    """Read `events`, a list with commas.

    Errors: Refused.
    """
    names = [name for name in asked.query.get("events", "").split(",") if name]
    for name in names:
        if name not in EVENT_NAMES:
            raise _bad(
                f"Invalid name parameter, received: '{name}'. You must pass in valid event names"
            )
    if not names:
        raise _bad("You must pass in at least one event name")
    return frozenset(names)


def _moment(asked: Asked, name: str, otherwise: int) -> int:
    """Read a time in milliseconds; only UTC written as `Z` will do."""
    given = asked.query.get(name)
    if given is None:
        return otherwise
    if not MOMENT.fullmatch(given):
        raise _bad(f"'{name}' must be an ISO 8601 date string that ends in 'Z'.")
    try:
        at = datetime.fromisoformat(given)
    except ValueError as exc:
        raise _bad(f"'{name}' is no date.") from exc
    return (at - EPOCH) // timedelta(milliseconds=1)


def _bad(message: str) -> Refused:
    return Refused(400, "invalid_events_request", message)


routes = [route("GET", "/events", list_some)]
