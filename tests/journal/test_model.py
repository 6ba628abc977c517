"""The marks against a model small enough to be read at one glance."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from psycopg.rows import dict_row

from tenure.base.db import Tx
from tenure.journal import store
from tenure.journal.errors import StaleFence
from tenure.journal.model import Claim
from tests.conftest import at

from .builders import KIND, LONG, NONE, a_knock, a_subject

LEASES = st.sampled_from([NONE, LONG])
WAITS = st.sampled_from([NONE, LONG])
NUMBERS = "SELECT dirty_seq, claimed_seq, settled_seq, fence FROM tenure.subjects"


class Marks(RuleBasedStateMachine):
    """One subject; every act is tried on the database and on four numbers."""

    claims = Bundle("claims")

    def __init__(self, tx: Tx, runner: asyncio.Runner) -> None:
        super().__init__()
        self.tx, self.runner = tx, runner
        self.do(tx.execute("BEGIN"))
        self.dirty = self.claimed = self.settled = self.fence = 0
        self.is_held = self.is_put_off = False
        self.unseen: set[str] = set()  # events that no claim covers yet
        self.covered: dict[str, int] = {}  # event: fence of the first claim after it
        self.seen: set[str] = set()  # events that a settled look covers

    def do(self, act: Any) -> Any:
        return self.runner.run(_await(act))

    def teardown(self) -> None:
        self.do(self.tx.execute("ROLLBACK"))

    @rule(number=st.integers(1, 8))
    def an_event_comes(self, number: int) -> None:
        knock = a_knock(number)
        self.do(store.put_knocks(self.tx, [knock]))
        if knock.event_id in self.unseen | set(self.covered):
            return  # a duplicate
        self.unseen.add(knock.event_id)
        if self.dirty == self.claimed:
            self.dirty += 1

    @rule()
    def a_mark(self) -> None:
        self.do(store.mark(self.tx, [a_subject()]))
        self.dirty += 1

    @rule(lease=LEASES, target=claims)
    def a_claim(self, lease: Any) -> Claim | None:
        taken = self.do(store.take_due(self.tx, KIND, limit=5, lease=lease))
        is_due = self.dirty > self.settled and not self.is_held and not self.is_put_off
        assert bool(taken) == is_due
        return self.claim(taken[0], lease) if taken else None

    @rule(lease=LEASES, target=claims)
    def a_claim_at_once(self, lease: Any) -> Claim | None:
        taken = self.do(store.take_one(self.tx, a_subject(), lease=lease))
        assert (taken is None) == self.is_held
        if taken is None:
            return None
        self.dirty += 1
        return self.claim(taken, lease)

    def claim(self, taken: Claim, lease: Any) -> Claim:
        self.fence += 1
        self.claimed = self.dirty
        self.is_held = lease > NONE
        self.covered |= dict.fromkeys(self.unseen, self.fence)
        self.unseen = set()
        assert (taken.fence, taken.seq) == (self.fence, self.claimed)
        return taken

    @rule(claim=claims, pause=WAITS)
    def a_settle(self, claim: Claim | None, pause: Any) -> None:
        if claim is None:
            return
        if claim.fence != self.fence:
            with pytest.raises(StaleFence):
                self.do(store.settle(self.tx, claim, pause=pause))
            return
        self.do(store.settle(self.tx, claim, pause=pause))
        self.settled, self.is_held, self.is_put_off = claim.seq, False, pause > NONE
        self.seen |= {event for event, fence in self.covered.items() if fence <= claim.fence}

    @rule(claim=claims, wait=WAITS)
    def a_failure(self, claim: Claim | None, wait: Any) -> None:
        if claim is None:
            return
        is_ours = claim.fence == self.fence
        assert self.do(store.put_off(self.tx, claim, error="no", wait=wait)) == is_ours
        if is_ours:
            self.is_held, self.is_put_off = False, wait > NONE

    @rule()
    def time_passes(self) -> None:
        self.do(
            self.tx.execute(
                """
                UPDATE tenure.subjects SET retry_at = '-infinity',
                       lease_until = lease_until - interval '1 day'
                """
            )
        )
        self.is_held = self.is_put_off = False

    @invariant()
    def the_row_is_as_the_model_says(self) -> None:
        found = self.do(_fetch(self.tx, NUMBERS))
        if not found:
            assert self.dirty == 0
            return
        (row,) = found
        numbers = [row[name] for name in ("dirty_seq", "claimed_seq", "settled_seq", "fence")]
        assert numbers == [self.dirty, self.claimed, self.settled, self.fence]
        assert row["settled_seq"] <= row["claimed_seq"] <= row["dirty_seq"]

    @invariant()
    def an_event_is_settled_exactly_when_a_look_that_began_after_it_is(self) -> None:
        query = """
            SELECT i.event_id FROM tenure.inbox i JOIN tenure.subjects s
                ON s.kind = i.subject_kind AND s.id = i.subject_id WHERE i.seq <= s.settled_seq
            """
        assert {row["event_id"] for row in self.do(_fetch(self.tx, query))} == self.seen

    @invariant()
    def what_no_look_covers_is_due(self) -> None:
        if self.unseen:
            assert self.dirty > self.settled


async def _await(act: Any) -> Any:
    return await act


async def _fetch(tx: Tx, query: Any) -> list[dict[str, Any]]:
    return await (await tx.execute(query)).fetchall()


def test_the_marks_behave_as_their_model(admin: str, template: str) -> None:
    """B2: whatever the order of marks, claims, failures and deaths, no event is forgotten."""
    with asyncio.Runner() as runner:
        tx = runner.run(Tx.connect(at(admin, template), row_factory=dict_row, autocommit=True))
        try:
            run_state_machine_as_test(
                lambda: Marks(tx, runner),
                settings=settings(
                    max_examples=60,
                    stateful_step_count=30,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(tx.close())
