"""What to do about a session whose tokens rotate: pure decisions.

A refresh token is good for one use, and then for 30 s more: whoever sends it again gets the same
new pair. So a lost answer is no lost session, for as long as the *same* token is sent again in
time.
Source: WorkOS docs, "Session resilience".
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Literal

GRACE = timedelta(seconds=30)  # the provider's
WINDOW = timedelta(seconds=25)  # from a token's first use: what begins later may come too late
# A process that dies in any of its tries leaves its successor enough of the window for one more.
TRIES = 3
TRY = timedelta(seconds=6)  # for one call
LEAST_TRY = timedelta(seconds=3)
WAITS = (timedelta(seconds=0.3), timedelta(seconds=3))  # before the second and the third try
SLACK = timedelta(seconds=3)  # of a lease: for our turn among all callers, and for bookkeeping
FIRST_PAUSE = timedelta(seconds=2)  # after a series of tries that all failed; doubles
LONGEST_PAUSE = timedelta(seconds=30)
URGENT_PAUSE = timedelta(seconds=4)
MARGIN = timedelta(seconds=5)  # a token that expires sooner helps nobody

Why = Literal["signed_out", "revoked", "refused", "answer_lost", "mfa_enrollment", "sso_required"]
TERMINAL = frozenset({"invalid_grant", "mfa_enrollment", "sso_required"})
OUR_FAULT = frozenset({"invalid_client", "unauthorized_client", "unauthorized"})  # wrong key or id


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Our row; spans of time are measured by the database's clock, which all machines share."""

    key: bytes  # hash of the handle
    external_id: str | None
    user_id: str  # the provider's
    org_id: str | None  # the provider's
    access_token: str | None  # sealed; None once ended
    refresh_token: str | None  # sealed; None once ended
    refresh_hash: bytes
    expires_at: datetime  # of the access token
    since_rotation: timedelta
    fence: int
    held_for: timedelta | None  # another process owns it for so long yet
    pause: timedelta | None  # the provider is left alone for so long yet
    failures: int
    in_doubt_for: timedelta | None  # the refresh token may be spent, since so long
    ended_why: Why | None
    is_revoked: bool  # the provider has said so


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What the provider gives for a code or for a refresh token."""

    access_token: str
    refresh_token: str
    user_id: str
    org_id: str | None
    session_id: str | None
    expires_at: datetime | None  # None: the access token does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """No clear answer came."""

    why: str
    is_spent: bool  # perhaps: the request may have reached the provider and been obeyed
    retry_after: timedelta | None = None  # what the provider asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The provider said no, by this code."""

    code: str
    message: str


Answer = Pair | Failed | Denied


class Step(Enum):
    """What to do next for somebody who wants fresh tokens."""

    OVER = auto()  # the session has ended
    GIVE = auto()  # the stored pair is new enough
    WAIT = auto()  # another process is at it
    PAUSE = auto()  # the provider just failed: later
    ROTATE = auto()


def next_step(session: Session, *, org_id: str | None = None) -> Step:
    """Decide what to do; `org_id` is the organization that is wished for, if any.

    Promise: never ROTATE while somebody holds the session. A token that was left in doubt is sent
             again at once, however new the stored pair is: it may be the last chance.
    """
    is_free = session.held_for is None and session.pause is None
    if session.ended_why or session.is_revoked:
        return Step.OVER
    if session.in_doubt_for is not None and is_free:
        return Step.ROTATE
    if session.since_rotation < GRACE and is_in(session, org_id):
        return Step.GIVE
    if is_free:
        return Step.ROTATE
    return Step.PAUSE if session.held_for is None else Step.WAIT


def is_in(session: Session, org_id: str | None) -> bool:
    """Say whether the session is where it is wished to be; any place will do for None."""
    return org_id is None or org_id == session.org_id


def is_usable(session: Session, *, now: datetime) -> bool:
    """Say whether the stored access token still opens doors."""
    return not (session.ended_why or session.is_revoked) and session.expires_at - now > MARGIN


def verdict(denied: Denied, *, switching: bool, in_doubt_for: timedelta) -> Why | None:
    """Decide whether a refusal ends the session, and why; None: it lives on.

    A refused switch of the organization says nothing of the session itself. A token that was in
    doubt for longer than the grace was spent by a call whose answer never reached us.
    """
    if switching or denied.code not in TERMINAL:
        return None
    if denied.code == "mfa_enrollment":
        return "mfa_enrollment"
    if denied.code == "sso_required":
        return "sso_required"
    return "refused" if in_doubt_for < GRACE else "answer_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Tries with one token, by one process that holds the session all the while.

    `in_doubt_for`: how long ago the token was first used, as the series begins.
    """

    in_doubt_for: timedelta

    @property
    def spare(self) -> timedelta:
        """How long after its begin a try may still begin.

        Once the window has closed there is nothing to lose any more: a new one opens.
        """
        return WINDOW - self.in_doubt_for if self.in_doubt_for < WINDOW else WINDOW

    def within(self, elapsed: timedelta) -> timedelta:
        """How long a try that begins now may take."""
        return max(LEAST_TRY, min(TRY, self.spare - elapsed))

    def wait_before(self, number: int, answer: Failed, *, elapsed: timedelta) -> timedelta | None:
        """How long to wait before try `number` (the first is 1); None: there is none."""
        if number > TRIES:
            return None
        wait = WAITS[number - 2]
        asked_for = answer.retry_after or timedelta(0)
        return wait if asked_for <= wait and elapsed + wait < self.spare else None


def pause_after(failures: int, answer: Failed, *, in_doubt_for: timedelta) -> timedelta:
    """How long to leave the provider alone when all tries failed; `failures` in a row so far.

    While the grace lasts, a token in doubt has no time to lose, whatever the provider asks for.
    """
    grown = min(FIRST_PAUSE * 2 ** min(failures, 5), LONGEST_PAUSE)
    if answer.is_spent and in_doubt_for < WINDOW:
        return min(grown, URGENT_PAUSE)
    return max(grown, answer.retry_after or timedelta(0))
