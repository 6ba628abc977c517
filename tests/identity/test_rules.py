"""Versions, generations, tombstones and wishes: the laws, for every order of events."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.identity import rules
from tenure.identity.model import Membership, OrgId, SeenMembership, Status, UserId
from tenure.identity.rules import LONGEST, SHORTEST, STALE, Fate, Grave

from .builders import NOON, a_membership, at

AFTER = NOON + timedelta(days=1)
SHOWN = st.sampled_from([Status.ACTIVE, Status.INACTIVE, Status.PENDING])


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An event that shows a generation as of a version."""

    gen: int
    step: int
    role: str
    status: Status

    def seen(self) -> SeenMembership:
        return a_membership(
            gen=self.gen,
            version=at(self.gen * 1000 + self.step),
            role=self.role,
            status=self.status,
        )


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A signed event that says a generation was deleted."""

    gen: int


def born(seen: SeenMembership) -> Membership:
    return Membership(
        id=UUID(int=1),
        org_id=OrgId(UUID(int=2)),
        user_id=UserId(UUID(int=3)),
        role=seen.role,
        status=seen.status,
        holds_seat=False,
        created_at=NOON,
        updated_at=NOON,
    )


def a_row(**changes: object) -> Membership:
    """Make our row of the first generation, as of its first version."""
    seen = a_membership()
    row = rules.followed(born(seen), seen, Fate.JOINED, provider="clerk", now=NOON)
    return replace(row, **changes)  # type: ignore[arg-type]


def event_grave(seconds: float) -> Grave:
    return Grave(deleted_at=at(seconds), proof="event", written_at=AFTER)


class Ledger:
    """The write path without a database: what members.put and members.drop make of events."""

    def __init__(self) -> None:
        self.row: Membership | None = None
        self.graves: dict[str, Grave] = {}
        self.pair: Grave | None = None

    def take(self, event: Shown | Ended) -> None:
        if isinstance(event, Shown):
            self.show(event.seen())
        else:
            self.end(event.gen)

    def show(self, seen: SeenMembership) -> None:
        grave = self.graves.get(seen.id)
        if grave is not None and grave.holds(asked=False, now=AFTER):
            return
        fate = rules.judge_membership(self.row, seen, provider="clerk", asked=False, pair=self.pair)
        if fate.writes:
            base = self.row or born(seen)
            self.row = rules.followed(base, seen, fate, provider="clerk", now=AFTER)
            self.pair = None

    def end(self, gen: int) -> None:
        name, grave = a_membership(gen=gen).id, event_grave(gen * 1000 + 900)
        self.graves[name] = grave
        stands = self.row is not None and self.row.removed_at is None
        if stands and self.row and self.row.external_id != name:
            return
        if self.pair is None or self.pair.deleted_at < grave.deleted_at:
            self.pair = grave
        if stands and self.row:
            self.row = rules.removed(self.row, now=AFTER)

    def truth(self) -> tuple[object, ...] | None:
        """Say what holds: nothing for somebody who is no member, whether or not a row says so."""
        row = self.row
        if row is None or row.removed_at is not None:
            return None
        return row.external_id, row.role, row.status, row.version, row.joined_at


@st.composite
def lives(draw: st.DrawFn) -> list[Shown | Ended]:
    """Make all that a provider ever tells of a pair: it joins, changes, leaves, joins again."""
    told: list[Shown | Ended] = []
    generations = draw(st.integers(1, 4))
    for gen in range(1, generations + 1):
        for step in sorted(draw(st.sets(st.integers(0, 800), min_size=1, max_size=3))):
            role = draw(st.sampled_from(["member", "admin"]))
            told.append(Shown(gen=gen, step=step, role=role, status=draw(SHOWN)))
        if gen < generations or draw(st.booleans()):
            told.append(Ended(gen=gen))
    return told


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Shown | Ended], Sequence[Shown | Ended]]:
    """Make a life, and the same in another order with anything told again."""
    life = draw(lives())
    again = draw(st.lists(st.sampled_from(life), max_size=6))
    return life, draw(st.permutations(life + again))


def told(events: Sequence[Shown | Ended]) -> Ledger:
    ledger = Ledger()
    for event in events:
        ledger.take(event)
    return ledger


@given(deliveries())
def test_events_in_any_order_and_number_end_in_the_newest(
    told_twice: tuple[list[Shown | Ended], Sequence[Shown | Ended]],
) -> None:
    """M7, S2: reordered and repeated webhooks give the state that the provider ended with."""
    life, delivered = told_twice
    last = life[-1]

    truth = told(delivered).truth()

    if isinstance(last, Ended):
        assert truth is None
    else:
        seen = last.seen()
        assert truth == (seen.id, seen.role, seen.status, seen.version, seen.created_at)


@given(deliveries())
def test_a_deleted_id_never_comes_back(
    told_twice: tuple[list[Shown | Ended], Sequence[Shown | Ended]],
) -> None:
    """M7: PaperDeck#223: whatever arrives after a delete, the deleted generation stays away."""
    _, delivered = told_twice
    ledger = Ledger()
    for event in delivered:
        ledger.take(event)
        truth = ledger.truth()
        assert truth is None or truth[0] not in ledger.graves


@given(deliveries())
def test_a_version_never_goes_back_within_a_generation(
    told_twice: tuple[list[Shown | Ended], Sequence[Shown | Ended]],
) -> None:
    """M7: a stale update never overwrites a newer one."""
    ledger, newest = Ledger(), {}
    for event in told_twice[1]:
        ledger.take(event)
        row = ledger.row
        if row is not None and row.version is not None:
            known = newest.get(row.external_id, row.version)
            assert row.version >= known
            newest[row.external_id] = row.version


@given(deliveries())
def test_generations_only_count_up(
    told_twice: tuple[list[Shown | Ended], Sequence[Shown | Ended]],
) -> None:
    """M7: who joins again does so as a new generation, whatever came late."""
    ledger, before = Ledger(), (0, NOON)
    for event in told_twice[1]:
        ledger.take(event)
        if ledger.row and ledger.row.joined_at:
            now = (ledger.row.generation, ledger.row.joined_at)
            assert now >= before
            assert (now[0] > before[0]) == (now[1] > before[1])
            before = now


FACES = st.lists(
    st.builds(
        Shown,
        gen=st.integers(1, 2),
        step=st.integers(0, 1),
        role=st.sampled_from(["member", "viewer", "admin", "owner"]),
        status=SHOWN,
    ),
    min_size=1,
    max_size=5,
)


@given(FACES.flatmap(lambda told: st.tuples(st.permutations(told), st.permutations(told))))
def test_events_of_one_moment_end_alike_in_any_order(
    orders: tuple[Sequence[Shown], Sequence[Shown]],
) -> None:
    """M7: Clerk writes milliseconds: two updates may carry the same one, and both must not win."""
    one, other = (told([*order, *order[:2]]) for order in orders)

    assert one.truth() == other.truth()


def test_joining_again_is_a_new_generation() -> None:
    """M7: under a new id, at whatever state the old one was."""
    for row in (a_row(), rules.removed(a_row(), now=AFTER)):
        seen = a_membership(gen=2)
        fate = rules.judge_membership(row, seen, provider="clerk", asked=True)
        after = rules.followed(row, seen, fate, provider="clerk", now=AFTER)

        assert fate is Fate.REJOINED
        assert (after.generation, after.external_id, after.removed_at) == (2, seen.id, None)


def test_what_only_a_token_told_of_is_confirmed_and_no_new_generation() -> None:
    """M6: a row made just in time becomes the provider's own."""
    row = a_row(external_id=None, version=None, joined_at=None)
    seen = a_membership()
    fate = rules.judge_membership(row, seen, provider="clerk", asked=False)

    assert fate is Fate.CONFIRMED
    after = rules.followed(row, seen, fate, provider="clerk", now=AFTER)
    assert (after.generation, after.external_id) == (1, seen.id)


def test_a_removed_row_that_only_a_token_told_of_is_joined_anew() -> None:
    row = rules.removed(a_row(external_id=None, version=None, joined_at=None), now=AFTER)

    assert (
        rules.judge_membership(row, a_membership(gen=2), provider="clerk", asked=True)
        is Fate.REJOINED
    )


def test_an_event_older_than_the_removal_is_ignored_and_an_answer_is_not() -> None:
    """M6: openwork#3243: a stale payload does not bring a removed member back."""
    left = event_grave(5000)
    older, row = a_membership(gen=3), rules.removed(a_row(), now=AFTER)
    for known in (None, row):
        told_late = rules.judge_membership(known, older, provider="clerk", asked=False, pair=left)
        answered = rules.judge_membership(known, older, provider="clerk", asked=True, pair=left)

        assert told_late is Fate.BEFORE_REMOVAL
        assert answered.writes


def test_an_older_generation_is_ignored_even_where_the_provider_answers_so() -> None:
    """M7: vm0#34986: what is older than the generation we know cannot be meant: ask again."""
    row = a_row(external_id="mem_1_1_2", joined_at=at(2000), version=at(2000))
    fate = rules.judge_membership(row, a_membership(gen=1), provider="clerk", asked=True)

    assert fate is Fate.OLD_GENERATION
    assert fate.contradicts


def test_the_same_again_writes_nothing() -> None:
    fate = rules.judge_membership(a_row(), a_membership(), provider="clerk", asked=False)

    assert fate is Fate.SAME
    assert not fate.writes


def test_a_new_version_of_the_same_face_is_kept() -> None:
    """Otherwise an older event between the two would be taken for news."""
    later = a_membership(version=at(1500))

    assert rules.judge_membership(a_row(), later, provider="clerk", asked=False) is Fate.CHANGED


@given(
    wish=st.sampled_from(["active", "inactive", "removed"]),
    shown=SHOWN,
    steps=st.lists(SHOWN, max_size=4),
)
def test_a_wish_stands_until_the_provider_shows_it(
    wish: str, shown: Status, steps: list[Status]
) -> None:
    """M6: who was deactivated here is not let in because the provider still shows her active."""
    status = Status.ACTIVE if wish == "active" else Status.INACTIVE
    row = a_row(wish=wish, status=status, wished_at=AFTER, wished_by="somebody")
    for number, one in enumerate([*steps, shown], 1):
        seen = a_membership(version=at(1000 + number), status=one)
        row = rules.followed(row, seen, Fate.CHANGED, provider="clerk", now=AFTER)
        if one.value == wish or row.wish is None:
            break

    if any(one.value == wish for one in [*steps, shown]):
        assert (row.wish, row.wished_at, row.wished_by) == (None, None, None)
        assert row.status.value == wish
    else:
        assert (row.wish, row.status, row.wished_at) == (wish, status, AFTER)


def test_a_wished_role_stands_until_the_provider_shows_it() -> None:
    row = a_row(role="member", wish_role="viewer", wished_at=AFTER)
    not_yet = rules.followed(
        row, a_membership(role="admin"), Fate.CHANGED, provider="clerk", now=AFTER
    )
    done = rules.followed(
        row, a_membership(role="viewer"), Fate.CHANGED, provider="clerk", now=AFTER
    )

    assert (not_yet.role, not_yet.wish_role, not_yet.wished_at) == ("member", "viewer", AFTER)
    assert (done.role, done.wish_role, done.wished_at) == ("viewer", None, None)


def test_a_carried_out_wish_settles_although_the_version_is_the_same() -> None:
    row = a_row(status=Status.INACTIVE, wish="inactive", wished_at=AFTER, version=at(1000))
    seen = a_membership(status=Status.INACTIVE)

    assert rules.judge_membership(row, seen, provider="clerk", asked=True) is Fate.CHANGED


def test_who_joins_again_is_free_of_old_wishes() -> None:
    row = a_row(wish="removed", wish_role="admin", status=Status.INACTIVE, wished_at=AFTER)
    after = rules.followed(row, a_membership(gen=2), Fate.REJOINED, provider="clerk", now=AFTER)

    assert (after.wish, after.wish_role, after.wished_at) == (None, None, None)
    assert after.status is Status.ACTIVE


def test_who_is_removed_has_no_seat_and_no_wish() -> None:
    over = rules.removed(a_row(holds_seat=True, wish="inactive", wished_at=AFTER), now=AFTER)

    assert (over.holds_seat, over.wish, over.wished_at) == (False, None, None)
    assert (over.told_status, over.is_here) == ("removed", False)


@given(st.booleans(), st.timedeltas(timedelta(0), timedelta(days=9000)))
def test_a_signed_delete_holds_for_ever(asked: bool, age: timedelta) -> None:  # noqa: FBT001 (drawn by hypothesis)
    """M7: the provider never uses the id again, so nothing ever lifts it."""
    assert event_grave(0).holds(asked=asked, now=AFTER + age)


@given(st.timedeltas(timedelta(0), timedelta(days=1)))
def test_an_absence_holds_against_events_always_and_against_answers_while_lists_lag(
    age: timedelta,
) -> None:
    """M7: what we found missing by asking may have been the lag of a list."""
    grave = Grave(deleted_at=NOON, proof="asked", written_at=AFTER)

    assert grave.holds(asked=False, now=AFTER + age)
    assert grave.holds(asked=True, now=AFTER + age) == (age < STALE)


@pytest.mark.parametrize(
    ("known", "version", "is_known", "fate"),
    [
        (None, None, False, Fate.JOINED),
        (None, NOON, False, Fate.JOINED),
        (None, NOON, True, Fate.CHANGED),  # only named so far
        (NOON, None, True, Fate.SAME),  # a name tells nothing new of somebody we know
        (NOON, NOON, True, Fate.CHANGED),
        (NOON, AFTER, True, Fate.CHANGED),
        (AFTER, NOON, True, Fate.OLDER),
    ],
)
def test_a_person_is_judged_by_her_version(
    known: object,
    version: object,
    is_known: bool,  # noqa: FBT001 (a column of the table)
    fate: Fate,
) -> None:
    """S2: PaperDeck#223: an older user.updated is ignored."""
    assert rules.judge_person(known, version, is_known=is_known) is fate  # type: ignore[arg-type]


@given(st.timedeltas(timedelta(0), timedelta(days=9000)))
def test_a_strange_answer_is_checked_within_bounds(wait: timedelta) -> None:
    assert SHORTEST <= rules.asks_again(wait) <= LONGEST
