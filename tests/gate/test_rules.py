"""The gate's decision, held to its table and its laws."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.billing.model import Status
from tenure.gate.model import ANY_MEMBER, Bought, Decision, Facts, Needs, Policy, Reason
from tenure.gate.rules import decide
from tests.gate.builders import NOW, ORG, USER, a_bought, some_facts

POLICY = Policy(past_due_grace=timedelta(days=14))
DAY = timedelta(days=1)
CLOSED = {
    Status.INCOMPLETE: Reason.INCOMPLETE,
    Status.INCOMPLETE_EXPIRED: Reason.ENDED,
    Status.UNPAID: Reason.UNPAID,
    Status.PAUSED: Reason.PAUSED,
    Status.CANCELED: Reason.ENDED,
}
OPEN = {Status.ACTIVE: Reason.OPEN, Status.TRIALING: Reason.TRIAL}

moments = st.integers(-500, 500).map(lambda days: NOW + timedelta(days=days))
boughts = st.builds(
    Bought,
    id=st.just("sub_1"),
    status=st.sampled_from(Status),
    created_at=moments,
    current_period_end=st.none() | moments,
    trial_end=st.none() | moments,
    past_due_since=st.none() | moments,
    ends_at=st.none() | moments,
    ended_at=st.none() | moments,
    collection_paused=st.booleans(),
    looked_at=moments,
    look_fence=st.integers(1, 9),
)
facts_of = st.builds(
    Facts,
    user_id=st.none() | st.just(USER),
    org_id=st.none() | st.just(ORG),
    role=st.none() | st.sampled_from(["admin", "member"]),
    bought=st.none() | boughts,
    features=st.frozensets(st.sampled_from(["reports", "export"])),
    read_at=moments,
)
needs_of = st.builds(
    Needs,
    subscription=st.booleans(),
    roles=st.frozensets(st.sampled_from(["admin", "owner"])),
    features=st.frozensets(st.sampled_from(["reports", "export"])),
    personal=st.booleans(),
)


def decided(facts: Facts, needs: Needs | None = None, now: datetime = NOW) -> Decision:
    return decide(facts, needs or Needs(), now, POLICY)


@pytest.mark.parametrize("ends_at", [None, NOW + DAY, NOW - DAY], ids=["stays", "ends", "ended"])
@pytest.mark.parametrize("paused", [False, True], ids=["collects", "collection_paused"])
@pytest.mark.parametrize("status", [*OPEN, *CLOSED])
def test_the_status_alone_opens_or_closes(
    *, status: Status, paused: bool, ends_at: datetime | None
) -> None:
    """M6, B4: neither pause_collection nor a scheduled end counts; only the status does."""
    bought = a_bought(status=status, collection_paused=paused, ends_at=ends_at)

    decision = decided(some_facts(bought=bought))

    assert decision.allowed is (status in OPEN)
    assert decision.reason is (OPEN | CLOSED)[status]


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize(
    ("late_for", "reason"),
    [
        (timedelta(0), Reason.GRACE),
        (14 * DAY - timedelta(microseconds=1), Reason.GRACE),
        (14 * DAY, Reason.PAST_DUE),
        (100 * DAY, Reason.PAST_DUE),
    ],
)
def test_past_due_passes_during_grace(*, late_for: timedelta, reason: Reason, paused: bool) -> None:
    """M6, B4: late is not locked, and the end of grace is named."""
    since = NOW - late_for
    bought = a_bought(status=Status.PAST_DUE, past_due_since=since, collection_paused=paused)

    decision = decided(some_facts(bought=bought))

    assert (decision.allowed, decision.reason) == (reason is Reason.GRACE, reason)
    named = decision.until if decision.allowed else decision.since
    assert named == since + 14 * DAY
    assert (since + 14 * DAY).isoformat() in decision.message or not decision.allowed


def test_without_a_date_grace_begins_when_we_looked() -> None:
    bought = a_bought(status=Status.PAST_DUE, past_due_since=None, looked_at=NOW - 3 * DAY)

    assert decided(some_facts(bought=bought)).until == NOW + 11 * DAY


def test_a_scheduled_end_is_told_with_the_way_back() -> None:
    decision = decided(some_facts(bought=a_bought(ends_at=NOW + DAY)))

    assert decision.until == NOW + DAY
    assert "POST /stripe/portal" in decision.change


def test_no_subscription_is_said_plainly() -> None:
    decision = decided(some_facts(bought=None))

    assert (decision.allowed, decision.reason) == (False, Reason.NO_SUBSCRIPTION)


def test_a_route_may_leave_the_subscription_out() -> None:
    """M3: the billing routes opt out of the subscription by name."""
    decision = decided(some_facts(bought=None), ANY_MEMBER)

    assert (decision.allowed, decision.reason) == (True, Reason.NOT_ASKED)


@pytest.mark.parametrize("needs", [Needs(), ANY_MEMBER])
def test_no_member_passes_nothing(needs: Needs) -> None:
    decision = decided(some_facts(role=None), needs)

    assert (decision.allowed, decision.reason) == (False, Reason.NOT_A_MEMBER)


def test_observing_lets_pass_what_it_names_but_never_where_money_is_spent() -> None:
    """M3: `always` is refused also while the gate observes; a stranger is refused anyway."""
    observing, buying = replace(POLICY, observe=True), Needs(roles=frozenset({"admin"}))
    watched = decide(some_facts(), buying, NOW, observing)
    kept = decide(some_facts(), replace(buying, always=True), NOW, observing)
    stranger = decide(some_facts(role=None), ANY_MEMBER, NOW, observing)

    assert (watched.allowed, watched.enforced, watched.reason) == (True, False, Reason.ROLE)
    assert (kept.allowed, kept.reason) == (False, Reason.ROLE)
    assert (stranger.allowed, stranger.reason) == (False, Reason.NOT_A_MEMBER)


def test_a_role_is_one_of_those_named() -> None:
    """M3: auth, then subscription, then rbac."""
    needs = Needs(roles=frozenset({"admin", "owner"}))

    assert decided(some_facts(role="owner"), needs).allowed
    refused = decided(some_facts(role="member"), needs)
    assert (refused.reason, refused.missing) == (Reason.ROLE, needs.roles)
    assert "admin or owner" in refused.message


def test_who_has_no_organization_has_no_role_unless_the_route_is_personal() -> None:
    alone = some_facts(org_id=None, role=None)
    roles = frozenset({"admin"})

    assert decided(alone, Needs(roles=roles)).reason is Reason.ROLE
    assert decided(alone, Needs(roles=roles, personal=True)).allowed
    assert not decided(some_facts(), Needs(roles=roles, personal=True)).allowed


def test_features_are_all_of_those_named() -> None:
    has = some_facts(features=frozenset({"reports"}))

    assert decided(has, Needs(features=frozenset({"reports"}))).allowed
    refused = decided(has, Needs(features=frozenset({"reports", "export"})))
    assert (refused.reason, refused.missing) == (Reason.FEATURE, {"export"})


def test_the_first_link_that_refuses_answers() -> None:
    """M3: the order is auth, subscription, rbac."""
    needs = Needs(roles=frozenset({"admin"}), features=frozenset({"reports"}))
    stranger = some_facts(role=None, bought=None)
    poor = some_facts(role="member", bought=None)
    small = some_facts(role="member")
    plain = some_facts(role="admin")

    reasons = [decided(facts, needs).reason for facts in (stranger, poor, small, plain)]

    assert reasons == [
        Reason.NOT_A_MEMBER,
        Reason.NO_SUBSCRIPTION,
        Reason.ROLE,
        Reason.FEATURE,
    ]


@given(facts=facts_of, needs=needs_of, now=moments)
def test_a_refusal_says_what_would_change_it(facts: Facts, needs: Needs, now: datetime) -> None:
    """B4: every decision explains itself, and stands on the facts it names."""
    decision = decided(facts, needs, now)

    blind = replace(facts, bought=None, features=frozenset())  # what she bought is not a stranger's
    assert decision.facts == (blind if decision.reason is Reason.NOT_A_MEMBER else facts)
    assert decision.message
    assert decision.allowed or decision.change


@given(facts=facts_of, needs=needs_of, now=moments)
def test_the_same_facts_give_the_same_decision(facts: Facts, needs: Needs, now: datetime) -> None:
    assert decided(facts, needs, now) == decided(facts, needs, now)


@given(bought=boughts, ahead=st.integers(1, 10_000), now=moments)
def test_a_cancel_date_never_closes_early(bought: Bought, ahead: int, now: datetime) -> None:
    """M6: until Stripe says canceled, a date that lies ahead closes nothing."""
    facts = some_facts(bought=bought)
    without = some_facts(bought=_ending(bought, None))
    with_date = some_facts(bought=_ending(bought, now + timedelta(minutes=ahead)))

    assert decided(with_date, now=now).allowed is decided(without, now=now).allowed
    assert decided(facts, now=now).allowed is decided(without, now=now).allowed


@given(bought=boughts, needs=needs_of, now=moments)
def test_incomplete_never_opens(bought: Bought, needs: Needs, now: datetime) -> None:
    """M6: nobody gets in before the first payment."""
    facts = some_facts(role="admin", bought=_with(bought, Status.INCOMPLETE))

    assert decided(facts, needs, now).allowed is (
        not needs.subscription and decided(some_facts(role="admin"), needs, now).allowed
    )


@given(bought=boughts, now=moments)
def test_grace_has_an_end_with_a_name(bought: Bought, now: datetime) -> None:
    """B4: who is late is told until when, and at that moment the gate closes."""
    facts = some_facts(bought=_with(bought, Status.PAST_DUE))
    decision = decided(facts, now=now)

    if decision.allowed:
        assert decision.until is not None
        assert decision.until > now
        assert not decided(facts, now=decision.until).allowed
    else:
        assert decision.since is not None
        assert decision.since <= now


@given(facts=facts_of, needs=needs_of, now=moments)
def test_asking_for_less_never_closes(facts: Facts, needs: Needs, now: datetime) -> None:
    """M3: leaving a link out can only open."""
    less = Needs(subscription=False, roles=frozenset(), features=frozenset())

    assert decided(facts, less, now).allowed or not decided(facts, needs, now).allowed


@given(facts=facts_of, needs=needs_of)
def test_who_has_no_row_passes_nothing(facts: Facts, needs: Needs) -> None:
    unknown = some_facts(user_id=None, org_id=facts.org_id, role=facts.role, bought=facts.bought)

    assert decided(unknown, needs).reason is Reason.NOT_A_MEMBER


def _ending(bought: Bought, at: datetime | None) -> Bought:
    return a_bought(**_fields(bought) | {"ends_at": at})


def _with(bought: Bought, status: Status) -> Bought:
    return a_bought(**_fields(bought) | {"status": status})


def _fields(bought: Bought) -> dict[str, object]:
    return {name: getattr(bought, name) for name in Bought.__slots__}
