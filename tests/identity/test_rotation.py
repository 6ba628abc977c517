from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.identity import rotation
from tenure.identity.rotation import (
    GRACE,
    LEAST_TRY,
    LONGEST_PAUSE,
    OUR_FAULT,
    SLACK,
    TERMINAL,
    TRIES,
    TRY,
    WINDOW,
    Denied,
    Failed,
    Series,
    Session,
    Step,
    is_usable,
    next_step,
    pause_after,
    verdict,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ORGS = [None, "org_1", "org_2"]

spans = st.timedeltas(timedelta(0), timedelta(hours=1))
maybe = st.none() | spans
sessions = st.builds(
    Session,
    key=st.just(b"k"),
    external_id=st.just("session_1"),
    user_id=st.just("user_1"),
    org_id=st.sampled_from(ORGS),
    access_token=st.just("a"),
    refresh_token=st.just("r"),
    refresh_hash=st.just(b"h"),
    expires_at=st.timedeltas(-timedelta(hours=1), timedelta(hours=1)).map(lambda by: NOW + by),
    since_rotation=spans,
    fence=st.just(1),
    held_for=maybe,
    pause=maybe,
    failures=st.integers(0, 9),
    in_doubt_for=maybe,
    ended_why=st.sampled_from([None, None, None, "refused", "signed_out", "answer_lost"]),
    is_revoked=st.booleans(),
)
wishes = st.sampled_from(ORGS)
codes = st.sampled_from([*TERMINAL, *OUR_FAULT, "not_known_to_us", "server_error"])
failures = st.builds(
    Failed, why=st.just("away"), is_spent=st.booleans(), retry_after=st.none() | spans
)


@given(sessions, wishes)
def test_one_that_has_ended_is_over_and_no_other(session: Session, wish: str | None) -> None:
    is_over = next_step(session, org_id=wish) is Step.OVER

    assert is_over == bool(session.ended_why or session.is_revoked)


@given(sessions, wishes)
def test_one_refresh_at_a_time(session: Session, wish: str | None) -> None:
    """M8: nobody rotates what another process holds."""
    if session.held_for is not None:
        assert next_step(session, org_id=wish) in {Step.OVER, Step.GIVE, Step.WAIT}


@given(sessions, wishes)
def test_a_pair_that_just_came_is_given_and_not_spent(session: Session, wish: str | None) -> None:
    """M8: who comes within the grace gets the winner's pair."""
    young = replace(session, since_rotation=GRACE - SECOND, ended_why=None, is_revoked=False)
    young = replace(young, in_doubt_for=None)

    is_given = next_step(young, org_id=wish) is Step.GIVE
    assert is_given == (wish in {None, young.org_id})


@given(sessions, wishes)
def test_a_token_left_in_doubt_is_sent_again_by_the_next_who_comes(
    session: Session, wish: str | None
) -> None:
    left = replace(session, in_doubt_for=SECOND, held_for=None, pause=None)

    assert next_step(left, org_id=wish) in {Step.OVER, Step.ROTATE}


@given(sessions)
def test_a_usable_token_is_of_a_session_that_lives(session: Session) -> None:
    if is_usable(session, now=NOW):
        assert session.ended_why is None
        assert not session.is_revoked
        assert session.expires_at > NOW


@given(code=codes, switching=st.booleans(), since=spans)
def test_only_three_words_of_the_provider_end_a_session(
    *, code: str, switching: bool, since: timedelta
) -> None:
    """M8: and none of them while it only refuses another organization."""
    why = verdict(Denied(code=code, message=""), switching=switching, in_doubt_for=since)

    assert (why is not None) == (code in TERMINAL and not switching)


@pytest.mark.parametrize(
    ("code", "since", "why"),
    [
        ("invalid_grant", GRACE - SECOND, "refused"),  # within the grace the pair would have come
        ("invalid_grant", GRACE, "answer_lost"),
        ("mfa_enrollment", GRACE, "mfa_enrollment"),
        ("sso_required", SECOND, "sso_required"),
    ],
)
def test_the_end_says_why(code: str, since: timedelta, why: str) -> None:
    denied = Denied(code=code, message="")

    assert verdict(denied, switching=False, in_doubt_for=since) == why


def begins(doubt: timedelta, durations: list[timedelta], failed: Failed) -> list[timedelta]:
    """Play a series through; say when each try began, counted from the token's first use."""
    series, elapsed, found = Series(in_doubt_for=doubt), timedelta(0), []
    opened = doubt if doubt < WINDOW else timedelta(0)
    for number, wanted in enumerate(durations, 1):
        found.append(opened + elapsed)
        elapsed += min(wanted, series.within(elapsed))
        wait = series.wait_before(number + 1, failed, elapsed=elapsed)
        if wait is None:
            break
        elapsed += wait
    return found


@given(spans, st.lists(st.timedeltas(timedelta(0), TRY * 2), min_size=9, max_size=9), failures)
def test_no_try_begins_when_the_grace_may_be_over(
    doubt: timedelta, durations: list[timedelta], failed: Failed
) -> None:
    """M8: the 30 s are used and not exceeded."""
    found = begins(doubt, durations, failed)

    assert 1 <= len(found) <= TRIES
    assert all(at <= WINDOW for at in found)
    assert WINDOW + LEAST_TRY < GRACE


@given(st.lists(st.timedeltas(timedelta(0), TRY), min_size=TRIES, max_size=TRIES))
def test_whoever_dies_in_any_try_leaves_time_for_another(durations: list[timedelta]) -> None:
    """M8: a lease never outlives the window in which the same token still gives the same pair."""
    failed = Failed(why="away", is_spent=True)
    series = Series(in_doubt_for=timedelta(0))
    waits = [timedelta(0), *rotation.WAITS]
    for number, at in enumerate(begins(timedelta(0), durations, failed), 1):
        renewed_at = at - waits[number - 1]  # a lease covers the wait before its try as well
        needed = waits[number - 1] + series.within(at)
        assert renewed_at + needed + SLACK < WINDOW


@given(st.integers(0, 1000), failures, spans)
def test_a_pause_is_short_while_a_token_is_in_doubt_and_never_without_end(
    number: int, failed: Failed, since: timedelta
) -> None:
    pause = pause_after(number, failed, in_doubt_for=since)

    assert pause > timedelta(0)
    if failed.is_spent and since < WINDOW:
        assert pause <= GRACE - WINDOW
    else:
        assert pause <= max(LONGEST_PAUSE, failed.retry_after or timedelta(0))
        assert pause >= (failed.retry_after or timedelta(0))
