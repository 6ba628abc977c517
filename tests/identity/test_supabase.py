"""Supabase Auth as a source of users: looks at auth.users, and walks through it."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from psycopg.conninfo import make_conninfo

from tenure.base.clock import StoppedClock
from tenure.base.db import Db, open_pool
from tenure.base.ids import RandomIds
from tenure.identity import supabase
from tenure.identity.directory import Member
from tenure.identity.errors import BadEvent, NotOffered, ProviderAway, UsersHidden
from tenure.identity.model import Kind, SeenUser, Status
from tenure.identity.supabase import SupabaseDirectory, SupabaseReader
from tenure.identity.sync import Inbound
from tenure.identity.walk import Step, Walker
from tenure.journal import store as journal
from tenure.journal.model import Subject
from tenure.journal.reconcile import Pace, drain
from tenure.schema import supabase as overlay
from tests.identity.supabase_scene import ADA, BOB, CAT, Scene, a_scene
from tests.journal.builders import rows

SERVICE = "tenure_test_service"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PACE = Pace(pause=timedelta(0))
WHO = """
    SELECT i.external_id, u.email, u.name, u.blocked_until IS NOT NULL AS blocked,
           u.deleted_at IS NOT NULL AS deleted
      FROM tenure.identities i JOIN tenure.users u ON u.id = i.user_id
     WHERE i.provider = 'supabase' ORDER BY 1
    """


@pytest.fixture
def scene(url: str) -> Iterator[Scene]:
    with a_scene(url) as made:
        yield made


@pytest.fixture
async def db(scene: Scene) -> AsyncIterator[Db]:
    """As the service signs in: a member of two roles, and nothing more."""
    scene.conn.execute(f"DROP ROLE IF EXISTS {SERVICE}")  # type: ignore[call-overload]
    scene.conn.execute(
        f"CREATE ROLE {SERVICE} LOGIN PASSWORD 'x' IN ROLE tenure_app, tenure_worker"  # type: ignore[call-overload]
    )
    async with open_pool(make_conninfo(scene.url, user=SERVICE, password="x"), size=4) as pool:
        yield Db(pool)
    scene.conn.execute(f"DROP ROLE {SERVICE}")  # type: ignore[call-overload]


@pytest.fixture
def directory(db: Db, clock: StoppedClock) -> SupabaseDirectory:
    return SupabaseDirectory(db, clock)


class Ours:
    """Our side: its reconciler and its walker."""

    def __init__(self, directory: SupabaseDirectory, db: Db, clock: StoppedClock) -> None:
        self.directory, self.db, self.clock, self.ids = directory, db, clock, RandomIds()

    async def look(self, which: Kind = "user") -> int:
        inbound = Inbound(
            which=which,
            reader=self.directory,
            directory=self.directory,
            db=self.db,
            clock=self.clock,
            ids=self.ids,
        )
        return await drain(self.db, inbound, PACE, self.ids)

    async def walk(self) -> list[Step]:
        walker = Walker(directory=self.directory, db=self.db, clock=self.clock, ids=self.ids)
        return [step async for step in walker.walk()]

    async def differences(self) -> list[str]:
        return [d.reason for step in await self.walk() for d in step.differences]

    async def who(self) -> dict[str, tuple[object, ...]]:
        return {row.pop("external_id"): tuple(row.values()) for row in await rows(self.db, WHO)}


@pytest.fixture
def ours(directory: SupabaseDirectory, db: Db, clock: StoppedClock) -> Ours:
    return Ours(directory, db, clock)


async def test_who_signs_up_changes_and_goes_does_so_with_us(
    scene: Scene, ours: Ours, clock: StoppedClock
) -> None:
    """B1: mark, look, write; a ban is no deletion."""
    ada = scene.signs_up(ADA)
    assert await ours.look() == 1
    assert await ours.who() == {ada: ("ada@example.test", "Ada Lovelace", False, False)}

    scene.changes(ADA, email="king@example.test", banned_until=NOON + timedelta(days=1))
    await ours.look()
    assert await ours.who() == {ada: ("king@example.test", "Ada Lovelace", True, False)}

    clock.tick(timedelta(minutes=2))
    scene.goes(ADA)
    await ours.look()
    assert [user[3] for user in (await ours.who()).values()] == [True]


async def test_who_is_deleted_softly_is_gone(scene: Scene, ours: Ours) -> None:
    scene.signs_up(ADA)
    await ours.look()
    scene.changes(ADA, deleted_at="2026-03-01T12:00:00Z", email="unrecognisable")
    await ours.look()
    assert [user[3] for user in (await ours.who()).values()] == [True]


async def test_a_change_that_leaves_updated_at_alone_or_turns_it_back_is_followed(
    scene: Scene, ours: Ours
) -> None:
    """What auth.users says is the truth itself: nothing about it is older than what we know."""
    ada = scene.signs_up(ADA)
    await ours.look()
    scene.changes(ADA, email="one@example.test")
    await ours.look()
    assert (await ours.who())[ada][0] == "one@example.test"
    scene.changes(ADA, email="two@example.test", updated_at="2020-01-01T00:00:00Z")
    await ours.look()
    assert (await ours.who())[ada][0] == "two@example.test"
    assert await ours.differences() == []


async def test_a_ban_that_is_over_blocks_nobody(
    scene: Scene, directory: SupabaseDirectory, clock: StoppedClock
) -> None:
    ada = scene.signs_up(ADA, banned_until=clock.now() + timedelta(hours=1))
    seen = await directory.user(ada)
    assert seen is not None
    assert seen.blocked
    clock.tick(timedelta(hours=1))
    seen = await directory.user(ada)
    assert seen is not None
    assert not seen.blocked


async def test_a_walk_sees_the_end_of_a_ban_though_the_row_did_not_change(
    scene: Scene, ours: Ours, clock: StoppedClock
) -> None:
    ada = scene.signs_up(ADA, banned_until=clock.now() + timedelta(hours=1))
    await ours.look()
    assert (await ours.who())[ada][2] is True

    clock.tick(timedelta(hours=2))
    assert await ours.differences() == ["changed"]
    await ours.look()
    assert (await ours.who())[ada][2] is False
    assert await ours.differences() == []


async def test_a_walk_brings_in_who_was_there_before_us(url: str, clock: StoppedClock) -> None:
    """S8: the first filling, of users who never marked themselves."""
    with a_scene(url, installed=False) as scene:
        known = {scene.signs_up(who) for who in (ADA, BOB)}
        scene.signs_up(CAT, is_anonymous=True)
        overlay.install(url)
        async with open_pool(url, size=4) as pool:
            ours = Ours(SupabaseDirectory(Db(pool), clock), Db(pool), clock)
            assert await ours.differences() == ["unknown_here"] * 2
            assert set(await ours.who()) == known
            assert scene.marks() == {}, "who is unknown is written at once"


async def test_a_walk_finds_what_was_changed_while_nothing_marked(
    scene: Scene, ours: Ours, clock: StoppedClock
) -> None:
    """A disabled trigger, a lock, a restored backup: the sweep finds it."""
    for who in (ADA, BOB):
        scene.signs_up(who)
    await ours.look()
    clock.tick(timedelta(minutes=2))
    scene.conn.execute("ALTER TABLE auth.users DISABLE TRIGGER USER")
    scene.changes(ADA, email="new@example.test")  # and updated_at stays as it is
    scene.goes(BOB)
    scene.signs_up(CAT)

    assert sorted(await ours.differences()) == ["changed", "missing_there", "unknown_here"]
    await ours.look()
    who = await ours.who()
    assert who[str(ADA)][0] == "new@example.test"
    assert [user[3] for user in who.values()] == [False, True, False]
    assert await ours.differences() == []


async def test_a_walk_asks_for_nobody_who_only_signed_in(scene: Scene, ours: Ours) -> None:
    """`updated_at` moves at every sign-in; a walk that went by it would look at all of them."""
    scene.signs_up(ADA)
    await ours.look()
    later = "2026-03-02T00:00:00Z"
    scene.changes(ADA, last_sign_in_at=later, updated_at=later)
    assert await ours.differences() == []
    assert await ours.look() == 0


async def test_a_list_comes_in_pages_by_the_ids(
    scene: Scene, directory: SupabaseDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supabase, "PAGE", 2)
    everybody = [scene.signs_up(UUID(int=n), email=f"{n}@x.test") for n in range(1, 6)]
    listed: list[str] = []
    place: str | None = None
    for _ in range(3):
        page = await directory.users(place)
        listed += [user.id for user in page.items]
        place = page.next
    assert (listed, place) == (everybody, None)


async def test_a_page_of_many_is_read_along_the_index(scene: Scene, db: Db) -> None:
    """A million users: each page costs what is on it."""
    scene.conn.execute(
        """
        INSERT INTO auth.users (id, email, created_at, updated_at)
        SELECT md5(n::text)::uuid, n || '@example.test', now(), now()
          FROM generate_series(1, 20000) n;
        """
    )
    scene.conn.execute("ANALYZE auth.users")
    scene.conn.execute("SELECT pg_stat_reset()")
    async with db.statement() as tx:
        await tx.execute(
            "SELECT * FROM tenure_supabase.users_between(%s, %s, 500)",
            (UUID(int=0), UUID(int=2**128 - 1)),
        )
    async with db.statement() as tx:
        await tx.execute("SELECT pg_stat_force_next_flush()")
    read = scene.conn.execute(
        """
        SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS rows
          FROM pg_stat_user_tables WHERE relid = 'auth.users'::regclass
        """
    ).fetchone()
    assert read is not None
    assert read["rows"] <= 1000


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"raw_user_meta_data": {"full_name": " Ada ", "name": "x"}}, "Ada"),
        ({"raw_user_meta_data": {"full_name": "", "name": "Ada"}}, "Ada"),
        ({"raw_user_meta_data": {"name": "x" * 1000}}, "x" * 200),
        ({"raw_user_meta_data": {}}, None),
        ({"raw_user_meta_data": None}, None),
    ],
    ids=str,
)
async def test_the_name_is_what_she_wrote_of_herself(
    scene: Scene, directory: SupabaseDirectory, columns: dict[str, object], name: str | None
) -> None:
    seen = await directory.user(scene.signs_up(ADA, **columns))
    assert seen is not None
    assert seen.name == name


async def test_odd_rows_are_read_all_the_same(scene: Scene, directory: SupabaseDirectory) -> None:
    """A seed script leaves out dates; somebody bans for ever; no row may stop a walk."""
    ada = scene.signs_up(
        ADA, created_at=None, updated_at=None, banned_until="infinity", email=None, phone="1"
    )
    scene.signs_up(BOB, created_at="-infinity", updated_at="infinity")
    seen = await directory.user(ada)
    assert seen == SeenUser(
        id=ada,
        email=None,
        name="Ada Lovelace",
        blocked=True,
        version=datetime(1970, 1, 1, tzinfo=UTC),
        created_at=datetime(1970, 1, 1, tzinfo=UTC),
    )
    assert len((await directory.users(None)).items) == 2


@pytest.mark.parametrize("name", ["", "user_1", str(ADA).upper(), ADA.hex, f"{{{ADA}}}"])
async def test_what_is_no_id_of_supabases_names_nobody(
    scene: Scene, directory: SupabaseDirectory, name: str
) -> None:
    """supabase#29609: an id of Clerk's is not a uuid, and must not be an error here."""
    scene.signs_up(ADA)
    assert await directory.user(name) is None


async def test_users_who_cannot_be_read_are_not_taken_for_deleted(
    scene: Scene, ours: Ours, db: Db
) -> None:
    """Row-level security without a policy answers with no rows: that would be everybody's end."""
    scene.signs_up(ADA)
    await ours.look()
    scene.conn.execute("ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY")
    scene.conn.execute(
        "ALTER FUNCTION tenure_supabase.users_between OWNER TO tenure_worker;"
        "GRANT USAGE ON SCHEMA auth TO tenure_worker; GRANT SELECT ON auth.users TO tenure_worker"
    )
    with pytest.raises(UsersHidden, match="row-level security"):
        await ours.walk()
    async with db.transaction() as tx:
        await journal.mark(tx, [Subject("supabase.user", str(ADA))])
    await ours.look()
    assert [user[3] for user in (await ours.who()).values()] == [False]
    (subject,) = await rows(db, "SELECT last_error FROM tenure.subjects")
    assert subject["last_error"].startswith("identity.users_hidden")


async def test_without_what_is_installed_the_look_says_what_to_do(
    scene: Scene, directory: SupabaseDirectory
) -> None:
    overlay.remove(scene.url)
    with pytest.raises(UsersHidden) as raised:
        await directory.user(str(ADA))
    assert "tenure db supabase --install" in raised.value.hint


async def test_a_database_that_is_away_puts_the_walk_off(clock: StoppedClock) -> None:
    nowhere = "host=127.0.0.1 port=1 dbname=none user=none"
    async with open_pool(nowhere, size=1, timeout=0.2) as pool:
        assert await supabase.holds_users(Db(pool)), "it may well be there"
        with pytest.raises(ProviderAway):
            await SupabaseDirectory(Db(pool), clock).users(None)


async def test_a_database_without_auth_users_holds_none(url: str) -> None:
    async with open_pool(url, size=1) as pool:
        assert not await supabase.holds_users(Db(pool))
    with a_scene(url, installed=False):
        async with open_pool(url, size=1) as pool:
            assert await supabase.holds_users(Db(pool))


async def test_there_are_no_organizations_and_nothing_to_change_in_them(
    ours: Ours, directory: SupabaseDirectory, db: Db
) -> None:
    member = Member(id=None, org_id="o", user_id=str(ADA))
    for wish in (
        directory.set_status(member, Status.INACTIVE),
        directory.set_role(member, "admin"),
        directory.remove(member),
        directory.invite("o", email="x@example.test", role="admin", inviter=None),
    ):
        with pytest.raises(NotOffered):
            await wish
    assert await directory.invitations("o") == ()
    assert await directory.organization("o") is None
    assert await directory.membership("o", "u", known=None) is None
    assert directory.lists_everywhere
    assert [step.phase for step in await ours.walk()] == ["users", "organizations", "memberships"]
    async with db.transaction() as tx:
        await journal.mark(tx, [Subject("supabase.membership", f"o/{ADA}")])
    await ours.look("membership")
    assert await rows(db, "SELECT id FROM tenure.memberships") == []


def test_no_event_is_believed() -> None:
    """pg_net#110: a database webhook is unsigned and sent once, so nothing here reads one."""
    reader = SupabaseReader()
    with pytest.raises(BadEvent):
        reader.knock_of(b'{"type":"INSERT","table":"users","schema":"auth"}')
    assert reader.told("evt_1", "INSERT", b"{}") is None
