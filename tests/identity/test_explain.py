"""Everything that was kept about somebody, an organization or an event, and why it is so."""

from datetime import timedelta

import pytest

from tenure.base.db import Db
from tenure.identity import decisions, explain
from tenure.identity.act import decided
from tenure.identity.errors import UnknownUser
from tenure.identity.explain import Explained, NothingKnown
from tenure.journal import store as journal
from tenure.journal.model import Knock, Subject

from .builders import NOON, Registry, a_membership, a_user, an_org, at, gone

MEMBER = Subject("clerk.membership", "org_1/user_1")


@pytest.fixture
async def registry(db: Db) -> Registry:
    made = Registry(db=db)
    await made.put_user(a_user())
    await made.put_org(an_org())
    await made.put(a_membership())
    return made


async def told(db: Db, name: str) -> Explained:
    async with db.transaction() as tx:
        (found,) = await explain.explain(tx, name)
    return found


async def knock(db: Db, event_id: str = "msg_1", subject: Subject | None = MEMBER) -> None:
    made = Knock(
        source="clerk",
        livemode=False,
        event_id=event_id,
        kind="organizationMembership.updated",
        subject=subject,
        note=None if subject else "quarantined: it has no id",
        occurred_at=NOON,
        body=b"{}",
    )
    async with db.transaction() as tx:
        await journal.put_knocks(tx, [made])


async def test_a_user_is_found_under_every_name(registry: Registry) -> None:
    """M7: our key, the provider's id, her address, and a membership's id of any generation."""
    await registry.drop(gone(at=at(1900)))
    await registry.put(a_membership(gen=2))
    user_id = await registry.user_id()

    for name in (str(user_id), "user_1", "1@EXAMPLE.test", "mem_1_1_1", "mem_1_1_2"):
        found = await told(registry.db, name)
        assert (found.what, found.id) == ("user", str(user_id)), name


async def test_a_user_s_whole_life_is_told(registry: Registry) -> None:
    """M7: pain 4: a late delete of an old membership: both generations are there to be read."""
    await registry.drop(gone(at=at(1900)))
    await registry.put(a_membership(gen=2))

    found = await told(registry.db, "user_1")

    assert found.title == "Person 1 <1@example.test>"
    (belonging,) = found.memberships
    assert (belonging.org_name, belonging.member.generation) == ("Org 1", 2)
    lives = [(line.generation, line.status_to) for line in belonging.history]
    assert lives == [(1, "active"), (1, "removed"), (2, "active")]
    assert [name.external_id for name in found.names] == ["user_1"]


async def test_what_is_due_and_why_it_fails_is_told(registry: Registry) -> None:
    await knock(registry.db)
    async with registry.db.transaction() as tx:
        await tx.execute(
            "UPDATE tenure.subjects SET attempts = 3, last_error = 'identity.provider_away: x'"
        )

    found = await told(registry.db, "user_1")

    (look,) = found.looks
    assert (look.is_due, look.attempts) == (True, 3)
    assert look.last_error == "identity.provider_away: x"
    assert [event.event_id for event in found.events] == ["msg_1"]


async def test_an_organization_tells_of_its_members(registry: Registry) -> None:
    await registry.put(a_membership(2))

    found = await told(registry.db, "org_1")

    assert (found.what, found.title) == ("organization", "Org 1")
    assert [one.user_name for one in found.memberships] == ["Person 1", "Person 2"]


async def test_an_event_tells_which_look_settled_it_and_what_was_decided(
    registry: Registry,
) -> None:
    """Pain 3: a stale update: kept when, settled by which look, ignored why."""
    await knock(registry.db)
    waiting = await told(registry.db, "msg_1")
    async with registry.db.transaction() as tx:
        (claim,) = await journal.take_due(tx, MEMBER.kind, limit=1, lease=timedelta(minutes=1))
        await journal.settle(tx, claim, pause=timedelta(0))
        made = decided("older_than_known", verdict="ignored")
        await decisions.append(tx, [(MEMBER, made)], at=NOON, seq=claim.seq)
        await decisions.append(tx, [(MEMBER, made)], at=NOON, seq=claim.seq + 1)

    found = await told(registry.db, "msg_1")

    assert (waiting.looks[0].is_due, waiting.decisions) == (True, ())
    assert not found.looks[0].is_due
    assert [(one.seq, one.reason) for one in found.decisions] == [(claim.seq, "older_than_known")]
    assert found.events[0].subject == MEMBER


async def test_an_event_in_quarantine_says_why(registry: Registry) -> None:
    """Pain 2: a poison event is kept, and can be asked about."""
    await knock(registry.db, "msg_2", subject=None)

    found = await told(registry.db, "msg_2")

    assert (found.looks, found.decisions) == ((), ())
    assert found.events[0].note == "quarantined: it has no id"


async def test_who_was_deleted_before_we_saw_her_is_told(registry: Registry) -> None:
    await registry.drop_user(9, at(50))

    found = await told(registry.db, "user_9")

    assert found.what == "tombstone"
    assert [(grave.kind, grave.proof) for grave in found.tombstones] == [("user", "event")]


async def test_a_deleted_user_tells_her_tombstones(registry: Registry) -> None:
    await registry.drop_user(1, at(5000))

    found = await told(registry.db, "user_1")

    assert found.deleted_at
    assert {grave.kind for grave in found.tombstones} == {"user"}
    assert found.memberships[0].history[-1].cause == "user_deleted"


async def test_one_address_of_two_people_tells_of_both(registry: Registry) -> None:
    await registry.put_user(a_user(2, email="1@example.test"))

    async with registry.db.transaction() as tx:
        found = await explain.explain(tx, "1@example.test")
        with pytest.raises(UnknownUser, match="several"):
            await explain.one_user(tx, "1@example.test")

    assert len(found) == 2


async def test_what_is_unknown_is_said(registry: Registry) -> None:
    async with registry.db.transaction() as tx:
        with pytest.raises(NothingKnown):
            await explain.explain(tx, "user_none")
