"""WorkOS's list of events, read to its end whatever happens on the way."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tenure.base.clock import StoppedClock
from tenure.base.db import Db
from tenure.identity import poll, workos_events
from tenure.identity.errors import ProviderFailed, Refused
from tenure.identity.poll import Polled
from tenure.identity.workos import WorkosReader
from tenure.journal import store as journal
from tenure.journal.model import Subject

from .workos_scene import MEMBERSHIPS, Scene, a_scene

HELD_BACK = timedelta(seconds=4)
NOTHING = Polled()


@pytest.fixture
async def scene(clock: StoppedClock) -> AsyncIterator[Scene]:
    async with a_scene(clock) as scene:
        yield scene


@pytest.fixture
async def started(scene: Scene, db: Db) -> Scene:
    """A scene whose list has been read before."""
    await polled(scene, db)
    return scene


async def polled(scene: Scene, db: Db, **how: Any) -> Polled:
    return await poll.poll(db, scene.directory, scene.clock, **how)


async def rows(db: Db, of: str = "") -> list[dict[str, Any]]:
    async with db.statement() as tx:
        cur = await tx.execute(
            """
            SELECT event_id, kind, subject_kind, subject_id, note FROM tenure.inbox
             WHERE subject_id = %s OR %s = '' ORDER BY occurred_at, event_id
            """,
            (of, of),
        )
        return await cur.fetchall()


async def cursor(db: Db) -> str | None:
    async with db.statement() as tx:
        found = await (await tx.execute("SELECT cursor FROM tenure.event_cursors")).fetchone()
    return found["cursor"] if found else None


async def due(db: Db) -> set[str]:
    async with db.statement() as tx:
        cur = await tx.execute("SELECT id FROM tenure.subjects WHERE dirty_seq > settled_seq")
        return {row["id"] for row in await cur.fetchall()}


async def by_webhook(scene: Scene, db: Db, which: int) -> str:
    """Let a webhook bring an event."""
    knock = WorkosReader().knock_of(scene.events()[which])
    async with db.transaction() as tx:
        await journal.put_knocks(tx, [knock])
    return knock.event_id


async def test_what_no_webhook_told_is_kept_and_marked(started: Scene, db: Db) -> None:
    """M8: every webhook was lost."""
    org, user = await started.an_org(), await started.a_user()
    await started.a_member(org, user)
    started.clock.tick(HELD_BACK)

    assert await polled(started, db) == Polled(kept=3)

    assert await due(db) == {org, user, f"{org}/{user}"}
    assert await cursor(db) == started.world.event_ids[-1]
    assert await polled(started, db) == NOTHING


async def test_an_event_that_is_held_back_is_read_by_a_later_poll(started: Scene, db: Db) -> None:
    """Polling right after a poke returns nothing; so it is done again, and again."""
    user = await started.a_user()

    found = list[int]()
    for wait in poll.AFTER_A_POKE:
        started.clock.tick(wait)
        found.append((await polled(started, db)).kept)

    assert found[0] == 0
    assert sum(found) == 1
    assert await due(db) == {user}


async def test_a_cursor_advanced_by_a_webhook_does_not_lose_a_delete(
    started: Scene, db: Db
) -> None:
    """Pain 1 (get-convex/workos-authkit#75): only the poller moves the cursor."""
    user = await started.a_user()
    started.clock.tick(HELD_BACK)
    await polled(started, db)
    before = await cursor(db)
    await started.ask("DELETE", f"/user_management/users/{user}")
    started.clock.tick(timedelta(seconds=1))
    await started.a_user("bob")

    assert await polled(started, db) == NOTHING  # both are held back still
    await by_webhook(started, db, -1)  # of the one that came later; that of the delete is lost
    assert await polled(started, db) == NOTHING
    assert await cursor(db) == before

    started.clock.tick(HELD_BACK)
    assert await polled(started, db) == Polled(kept=1)
    assert [row["kind"] for row in await rows(db, user)] == ["user.created", "user.deleted"]


async def test_what_a_webhook_brought_already_is_passed_over(started: Scene, db: Db) -> None:
    user = await started.a_user()
    await by_webhook(started, db, 0)
    await started.ask("PUT", f"/user_management/users/{user}", first_name="Ada")
    started.clock.tick(HELD_BACK)

    assert await polled(started, db) == Polled(kept=1)

    assert [row["event_id"] for row in await rows(db)] == started.world.event_ids


async def test_a_poison_event_does_not_stop_the_sync(started: Scene, db: Db) -> None:
    """Pain 2 (speakeasy-api/gram#2525): it is kept with its reason, and the cursor goes on."""
    await started.a_user("before")
    missing = await started.inject(poison="missing_fields")
    await started.inject(poison="not_an_object")
    unknown = await started.inject(poison="unknown_type")
    nameless = {"id": None, "event": "user.updated", "data": {"id": "user_1"}}
    await started.inject(event=nameless, name="user.updated")
    kindless = await started.inject(event={"data": {"id": "user_1"}}, name="user.updated")
    after = await started.a_user("after")
    started.clock.tick(HELD_BACK)

    assert await polled(started, db) == Polled(kept=7, quarantined=4)

    assert after in await due(db)
    assert await cursor(db) == started.world.event_ids[-1]
    notes = {row["event_id"]: row["note"] or "" for row in await rows(db)}
    assert notes[missing].startswith("quarantined: Object missing required field")
    assert notes[kindless].startswith("quarantined: the body is not an event: its kind")
    assert notes[unknown].startswith("tells of no user")
    assert len([name for name in notes if name.startswith("sha256:")]) == 2
    async with db.statement() as tx:
        listed = await poll.list_quarantined(tx)
    assert {one.event_id for one in listed} == {
        name for name, note in notes.items() if note.startswith("quarantined")
    }
    assert await polled(started, db) == NOTHING


async def test_pages_of_nothing_but_nameless_poison_are_passed(started: Scene, db: Db) -> None:
    """Pain 2: there is no event whose id could be the cursor, so the list's own place is."""
    for _ in range(poll.PAGE + 20):
        await started.inject(poison="not_an_object")
    user = await started.a_user()
    started.clock.tick(HELD_BACK)

    assert await polled(started, db) == Polled(kept=2, quarantined=1)  # one, many times over

    assert await due(db) == {user}


async def test_a_quarantined_event_is_read_again_when_we_know_better(
    started: Scene, db: Db
) -> None:
    event_id = await started.inject(poison="missing_fields")
    started.clock.tick(HELD_BACK)
    await polled(started, db)
    still = await poll.replay(db, WorkosReader(), event_id)
    assert still is not None
    assert (still.subject, (still.note or "")[:11]) == (None, "quarantined")
    data = {"id": "om_1", "organization_id": "org_1", "user_id": "user_1"}
    body = json.dumps({"id": event_id, "event": "organization_membership.updated", "data": data})
    async with db.statement() as tx:
        await tx.execute(  # as if the reader had learned of this shape
            "UPDATE tenure.inbox SET body = %s WHERE event_id = %s", (body.encode(), event_id)
        )

    found = await poll.replay(db, WorkosReader(), event_id)

    subject = Subject("workos.membership", "org_1/user_1")
    assert found == poll.Replayed(subject=subject, note=None)
    assert await due(db) == {"org_1/user_1"}
    async with db.statement() as tx:
        assert await poll.list_quarantined(tx) == []
        assert [kept.event_id for kept in await journal.list_events(tx, subject)] == [event_id]
    assert await poll.replay(db, WorkosReader(), "event_none") is None


async def test_a_nameless_event_is_replayed_under_the_name_that_we_gave_it(
    started: Scene, db: Db
) -> None:
    await started.inject(event={"id": None, "event": "user.updated", "data": {"id": "user_1"}})
    started.clock.tick(HELD_BACK)
    await polled(started, db)
    ((name, note),) = [(row["event_id"], row["note"]) for row in await rows(db)]
    assert note == "quarantined: the body is not an event: its id is missing or no name"

    found = await poll.replay(db, WorkosReader(), name)

    assert found == poll.Replayed(subject=Subject("workos.user", "user_1"), note=None)
    assert [row["subject_id"] for row in await rows(db)] == ["user_1"]


@pytest.mark.parametrize("ignored", [False, True])
async def test_events_are_read_oldest_first_whatever_the_default_order_is(
    started: Scene,
    db: Db,
    ignored: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """The reference says newest first, the service oldest first (workos/workos-node#1610)."""
    await started.behave(ignore_order=ignored)
    for _ in range(3):
        await started.ask("POST", "/_sandbox/seed", users=90, events=True)
        started.clock.tick(timedelta(seconds=1))
    started.clock.tick(HELD_BACK)

    assert await polled(started, db) == Polled(kept=270)

    assert [row["event_id"] for row in await rows(db)] == started.world.event_ids
    assert await cursor(db) == started.world.event_ids[-1]


async def test_overlapping_pollers_keep_every_event_once(started: Scene, db: Db) -> None:
    """M8: whoever is second with a page writes nothing and goes on from where the first one is."""
    await started.ask("POST", "/_sandbox/seed", users=450, events=True)
    started.clock.tick(HELD_BACK)

    runs = await asyncio.gather(*(polled(started, db) for _ in range(4)))

    assert sum(run.kept for run in runs) == 450
    assert not any(run.behind or run.lost or run.began for run in runs)
    assert [row["event_id"] for row in await rows(db)] == started.world.event_ids
    assert await cursor(db) == started.world.event_ids[-1]


async def test_a_poller_that_was_stalled_does_not_move_the_cursor_back(
    started: Scene, db: Db
) -> None:
    await started.ask("POST", "/_sandbox/seed", users=150, events=True)
    started.clock.tick(HELD_BACK)
    is_there, goes_on = asyncio.Event(), asyncio.Event()

    async def stall() -> None:
        is_there.set()
        await goes_on.wait()

    stalled = asyncio.create_task(poll.poll(db, started.other(spend=stall), started.clock, pages=1))
    await is_there.wait()
    assert await polled(started, db) == Polled(kept=150)
    goes_on.set()

    assert await stalled == Polled(behind=True)
    assert await cursor(db) == started.world.event_ids[-1]


async def test_two_first_polls_at_once_begin_one_list(scene: Scene, db: Db) -> None:
    await scene.ask("POST", "/_sandbox/seed", users=150, events=True)
    scene.clock.tick(HELD_BACK)

    runs = await asyncio.gather(*(polled(scene, db) for _ in range(3)))

    assert sum(run.kept for run in runs) == 150
    assert any(run.began for run in runs)
    assert await cursor(db) == scene.world.event_ids[-1]


async def test_a_poll_that_breaks_off_keeps_what_it_has_and_goes_on_there(
    started: Scene, db: Db
) -> None:
    await started.ask("POST", "/_sandbox/seed", users=250, events=True)
    started.clock.tick(HELD_BACK)
    assert await polled(started, db, pages=1) == Polled(kept=100, behind=True)
    await started.fail("500", match="GET /events", count=3)
    with pytest.raises(ProviderFailed):
        await polled(started, db)
    assert await cursor(db) == started.world.event_ids[99]

    assert await polled(started, db) == Polled(kept=150)


async def test_the_first_poll_begins_a_little_before_now_and_says_so(scene: Scene, db: Db) -> None:
    """What was before is found by a walk, which begins after the first event that is read."""
    await scene.a_user("long_ago")
    scene.clock.tick(poll.OVERLAP + timedelta(minutes=1))
    recent = await scene.a_user("recent")
    scene.clock.tick(HELD_BACK)

    assert await polled(scene, db) == Polled(kept=1, began=True)
    assert await due(db) == {recent}
    assert await polled(scene, db) == NOTHING


async def test_a_quiet_list_is_not_begun_anew_by_every_poll(scene: Scene, db: Db) -> None:
    assert await polled(scene, db) == Polled(began=True)
    scene.clock.tick(timedelta(days=3))
    assert await polled(scene, db) == NOTHING
    await scene.a_user()
    scene.clock.tick(timedelta(days=2))

    assert await polled(scene, db) == Polled(kept=1)


async def lost_for(scene: Scene, db: Db, days: int) -> tuple[str, str]:
    """Poll, then not for days; of those who changed meanwhile, only the later one is listed."""
    await scene.a_user("known")
    scene.clock.tick(HELD_BACK)
    await polled(scene, db)
    early = await scene.a_user("early")
    scene.clock.tick(timedelta(days=days - 10))
    late = await scene.a_user("late")
    scene.clock.tick(timedelta(days=10))
    return early, late


@pytest.mark.parametrize("retention", [30, 90])
async def test_an_expired_cursor_goes_on_from_a_range_and_asks_for_a_walk(
    started: Scene, db: Db, retention: int
) -> None:
    """M8: deletions are visible only by a full comparison then, so the loss is said until it is.

    Where WorkOS still takes the cursor, nobody knows whether it lists all that came after it.
    """
    await started.behave(retention=retention * 86_400.0)
    early, late = await lost_for(started, db, 40)

    assert await polled(started, db) == Polled(kept=1, lost=True)
    assert late in await due(db)
    assert early not in await due(db)
    assert await cursor(db) == started.world.event_ids[-1]

    assert await polled(started, db) == Polled(lost=True)
    async with db.statement() as tx:
        await poll.forget_loss(tx, walked_from=started.clock.now() - timedelta(hours=1))
    assert (await polled(started, db)).lost
    async with db.statement() as tx:
        await poll.forget_loss(tx, walked_from=started.clock.now())
    assert await polled(started, db) == NOTHING


async def test_a_cursor_of_another_environment_is_lost_even_where_nothing_happened(
    started: Scene, db: Db
) -> None:
    async with db.statement() as tx:
        await tx.execute("UPDATE tenure.event_cursors SET cursor = 'event_of_another_key'")

    assert await polled(started, db) == Polled(lost=True)
    assert await cursor(db) is None
    user = await started.a_user()
    started.clock.tick(HELD_BACK)
    assert await polled(started, db) == Polled(kept=1, lost=True)
    assert await due(db) == {user}


async def test_a_refusal_that_has_another_reason_leaves_the_cursor_alone(
    started: Scene, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started.a_user()
    started.clock.tick(HELD_BACK)
    await polled(started, db)
    monkeypatch.setitem(workos_events.KINDS, "user.vanished", "user")

    with pytest.raises(Refused, match="Invalid name parameter"):
        await polled(started, db)

    assert await cursor(db) == started.world.event_ids[0]
    monkeypatch.undo()
    assert await polled(started, db) == NOTHING


async def test_a_cursor_that_nobody_moves_grows_old(scene: Scene, db: Db) -> None:
    async def age() -> timedelta | None:
        async with db.statement() as tx:
            return await poll.cursor_age(tx, scene.clock.now())

    assert await age() is None
    await polled(scene, db)
    assert await age() == timedelta(0)
    scene.clock.tick(timedelta(days=21))
    assert (await age() or timedelta(0)) > poll.ALARM_AGE
    await polled(scene, db)
    assert await age() == timedelta(0)  # nothing happened, and nothing is missing


async def test_a_membership_that_directory_sync_turned_off_is_marked(
    started: Scene, db: Db
) -> None:
    """What a directory does shows in the membership's own events."""
    org, user = await started.an_org(), await started.a_user()
    member = await started.a_member(org, user)
    await started.ask("PUT", f"{MEMBERSHIPS}/{member}/deactivate")
    started.clock.tick(HELD_BACK)
    await polled(started, db)

    kinds = [row["kind"] for row in await rows(db, f"{org}/{user}")]
    assert kinds == ["organization_membership.created", "organization_membership.updated"]
