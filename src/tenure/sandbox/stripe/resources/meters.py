"""Usage meters and their events."""

from tenure.sandbox.stripe.errors import invalid
from tenure.sandbox.stripe.model import DAY, Obj
from tenure.sandbox.stripe.paging import matching, newest, page
from tenure.sandbox.stripe.params import PAGE, anything, one_of, text, whole
from tenure.sandbox.stripe.route import Call, get, post

KIND = "billing.meter"
OLDEST = 35 * DAY


def create(call: Call) -> Obj:
    """Make a meter; its event name is its own."""
    books, given = call.books, call.params
    if any(m["event_name"] == given["event_name"] for m in books.table(KIND).values()):
        raise invalid(
            f"An active meter with event_name {given['event_name']} already exists.", "event_name"
        )
    at = books.now()
    fields: Obj = {k: v for k, v in given.items() if k != "expand"}
    return books.add(KIND, {**fields, "updated": at}, at=at)


def listed(call: Call) -> Obj:
    """List meters."""
    keep = matching(call.params, "status")
    return page(newest(call.books, KIND), call.params, "/v1/billing/meters", keep=keep, kind=KIND)


def report(call: Call) -> Obj:
    """Take one meter event; the same identifier again is refused, as Stripe does."""
    books, given = call.books, call.params
    kept = books.table("billing.meter_event")
    identifier = given.get("identifier") or books.ids.token("", 32)
    meters = [m for m in books.table(KIND).values() if m["event_name"] == given["event_name"]]
    if not meters:
        raise invalid(f"No active meter found for event_name {given['event_name']}", "event_name")
    if identifier in kept:
        raise invalid(f"An event already exists with identifier {identifier}.", "identifier")
    now = books.now()
    at = given.get("timestamp") or now
    if at < now - OLDEST or at > now + 300:
        raise invalid("The timestamp must be within the past 35 days.", "timestamp")
    _check_payload(call, meters[0], given["payload"])
    made = books.add(
        "billing.meter_event",
        {
            "event_name": given["event_name"],
            "identifier": identifier,
            "payload": given["payload"],
            "timestamp": at,
        },
        at=now,
        object_id=identifier,
    )
    return {k: v for k, v in made.items() if k != "id"}


def _check_payload(call: Call, meter: Obj, payload: Obj) -> None:
    value = str(payload.get(meter["value_settings"]["event_payload_key"], ""))
    if not value.lstrip("-").isdigit():
        raise invalid("The payload's value must be a whole number.", "payload[value]")
    customer = str(payload.get(meter["customer_mapping"]["event_payload_key"], ""))
    call.books.get("customer", customer, "payload[stripe_customer_id]")


def summaries(call: Call) -> Obj:
    """Sum up a meter for a customer over a time."""
    books, given = call.books, call.params
    meter = books.get(KIND, call.id)
    value = meter["value_settings"]["event_payload_key"]
    mapping = meter["customer_mapping"]["event_payload_key"]
    counted = [
        int(e["payload"][value])
        for e in books.table("billing.meter_event").values()
        if e["event_name"] == meter["event_name"]
        and e["payload"].get(mapping) == given["customer"]
        and given["start_time"] <= e["timestamp"] < given["end_time"]
    ]
    row: Obj = {
        "id": f"mtrusg_{meter['id']}",
        "object": "billing.meter_event_summary",
        "aggregated_value": sum(counted),
        "start_time": given["start_time"],
        "end_time": given["end_time"],
        "livemode": books.live,
        "meter": meter["id"],
    }
    url = f"/v1/billing/meters/{meter['id']}/event_summaries"
    return {"object": "list", "data": [row], "has_more": False, "url": url}


ROUTES = [
    post(
        "/v1/billing/meters",
        create,
        {
            "customer_mapping": {"event_payload_key": text, "type": one_of("by_id")},
            "default_aggregation": {"formula": one_of("count", "last", "sum")},
            "display_name": text,
            "event_name": text,
            "event_time_window": one_of("day", "hour"),
            "value_settings": {"event_payload_key": text},
        },
        need=["display_name", "event_name", "default_aggregation"],
    ),
    get("/v1/billing/meters", listed, {**PAGE, "status": one_of("active", "inactive")}),
    get("/v1/billing/meters/{id}", lambda call: call.books.get(KIND, call.id)),
    get(
        "/v1/billing/meters/{id}/event_summaries",
        summaries,
        {
            **PAGE,
            "customer": text,
            "end_time": whole,
            "start_time": whole,
            "value_grouping_window": text,
        },
        need=["customer", "start_time", "end_time"],
    ),
    post(
        "/v1/billing/meter_events",
        report,
        {"event_name": text, "identifier": text, "payload": anything, "timestamp": whole},
        need=["event_name", "payload"],
    ),
]
