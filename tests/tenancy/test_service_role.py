"""The role that a service signs in with: no superuser, a member of tenure_app and tenure_worker."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from tenure.base.budget import Budget
from tenure.base.clock import StoppedClock
from tenure.base.db import Db, Scope, open_pool
from tenure.base.ids import RandomIds
from tenure.base.lease import Leases
from tenure.identity import decisions, graves
from tenure.identity.arrive import arrive
from tenure.identity.errors import LastAdmin
from tenure.identity.seats import SeatDesk
from tenure.journal import audit, news, reconcile, relay, store
from tenure.journal.inbox import Inbox
from tenure.journal.retain import retain
from tests.identity.mirror import a_clerk
from tests.identity.test_arrive import a_principal
from tests.journal.builders import Looker, a_knock, a_pace, a_subject, rows
from tests.journal.test_audit import an_entry

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
A = UUID(int=0xA)
SERVICE = "tenure_test_service"


@pytest.fixture
def service_url(url: str) -> Iterator[str]:
    name, password = sql.Identifier(SERVICE), RandomIds().token("pw_")
    grant = "CREATE ROLE {} LOGIN PASSWORD {} IN ROLE tenure_app, tenure_worker"
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(name))
        conn.execute(sql.SQL(grant).format(name, sql.Literal(password)))
    yield psycopg.conninfo.make_conninfo(url, user=SERVICE, password=password)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP OWNED BY {}").format(name))
        conn.execute(sql.SQL("DROP ROLE {}").format(name))


@pytest.fixture
async def service(service_url: str, url: str) -> AsyncIterator[Db]:
    with psycopg.connect(url) as conn:
        conn.execute("CREATE TABLE written (id text, fence bigint, seen int)")
        conn.execute("GRANT ALL ON written TO tenure_worker")
    async with open_pool(service_url, size=4) as pool:
        yield Db(pool)


async def test_the_service_role_can_do_all_that_the_service_does(
    service: Db, clock: StoppedClock
) -> None:
    """A10, M8: least privilege is enough: no superuser, no owner."""
    async with Inbox(service) as box:
        await box.keep(a_knock(1))
        await box.keep(a_knock(2, subject=None, note="unknown"))
    assert await reconcile.drain(service, Looker(), a_pace(), RandomIds()) == 1
    async with service.transaction() as tx:
        await audit.append(tx, an_entry())
        await news.append(tx, "changed", org_id=A)
        assert await audit.broken_links(tx) == []
        await store.wake_due(tx)
        assert await store.list_backlog(tx) == []
    assert await relay.relay(service, {"changed": lambda _: [a_subject(3)]}) == 1
    await retain(service, inbox_kept=timedelta(0), news_kept=timedelta(0))
    await Budget(name="x", every=timedelta(0), burst=1).spend(service)
    async with Leases(db=service, ids=RandomIds()).held("x"):
        pass

    scope = await arrive(service, clock, RandomIds(), a_principal())

    assert scope.role == "admin"
    seen = await rows(service, "SELECT count(*) AS n FROM tenure.memberships")
    assert seen == [{"n": 1}]


async def test_the_service_role_can_keep_users_organizations_and_members(service: Db) -> None:
    """A10, M8: looks, events, walks, wishes, seats: all of it without a superuser."""
    async with a_clerk(service) as clerk:
        pairs = [await clerk.a_member(name, role="admin") for name in ("ada", "bob")]
        await clerk.follow()
        await clerk.room.ask("DELETE", f"/v1/users/{pairs[0].partition('/')[2]}")
        session = (await clerk.room.post("/v1/sessions", user_id=pairs[1].partition("/")[2]))["id"]
        await clerk.room.post(f"/v1/sessions/{session}/revoke")
        await clerk.follow()
        clerk.tick()
        await clerk.walk()
        (member,) = await rows(
            service, "SELECT org_id, user_id FROM tenure.memberships WHERE removed_at IS NULL"
        )
        desk = SeatDesk(db=service, clock=clerk.clock, ids=clerk.ids)
        await desk.fix(member["org_id"], 0, actor="ops:x")
        scope = Scope(org_id=member["org_id"], user_id=None)
        with pytest.raises(LastAdmin):
            await clerk.wishes.remove(scope, member["user_id"], actor="ops:x")
        await clerk.work()
        await clerk.check()
        async with service.statement() as tx:
            await decisions.drop_old(tx, kept=timedelta(days=1), limit=10)
            await graves.drop_ended_sessions(tx, kept=timedelta(days=1), limit=10)


async def test_a_scoped_request_may_write_its_audit_line_and_its_news(service: Db) -> None:
    """A4, A10: what a handler writes in its scope."""
    async with service.scoped(Scope(org_id=A, user_id=None)) as tx:
        await audit.append(tx, an_entry())
        await news.append(tx, "changed", org_id=A)
        await store.mark(tx, [a_subject()])

    assert await relay.relay(service, {}) == 1


async def test_a_scoped_request_is_no_worker_though_its_login_is_one(service: Db) -> None:
    """A10: inside a scope the login's other rights are gone."""
    async with service.transaction() as tx:
        await audit.append(tx, an_entry(org_id=UUID(int=0xB)))
    async with service.scoped(Scope(org_id=A, user_id=None)) as tx:
        assert await (await tx.execute("SELECT FROM tenure.audit_log")).fetchall() == []


@pytest.mark.parametrize(
    "act",
    [
        "CREATE TABLE tenure.mine (n int)",
        "ALTER TABLE tenure.users DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE tenure.audit_log DISABLE TRIGGER audit_refuse",
        "DROP TABLE tenure.audit_log",
        "DELETE FROM tenure.audit_log",
        "SET ROLE tenure_owner",
    ],
)
def test_the_service_role_cannot_change_the_schema_or_the_log(service_url: str, act: str) -> None:
    """M8: least privilege is also no more than enough."""
    with (
        psycopg.connect(service_url) as conn,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        conn.execute(act)  # type: ignore[arg-type]
