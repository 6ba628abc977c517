"""Users, organizations and sessions as a provider shows them: late, deleted, found again."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenure.base.clock import StoppedClock
from tenure.base.db import Db
from tenure.identity import people
from tenure.identity.act import Policy
from tenure.identity.model import SeenSession

from .builders import HOUR, MINUTE, NOON, Registry, a_membership, a_user, an_org, at, rows, topics

FRESH = count(100)


@pytest.fixture
def ours(db: Db) -> Registry:
    return Registry(db=db)


async def user(ours: Registry) -> dict[str, Any]:
    (row,) = await rows(ours.db, "SELECT * FROM tenure.users")
    return row


async def org(ours: Registry) -> dict[str, Any]:
    (row,) = await rows(ours.db, "SELECT * FROM tenure.organizations")
    return row


async def test_a_newer_user_is_followed_and_an_older_one_is_not(ours: Registry) -> None:
    """S2: PaperDeck#223."""
    assert await ours.put_user(a_user(version=at(10), name="New")) == "joined"
    assert await ours.put_user(a_user(version=at(5), name="Old")) == "older_than_known"
    assert (await user(ours))["name"] == "New"
    assert await ours.put_user(a_user(version=at(20), name="Newest")) == "changed"
    assert (await user(ours))["name"] == "Newest"
    assert await ours.put_user(a_user(version=at(20), name="Newest")) == "unchanged"


async def test_a_newer_organization_is_followed_and_an_older_one_is_not(ours: Registry) -> None:
    """S2: the same of an organization."""
    assert await ours.put_org(an_org(version=at(10), name="New")) == "joined"
    assert await ours.put_org(an_org(version=at(5), name="Old")) == "older_than_known"
    assert await ours.put_org(an_org(version=at(20), slug="newest")) == "changed"
    assert (await org(ours))["slug"] == "newest"
    assert await ours.put_org(an_org(version=at(20), slug="newest")) == "unchanged"


async def test_what_is_deleted_before_it_is_seen_never_comes(ours: Registry) -> None:
    """M7, S2: the delete overtook the create."""
    for made in (await ours.drop_user(at=at(50)), await ours.drop_org(at=at(50))):
        assert (made.verdict, made.reason) == ("applied", "deleted_before_seen")

    assert await ours.put_user(a_user()) == "deleted_for_good"
    assert await ours.put_org(an_org(), asked=False) == "deleted_for_good"
    assert await rows(ours.db, "SELECT 1 FROM tenure.users") == []


async def test_a_deletion_twice_is_one(ours: Registry) -> None:
    """S2: at-least-once delivery."""
    await ours.put(a_membership())
    await ours.drop_user(at=at(50))
    news = await topics(ours.db)

    again = await ours.drop_user(at=at(50))

    assert (again.verdict, again.reason) == ("unchanged", "unchanged")
    assert await topics(ours.db) == news


async def test_a_signed_deletion_is_for_ever(ours: Registry) -> None:
    """M7: whatever the provider's own replicas say, and however late."""
    clock = StoppedClock(at(5000))
    later = replace(ours, clock=clock)
    await later.put_user(a_user())
    await later.put_org(an_org())
    await later.drop_user(at=at(50))
    await later.drop_org(at=at(50))
    clock.tick(1000 * HOUR)

    assert await later.put_user(a_user(version=at(9000))) == "deleted_for_good"
    assert await later.put_org(an_org(version=at(9000))) == "deleted_for_good"


async def test_an_absence_that_was_asked_for_yields_to_a_later_answer(ours: Registry) -> None:
    """M7: a provider that lacked her for a moment; her old sessions stay ended all the same."""
    clock = StoppedClock(at(5000))
    asking = replace(ours, clock=clock, policy=Policy(deletion="keep"))
    await asking.put(a_membership())
    await asking.put_user(a_user())
    made = await asking.drop_user()
    assert made.reason == "missing_at_provider"
    assert await asking.put_user(a_user()) == "deleted_for_good"
    clock.tick(2 * MINUTE)

    assert await asking.put_user(a_user(), asked=False) == "deleted_for_good"
    assert await asking.put_user(a_user()) == "changed"

    assert ((await user(ours))["deleted_at"], (await user(ours))["valid_after"]) == (None, at(5000))
    assert await asking.put(a_membership()) == ["found_again"]
    await ours.check()


async def test_an_organization_that_was_missing_for_a_moment_comes_back(ours: Registry) -> None:
    clock = StoppedClock(at(5000))
    asking = replace(ours, clock=clock)
    await asking.put(a_membership())
    await asking.drop_org()
    clock.tick(2 * MINUTE)

    assert await asking.put_org(an_org()) == "changed"
    assert await asking.put(a_membership()) == ["found_again"]
    assert (await ours.seats()).used == 1
    await ours.check()


async def test_a_signed_deletion_makes_an_absence_final(ours: Registry) -> None:
    """M7: first found missing, then told of: from then on nothing lifts it."""
    clock = StoppedClock(at(5000))
    asking = replace(ours, clock=clock)
    await asking.put_user(a_user())
    await asking.drop_user()
    await asking.drop_user(at=at(50))
    clock.tick(HOUR)

    assert await asking.put_user(a_user()) == "deleted_for_good"


async def test_an_absence_does_not_weaken_a_signed_deletion(ours: Registry) -> None:
    clock = StoppedClock(at(5000))
    asking = replace(ours, clock=clock)
    await asking.put_user(a_user())
    await asking.drop_user(at=at(50))
    await asking.drop_user()
    clock.tick(HOUR)

    assert await asking.put_user(a_user()) == "deleted_for_good"


async def test_who_signs_up_anew_is_somebody_new(ours: Registry) -> None:
    """M7: under another id of the provider's, whatever her address."""
    await ours.put_user(a_user(1, email="ada@example.test"))
    await ours.drop_user(1, at=at(50))

    assert await ours.put_user(a_user(2, email="ada@example.test")) == "joined"
    assert await ours.user_id(1) != await ours.user_id(2)


async def test_a_user_of_two_providers_keeps_what_the_other_one_says(ours: Registry) -> None:
    """M7: deleted at one provider, her memberships at the other stand."""
    workos = replace(ours, provider="workos")
    await ours.put(a_membership(1, 1))
    await workos.put(a_membership(1, 2))
    await rows(
        ours.db,
        """
        UPDATE tenure.memberships SET user_id = %s WHERE provider = 'workos' RETURNING 1
        """,
        await ours.user_id(),
    )
    made = await ours.drop_user(at=at(50))

    assert made.details["memberships"] == 1
    left = await rows(ours.db, "SELECT provider FROM tenure.memberships WHERE removed_at IS NULL")
    assert left == [{"provider": "workos"}]


async def test_every_change_is_told_with_what_changed(ours: Registry) -> None:
    """S2, M7: news for whoever remembers something, the audit log for whoever asks later."""
    await ours.put_user(a_user(version=at(1)))
    await ours.put_user(a_user(version=at(2), email="new@example.test", blocked=True))
    await ours.put_user(a_user(version=at(3), email="new@example.test", blocked=True))
    await ours.drop_user(at=at(4))

    told = await rows(ours.db, "SELECT payload ->> 'what' AS what FROM tenure.news ORDER BY id")
    assert [row["what"] for row in told] == [
        '["joined"]',
        '["email", "blocked"]',
        '["deleted"]',
    ]
    lines = await rows(ours.db, "SELECT action FROM tenure.audit_log ORDER BY seq")
    assert [line["action"] for line in lines] == ["user.blocked", "user.deleted"]


async def test_a_session_that_ended_is_noted_for_whoever_it_was(ours: Registry) -> None:
    """S2, T6: also of somebody whom we do not know yet."""
    ended = SeenSession(id="sess_1", user_id="user_1", ended_at=NOON)
    async with ours.acting() as act:
        first = await people.end_session(act, ended)
        again = await people.end_session(act, ended)

    assert (first.verdict, again.verdict) == ("applied", "unchanged")
    assert await rows(ours.db, "SELECT * FROM tenure.revoked_sessions") == [
        {"provider": "clerk", "session_id": "sess_1", "user_id": "user_1", "revoked_at": NOON}
    ]


SHOWS = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from(["Ada", "Bob", "Eve"]), st.booleans()),
    min_size=1,
    max_size=5,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(shows=SHOWS.flatmap(lambda one: st.tuples(st.permutations(one), st.permutations(one))))
async def test_events_of_a_user_in_any_order_end_alike(
    ours: Registry, shows: tuple[Sequence[tuple[int, str, bool]], ...]
) -> None:
    """S2, M7: versions decide; of two events of one moment the same one wins in every order."""
    ends = []
    for order in shows:
        number = next(FRESH)
        for version, name, blocked in [*order, order[0]]:
            seen = a_user(number, email=None, version=at(version), name=name, blocked=blocked)
            await ours.put_user(seen, asked=False)
        (row,) = await rows(
            ours.db,
            """
            SELECT u.name, u.blocked_until IS NOT NULL AS blocked, i.version FROM tenure.users u
              JOIN tenure.identities i ON i.user_id = u.id WHERE i.external_id = %s
            """,
            f"user_{number}",
        )
        ends.append(row)

    assert ends[0] == ends[1]
    assert ends[0]["version"] == at(max(version for version, _, _ in shows[0]))
