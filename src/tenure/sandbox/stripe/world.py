"""One pretended Stripe: its two modes, its policy, its trouble, its couriers."""

from collections import Counter
from dataclasses import dataclass, field

from tenure.base.clock import Clock, SystemClock
from tenure.base.ids import Ids, RandomIds
from tenure.sandbox.stripe.billing.due import advance, close_late_sessions
from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.courier import Courier
from tenure.sandbox.stripe.faults import Faults
from tenure.sandbox.stripe.idempotency import SavedAnswers
from tenure.sandbox.stripe.model import Policy
from tenure.sandbox.stripe.ratelimit import RateLimit
from tenure.sandbox.stripe.state import State


@dataclass(slots=True, kw_only=True)
class World:
    """Everything that one sandbox process holds."""

    policy: Policy
    state: State
    clock: Clock
    ids: Ids
    test: Books
    live: Books
    faults: Faults
    courier: Courier
    limits: RateLimit
    answers: SavedAnswers
    requests: Counter[str] = field(default_factory=Counter[str])

    def books_of(self, name: str) -> Books:
        """Give the mode that an id or key with `_live_` in it belongs to."""
        return self.live if "live_" in name else self.test

    def catch_up(self) -> int:
        """Let everything happen that is due by now for customers without a test clock."""
        return self.advance_to(self.test.now())

    def advance_to(self, to: int) -> int:
        """Live on until `to` in both modes; give the number of things that happened."""
        steps = sum(advance(books, None, to) for books in (self.test, self.live))
        self.state.offset = max(self.state.offset, to - self.test.real_now())
        for books in (self.test, self.live):
            close_late_sessions(books)
        return steps


def new_world(
    policy: Policy | None = None, *, clock: Clock | None = None, ids: Ids | None = None
) -> World:
    """Build an empty world."""
    chosen, state = policy or Policy(), State()
    time, chance = clock or SystemClock(), ids or RandomIds()
    test = Books(state, chosen, live=False, clock=time, ids=chance)
    live = Books(state, chosen, live=True, clock=time, ids=chance)
    faults = Faults(chance)
    return World(
        policy=chosen,
        state=state,
        clock=time,
        ids=chance,
        test=test,
        live=live,
        faults=faults,
        courier=Courier(state, chosen, faults, (test, live)),
        limits=RateLimit(chosen.rate, chosen.operation_rate, time),
        answers=SavedAnswers(state),
    )
