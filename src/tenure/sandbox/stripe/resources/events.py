"""Events, kept for thirty days."""

from fnmatch import fnmatchcase

from tenure.sandbox.stripe.model import DAY, Obj
from tenure.sandbox.stripe.paging import newest, page, within
from tenure.sandbox.stripe.params import PAGE, flag, text, time_range, words
from tenure.sandbox.stripe.route import Call, get

KEPT_FOR = 30 * DAY


def listed(call: Call) -> Obj:
    """List events, newest first."""
    given = call.params
    patterns = [*words(given, "types"), *([given["type"]] if given.get("type") else [])]
    recent = within(given.get("created"))
    oldest = call.books.real_now() - KEPT_FOR
    delivered = given.get("delivery_success")

    def keep(row: Obj) -> bool:
        return (
            row["created"] >= oldest
            and recent(row)
            and (not patterns or any(fnmatchcase(row["type"], p) for p in patterns))
            and (delivered is None or (row["pending_webhooks"] == 0) is delivered)
        )

    return page(newest(call.books, "event"), given, "/v1/events", keep=keep, kind="event")


ROUTES = [
    get(
        "/v1/events",
        listed,
        {
            **PAGE,
            "created": time_range,
            "delivery_success": flag,
            "type": text,
            "types": [text],
        },
    ),
    get("/v1/events/{id}", lambda call: call.books.get("event", call.id)),
]
