"""What time brings: the next thing due for a customer, and the clock that makes it happen."""

import heapq
from collections.abc import Callable, Iterator

from tenure.base.errors import TenureError
from tenure.sandbox.stripe.billing import change, collect, invoices, renew, status
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.model import DAY, Obj

HOUR = 3_600
INCOMPLETE_FOR = 23 * HOUR
TRIAL_NOTICE = 3 * DAY
MOST_STEPS = 200_000

Act = Callable[[], None]
Due = tuple[int, Act]


class EndlessClock(TenureError):
    """An advance of the clock never came to rest."""

    code = "sandbox.endless_clock"
    hint = "Advance by less, or cancel subscriptions with very short intervals first."


def advance(books: Books, clock_id: str | None, to: int) -> int:
    """Live through everything due until `to`, in the order of time; give the number of steps."""
    waiting = [
        (due[0], customer)
        for customer in _customers_on(books, clock_id)
        if (due := next_due(books, customer)) and due[0] <= to
    ]
    heapq.heapify(waiting)
    steps = 0
    while waiting:
        at, customer = heapq.heappop(waiting)
        due = next_due(books, customer)
        if due and due[0] <= at:
            _live(books, clock_id, due)
            steps += 1
            due = next_due(books, customer)
        if due and due[0] <= to:
            heapq.heappush(waiting, (due[0], customer))
        if steps > MOST_STEPS:
            raise EndlessClock(f"more than {MOST_STEPS} things were due", to=to)
    return steps


def _live(books: Books, clock_id: str | None, due: Due) -> None:
    """Let one thing happen at its own moment."""
    at, act = due
    if clock_id is not None:
        clock = books.table("test_helpers.test_clock")[clock_id]
        clock["frozen_time"] = max(at, clock["frozen_time"])
        act()
        return
    books.at = at
    try:
        act()
    finally:
        books.at = None


def _customers_on(books: Books, clock_id: str | None) -> list[str]:
    return [
        name
        for name, customer in books.table("customer").items()
        if customer.get("test_clock") == clock_id
    ]


def next_due(books: Books, customer: str) -> Due | None:
    """Find what happens next to a customer if nobody does anything."""
    return min(_all_due(books, customer), key=lambda due: due[0], default=None)


def _all_due(books: Books, customer: str) -> Iterator[Due]:
    for sub in books.owned("subscription", customer):
        if sub["status"] not in status.OVER:
            yield from _of_subscription(books, sub)
    for invoice in books.owned("invoice", customer):
        if invoice["status"] in {"draft", "open"}:
            yield from _of_invoice(books, invoice)
    for session in books.owned("checkout.session", customer):
        if session["status"] == "open":
            yield session["expires_at"], lambda s=session: expire_session(books, s)


def _of_subscription(books: Books, sub: Obj) -> Iterator[Due]:
    if sub["cancel_at"] is not None:
        yield sub["cancel_at"], lambda: status.end(books, sub, "cancellation_requested")
    pause = sub["pause_collection"]
    if pause is not None and pause["resumes_at"]:
        yield pause["resumes_at"], lambda: _stop_pause(books, sub)
    if sub["status"] == "incomplete":
        yield sub["created"] + INCOMPLETE_FOR, lambda: _expire(books, sub)
    elif sub["status"] == "trialing":
        yield from _of_trial(books, sub)
    elif sub["status"] in {"active", "past_due", "unpaid"}:
        yield from _of_period(books, sub)


def _of_trial(books: Books, sub: Obj) -> Iterator[Due]:
    end = sub["trial_end"]
    if sub.get("_trial_told") != end:
        yield max(end - TRIAL_NOTICE, sub["created"]), lambda: _tell_trial(books, sub)
    if sub["cancel_at"] is None or sub["cancel_at"] > end:
        yield end, lambda: change.end_trial(books, sub, end)


def _of_period(books: Books, sub: Obj) -> Iterator[Due]:
    ends = [item["current_period_end"] for item in status.items_of(books, sub)]
    if not ends:
        return
    end = min(ends)
    if sub["cancel_at"] is not None and sub["cancel_at"] <= end:
        return
    notice = int(books.policy.upcoming_days * DAY)
    if sub.get("_announced") != end and notice:
        yield end - notice, lambda: renew.announce_invoice(books, sub, end)
    yield end, lambda: renew.renew(books, sub, end)


def _of_invoice(books: Books, invoice: Obj) -> Iterator[Due]:
    if invoice["automatically_finalizes_at"] is not None:
        yield invoice["automatically_finalizes_at"], lambda: collect.settle(books, invoice)
    if invoice["status"] != "open":
        return
    if invoice["next_payment_attempt"] is not None:
        yield invoice["next_payment_attempt"], lambda: _try_again(books, invoice)
    if invoice["due_date"] is not None and not invoice.get("_overdue"):
        yield invoice["due_date"], lambda: _overdue(books, invoice)


def _try_again(books: Books, invoice: Obj) -> None:
    collect.attempt(books, invoice)


def _overdue(books: Books, invoice: Obj) -> None:
    invoice["_overdue"] = True
    books.tell("invoice.overdue", invoice)
    sub = collect.subscription_of(books, invoice)
    if sub is not None and sub["status"] == "active":
        status.put_status(books, sub, "past_due")


def _stop_pause(books: Books, sub: Obj) -> None:
    with books.changing(sub, "customer.subscription.updated"):
        sub["pause_collection"] = None


def _expire(books: Books, sub: Obj) -> None:
    """Give up on a first payment that never came; its invoice is void."""
    invoice = books.find("invoice", sub["latest_invoice"] or "")
    if invoice is not None and invoice["status"] == "open":
        invoices.void(books, invoice)
    status.put_status(books, sub, "incomplete_expired")


def _tell_trial(books: Books, sub: Obj) -> None:
    sub["_trial_told"] = sub["trial_end"]
    books.tell("customer.subscription.trial_will_end", sub)


def close_late_sessions(books: Books) -> None:
    """Close the late sessions that have no customer yet, and so no life of their own."""
    for session in books.table("checkout.session").values():
        late = session["expires_at"] <= books.now()
        if session["status"] == "open" and session["customer"] is None and late:
            expire_session(books, session)


def expire_session(books: Books, session: Obj) -> None:
    """Close a Checkout session that nobody paid."""
    session["status"] = "expired"
    session["url"] = None
    books.tell("checkout.session.expired", session)
