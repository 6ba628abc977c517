"""Test clocks."""

from tenure.sandbox.stripe.billing.due import advance
from tenure.sandbox.stripe.errors import invalid
from tenure.sandbox.stripe.model import DAY, Obj
from tenure.sandbox.stripe.paging import newest, page
from tenure.sandbox.stripe.params import PAGE, text, whole
from tenure.sandbox.stripe.resources.customers import drop, tombstone
from tenure.sandbox.stripe.route import Call, delete, get, post

KIND = "test_helpers.test_clock"
PATH = "/v1/test_helpers/test_clocks"
KEPT_FOR = 30 * DAY


def create(call: Call) -> Obj:
    """Make a clock."""
    books = call.books
    if books.live:
        raise invalid("Test clocks can only be used in test mode.")
    fields: Obj = {
        "frozen_time": call.params["frozen_time"],
        "name": call.params.get("name"),
        "deletes_after": books.now() + KEPT_FOR,
    }
    clock = books.add(KIND, fields, at=books.now())
    books.tell("test_helpers.test_clock.created", clock)
    return clock


def move(call: Call) -> Obj:
    """Move a clock on: everything due happens before the answer, which still says `advancing`."""
    books, to = call.books, call.params["frozen_time"]
    clock = books.get(KIND, call.id)
    if to <= clock["frozen_time"]:
        raise invalid("Cannot advance a test clock to a time that is not after its current frozen "
                      "time.", "frozen_time", "invalid_test_clock_advance")  # fmt: skip
    clock["status"] = "advancing"
    clock["status_details"] = {"advancing": {"target_frozen_time": to}}
    books.tell("test_helpers.test_clock.advancing", clock)
    advance(books, clock["id"], to)
    clock["frozen_time"] = to
    answer = {**clock}
    clock["status"], clock["status_details"] = "ready", {}
    books.tell("test_helpers.test_clock.ready", clock)
    return answer


def remove(call: Call) -> Obj:
    """Delete a clock with its customers."""
    books = call.books
    clock = books.get(KIND, call.id)
    for customer in list(books.table("customer").values()):
        if customer["test_clock"] == clock["id"] and not customer.get("_deleted"):
            drop(books, customer)
    clock["_deleted"] = True
    books.tell("test_helpers.test_clock.deleted", clock)
    return tombstone(clock)


ROUTES = [
    post(PATH, create, {"frozen_time": whole, "name": text}, need=["frozen_time"]),
    get(
        PATH,
        lambda call: page(
            newest(call.books, KIND), call.params, PATH, keep=lambda _row: True, kind=KIND
        ),
        PAGE,
    ),
    get(PATH + "/{id}", lambda call: call.books.get(KIND, call.id)),
    post(PATH + "/{id}/advance", move, {"frozen_time": whole}, need=["frozen_time"]),
    delete(PATH + "/{id}", remove),
]
