"""Deleting a user: what is taken away, what stays, and what is in the way."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, LiteralString, get_args

import httpx
import pytest

from tenure.base import http
from tenure.base.clock import StoppedClock
from tenure.base.db import Db
from tenure.base.ids import CountedIds
from tenure.identity.act import Deletion, Policy
from tenure.identity.clerk import ClerkDirectory
from tenure.identity.directory import Directory
from tenure.identity.errors import ProviderTrouble, UnknownUser
from tenure.identity.leave import CannotLeave, Leave
from tenure.identity.model import UserId
from tenure.identity.sync import Inbound
from tenure.journal import store as journal
from tenure.journal.model import Subject
from tenure.journal.reconcile import Pace, drain
from tests.sandbox.clerk.inside import Room, a_room

from . import workos_scene
from .builders import Registry, a_membership, a_user, rows

APP: LiteralString = """
    CREATE SCHEMA app;
    CREATE TABLE app.notes (id bigint PRIMARY KEY,
                            owner uuid REFERENCES tenure.users ON DELETE CASCADE);
    CREATE TABLE app.posts (id bigint, author uuid REFERENCES tenure.users ON DELETE SET NULL);
    CREATE TABLE app.tickets (id bigint, opened_by uuid REFERENCES tenure.users);
    """


@dataclass(frozen=True, kw_only=True)
class Desk:
    registry: Registry
    user_id: UserId

    @property
    def db(self) -> Db:
        return self.registry.db

    def leave(self, policy: Deletion = "anonymise", **directories: Directory) -> Leave:
        return Leave(
            db=self.db,
            clock=self.registry.clock,
            ids=self.registry.ids,
            directories=directories,
            policy=Policy(deletion=policy),
        )

    async def run(self, statements: LiteralString, *params: object) -> None:
        async with self.db.transaction() as tx:
            await tx.execute(statements, params or None)

    async def count(self, query: LiteralString, *params: object) -> int:
        return (await rows(self.db, query, *params))[0]["n"]

    async def person(self) -> dict[str, Any]:
        return (await rows(self.db, "SELECT * FROM tenure.users WHERE id = %s", self.user_id))[0]

    async def fill_app(self) -> None:
        await self.run(APP)
        for number in (1, 2):
            await self.run("INSERT INTO app.notes VALUES (%s, %s)", number, self.user_id)
            await self.run("INSERT INTO app.posts VALUES (%s, %s)", number, self.user_id)
        await self.run("INSERT INTO app.tickets VALUES (1, %s)", self.user_id)


@pytest.fixture
async def desk(db: Db) -> Desk:
    registry = Registry(db=db)
    await registry.put_user(a_user())
    await registry.put(a_membership(role="admin"))
    user_id = await registry.user_id()
    assert user_id is not None
    return Desk(registry=registry, user_id=user_id)


async def test_what_names_her_is_taken_away_and_what_was_done_stays(desk: Desk) -> None:
    """M10: anonymise, the default."""
    await desk.leave().leave(desk.user_id, actor="test")

    person = await desk.person()
    assert (person["email"], person["name"]) == (None, None)
    assert person["deleted_at"] == person["valid_after"] == desk.registry.clock.now()
    member = await desk.registry.member()
    assert member is not None
    assert member.told_status == "removed"
    assert (await desk.registry.seats()).used == 0
    assert (await desk.registry.history())[-1].cause == "user_deleted"
    lines = await rows(desk.db, "SELECT action, actor FROM tenure.audit_log ORDER BY at, seq")
    assert {"action": "user.deleted", "actor": "test"} in lines
    await desk.registry.check()


async def test_keep_keeps_name_and_address(desk: Desk) -> None:
    """M10: keep."""
    await desk.leave("keep").leave(desk.user_id, actor="test")

    person = await desk.person()
    assert (person["email"], person["name"]) == ("1@example.test", "Person 1")
    assert person["deleted_at"]


@pytest.mark.parametrize("policy", get_args(Deletion))
async def test_nothing_late_brings_her_back(desk: Desk, policy: Deletion) -> None:
    """M10, pain 5: neither a late event nor a provider that still shows her, nor a token."""
    await desk.leave(policy).leave(desk.user_id, actor="test")
    late = desk.registry.clock
    assert isinstance(late, StoppedClock)
    late.tick(timedelta(days=2))

    assert await desk.registry.put_user(a_user(version=late.now())) == "deleted_for_good"
    seen = a_membership(gen=2, version=late.now())
    assert await desk.registry.put(seen) == ["user_deleted"]
    assert await desk.registry.admit() is None
    assert (await desk.person())["deleted_at"]


async def test_she_is_deleted_whatever_provider_knows_her(desk: Desk) -> None:
    """One person under two providers' names ends under both, with all her memberships."""
    await desk.run(
        """
        INSERT INTO tenure.identities (provider, external_id, user_id, created_at)
        VALUES ('workos', 'user_w', %s, now())
        """,
        desk.user_id,
    )
    await desk.run("UPDATE tenure.memberships SET provider = 'workos', external_id = 'om_1'")

    await desk.leave().leave(desk.user_id, actor="test")

    graves = await rows(
        desk.db, "SELECT provider, proof FROM tenure.tombstones WHERE kind = 'user' ORDER BY 1"
    )
    assert [(g["provider"], g["proof"]) for g in graves] == [
        ("clerk", "event"),
        ("workos", "event"),
    ]
    assert await desk.count("SELECT count(*) AS n FROM tenure.memberships WHERE holds_seat") == 0


async def test_sessions_that_we_keep_for_her_go(desk: Desk) -> None:
    await desk.run(
        """
        INSERT INTO tenure.sessions (handle_hash, provider, user_external_id, access_token,
                                     refresh_token, refresh_hash, expires_at)
        VALUES (sha256('a'), 'workos', 'user_w', 'x', 'x', sha256('b'), now())
        """
    )
    await desk.run(
        "UPDATE tenure.identities SET provider = 'workos', external_id = 'user_w'"
        " WHERE user_id IS NOT NULL"
    )

    await desk.leave().leave(desk.user_id, actor="test")

    assert await desk.count("SELECT count(*) AS n FROM tenure.sessions") == 0


async def test_without_cascade_no_row_of_the_app_is_touched(desk: Desk) -> None:
    """M10: supabase#1948: nothing blocks, as the row that everything points at stays."""
    await desk.fill_app()

    plan = await desk.leave().leave(desk.user_id, actor="test")

    assert plan.in_the_way == ()
    assert await desk.count("SELECT count(owner) AS n FROM app.notes") == 2
    assert await desk.count("SELECT count(author) AS n FROM app.posts") == 2
    assert await desk.count("SELECT count(opened_by) AS n FROM app.tickets") == 1


async def test_cascade_does_what_the_app_s_keys_say(desk: Desk) -> None:
    """M10: cascade deletes what is hers alone and empties authorship; what is held stays."""
    await desk.fill_app()

    plan = await desk.leave("cascade").leave(desk.user_id, actor="test")

    fates = {str(b.key.table): b.fate for b in plan.behind if b.key.table.schema == "app"}
    assert fates["app.notes"] == "deleted"
    assert fates["app.posts"] == "emptied"
    assert fates["app.tickets"].startswith("stays")
    assert await desk.count("SELECT count(*) AS n FROM app.notes") == 0
    assert await desk.count("SELECT count(*) AS n FROM app.posts WHERE author IS NULL") == 2
    assert await desk.count("SELECT count(*) AS n FROM app.tickets") == 1
    told = await rows(desk.db, "SELECT details FROM tenure.audit_log WHERE action = 'user.deleted'")
    assert told[0]["details"]["rows"] == {
        "app.notes(owner) → tenure.users": 2,
        "app.posts(author) → tenure.users": 2,
    }


async def test_names_that_look_like_parameters_are_names(desk: Desk) -> None:
    """A table or a column may be called anything."""
    await desk.run(
        """
        CREATE SCHEMA app;
        CREATE TABLE app."100%" (id int, "owner %s" uuid REFERENCES tenure.users ON DELETE CASCADE);
        CREATE TABLE app.posts ("by %(x)s" uuid REFERENCES tenure.users ON DELETE SET NULL);
        INSERT INTO app."100%" SELECT 1, id FROM tenure.users;
        INSERT INTO app.posts SELECT id FROM tenure.users;
        """
    )

    plan = await desk.leave("cascade").leave(desk.user_id, actor="test")

    assert {b.fate for b in plan.behind if b.key.table.schema == "app"} == {"deleted", "emptied"}
    found = await rows(
        desk.db,
        'SELECT (SELECT count(*) FROM app."100%%") AS notes, count("by %%(x)s") AS written'
        " FROM app.posts WHERE %s",
        True,  # noqa: FBT003 (so that the names are read as psycopg reads those of a statement)
    )
    assert found == [{"notes": 0, "written": 0}]


async def test_the_command_is_written_down_as_what_deleted_her(desk: Desk) -> None:
    """A tombstone alone would look as if a signed event had come."""
    await desk.leave().leave(desk.user_id, actor="test")

    (line,) = await rows(desk.db, "SELECT * FROM tenure.decisions WHERE seq IS NULL")
    assert (line["subject_kind"], line["subject_id"]) == ("clerk.user", "user_1")
    assert (line["verdict"], line["details"]) == ("applied", {"actor": "test"})


@pytest.mark.parametrize(
    "more",
    [
        "CREATE TABLE app.invoices (note bigint REFERENCES app.notes ON DELETE CASCADE)",
        "CREATE TABLE app.pins (note bigint REFERENCES app.notes ON DELETE RESTRICT)",
        "CREATE TABLE app.marks (note bigint REFERENCES app.notes)",
    ],
)
async def test_a_cascade_that_would_take_bills_or_fail_is_refused_by_name(
    desk: Desk, more: LiteralString
) -> None:
    """M10: never billing or audit rows; and what the database would refuse is said before."""
    await desk.fill_app()
    await desk.run(more)
    table = more.split()[2]
    await desk.run(
        {
            "app.invoices": "INSERT INTO app.invoices VALUES (1)",
            "app.pins": "INSERT INTO app.pins VALUES (1)",
            "app.marks": "INSERT INTO app.marks VALUES (1)",
        }[table]
    )

    plan = await desk.leave("cascade").plan(desk.user_id)
    with pytest.raises(CannotLeave, match=table):
        await desk.leave("cascade").leave(desk.user_id, actor="test")

    assert [str(one.key.table) for one in plan.in_the_way] == [table]
    assert (await desk.person())["deleted_at"] is None
    assert await desk.count("SELECT count(*) AS n FROM app.notes") == 2


async def test_the_plan_changes_nothing(desk: Desk) -> None:
    """M10: --dry-run."""
    await desk.fill_app()
    tables: LiteralString = """
        SELECT (SELECT count(*) FROM tenure.audit_log) + (SELECT count(*) FROM tenure.tombstones)
               + (SELECT count(*) FROM app.notes) AS n
        """
    before = await desk.count(tables)

    plan = await desk.leave("cascade").plan(desk.user_id)

    assert (plan.memberships, plan.orphaned[0].split()[0]) == (1, "Org")
    assert {one.table for one in plan.remaining} >= {
        "tenure.audit_log",
        "tenure.inbox",
        "tenure.subscriptions",
        "tenure.news",
    }
    assert await desk.count(tables) == before
    assert (await desk.person())["email"]


async def test_her_bills_stay_and_the_plan_says_why(desk: Desk) -> None:
    await desk.run(
        """
        INSERT INTO tenure.stripe_customers (user_id, stripe_customer_id, livemode, customer_email)
        VALUES (%s, 'cus_1', false, '1@example.test')
        """,
        desk.user_id,
    )

    plan = await desk.leave("cascade").leave(desk.user_id, actor="test")

    (bills,) = [b for b in plan.behind if b.key.table.name == "stripe_customers"]
    assert bills.rows == 1
    assert "Stripe" in bills.fate
    assert await desk.count("SELECT count(*) AS n FROM tenure.stripe_customers") == 1


async def test_nobody_cannot_be_deleted(desk: Desk) -> None:
    with pytest.raises(UnknownUser):
        await desk.leave().plan(UserId(CountedIds(9).uuid()))


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with a_room() as room:
        yield room


@pytest.fixture
async def clerk(room: Room) -> AsyncIterator[ClerkDirectory]:
    async def at_once() -> None:
        """Take a call's turn without waiting."""

    async with httpx.AsyncClient(transport=room.clerk.transport) as client:
        yield ClerkDirectory(
            room.clerk.secret_key,
            livemode=False,
            api_base=room.clerk.url,
            http=client,
            spend=at_once,
        )


async def at_clerk(desk: Desk, room: Room, clerk: ClerkDirectory) -> tuple[UserId, str]:
    """Sign somebody up at Clerk, and look at her."""
    name = await room.a_user(email_address=["ada@example.com"])
    async with desk.db.transaction() as tx:
        await journal.mark(tx, [Subject("clerk.user", name)])
    await look(desk, clerk)
    (row,) = await rows(
        desk.db, "SELECT user_id FROM tenure.identities WHERE external_id = %s", name
    )
    return UserId(row["user_id"]), name


async def look(desk: Desk, clerk: ClerkDirectory) -> None:
    user = Inbound(
        which="user",
        reader=clerk,
        directory=clerk,
        db=desk.db,
        clock=desk.registry.clock,
        ids=desk.registry.ids,
    )
    await drain(desk.db, user, Pace(pause=timedelta(milliseconds=1)), desk.registry.ids)


async def test_the_provider_is_told_first(desk: Desk, room: Room, clerk: ClerkDirectory) -> None:
    """M10: she is gone at Clerk, here, and for the event that Clerk then sends."""
    user_id, name = await at_clerk(desk, room, clerk)

    plan = await desk.leave(clerk=clerk).leave(user_id, actor="test")

    assert plan.there == {"clerk": f"{name} is deleted there"}
    assert await clerk.user(name) is None
    async with desk.db.transaction() as tx:
        await journal.mark(tx, [Subject("clerk.user", name)])
    await look(desk, clerk)
    (row,) = await rows(desk.db, "SELECT * FROM tenure.users WHERE id = %s", user_id)
    assert (row["deleted_at"], row["email"]) == (desk.registry.clock.now(), None)


async def test_a_provider_that_is_away_leaves_everything_as_it_is(
    desk: Desk, room: Room, clerk: ClerkDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "FIRST_WAIT", 0.001)
    user_id, _ = await at_clerk(desk, room, clerk)
    await room.post("/_sandbox/faults", name="500", match="/v1/users", count=100)

    with pytest.raises(ProviderTrouble):
        await desk.leave(clerk=clerk).leave(user_id, actor="test")

    (row,) = await rows(desk.db, "SELECT * FROM tenure.users WHERE id = %s", user_id)
    assert (row["deleted_at"], row["email"]) == (None, "ada@example.com")


async def test_workos_is_told_first_too(desk: Desk) -> None:
    clock = desk.registry.clock
    assert isinstance(clock, StoppedClock)
    async with workos_scene.a_scene(clock) as scene:
        name = await scene.a_user()
        registry = replace(desk.registry, provider="workos")
        await registry.put_user(a_user(id=name))
        (row,) = await rows(
            desk.db, "SELECT user_id FROM tenure.identities WHERE external_id = %s", name
        )

        await desk.leave(workos=scene.directory).leave(UserId(row["user_id"]), actor="test")

        assert await scene.directory.user(name) is None
        await scene.directory.delete_user(name)  # who is not there any more is fine


async def test_without_a_key_somebody_is_told_to_delete_her_there(desk: Desk) -> None:
    plan = await desk.leave().plan(desk.user_id)

    assert plan.there["clerk"].startswith("delete user_1 there yourself")
