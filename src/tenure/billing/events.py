"""Read from an event whom it concerns, and nothing else: it is a knock, not the truth."""

from typing import Any

import msgspec

from tenure.base.clock import moment
from tenure.billing.errors import BadEvent
from tenure.billing.model import CUSTOMER
from tenure.journal.model import Knock, Subject

SOURCE = "stripe"
LONGEST = 255  # characters of an id or a type, at Stripe and in our keys


class _Object(msgspec.Struct):
    """The object of a snapshot event, or the related object of a thin one."""

    id: Any = None  # some objects have none: invoice.upcoming, entitlement summaries
    object: Any = None
    type: Any = None  # of a related object: "customer"
    customer: Any = None  # an id, a whole object, or null


class _Data(msgspec.Struct):
    object: _Object | None = None
    previous_attributes: _Object | None = None


class _Event(msgspec.Struct):
    id: str
    type: str
    created: Any = None  # seconds; ISO text in thin events
    livemode: bool = False
    account: str | None = None
    data: _Data | None = None
    related_object: _Object | None = None


_decoder = msgspec.json.Decoder(_Event)


def knock_of(raw: bytes, *, livemode: bool, account: str | None = None) -> Knock:
    """Read an event that Stripe signed.

    `livemode`, `account`: our own; events of others are kept, with a note, and concern nobody.
    Errors: BadEvent when the bytes are no event at all.
    """
    try:
        event = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadEvent(f"the body is not an event: {exc}") from exc
    if not event.id or not all(map(_is_name, (event.id, event.type, event.account or ""))):
        raise BadEvent("the body is not an event: its id, type or account is empty or no name")
    subject, note = _concerned(event, livemode=livemode, account=account)
    return Knock(
        source=SOURCE,
        account=event.account or "",
        livemode=event.livemode,
        event_id=event.id,
        kind=event.type,
        subject=subject,
        note=note,
        occurred_at=moment(event.created) if _is_time(event.created) else None,
        body=raw,
    )


def _concerned(
    event: _Event, *, livemode: bool, account: str | None
) -> tuple[Subject | None, str | None]:
    if event.livemode != livemode:
        return None, f"of the other mode: livemode is {str(event.livemode).lower()}"
    if event.account is not None and event.account != account:
        return None, f"of another account: {event.account[:64]}"
    customer = _customer_of(event)
    if customer is None:
        return None, "names no customer"
    return Subject(CUSTOMER, customer), None


def _customer_of(event: _Event) -> str | None:
    about = event.related_object or (event.data.object if event.data else None)
    if about is None:
        return None
    is_customer = about.object == "customer" or about.type == "customer"  # whatever they hold
    found = about.id if is_customer else about.customer or _left_by(event)
    if isinstance(found, dict):
        found = found.get("id")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] (outside data)
    if isinstance(found, str) and found.startswith("cus_") and "\x00" not in found:
        return found[:LONGEST]
    return None


def _left_by(event: _Event) -> Any:  # noqa: ANN401 (outside data)
    """Read whom an object belonged to until now: a detached card names nobody any more."""
    before = event.data.previous_attributes if event.data else None
    return before.customer if before else None


def _is_name(text: str) -> bool:
    return len(text) <= LONGEST and "\x00" not in text


def _is_time(created: object) -> bool:
    return isinstance(created, int) and 0 <= created < 2**33  # before 2242
