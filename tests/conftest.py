"""A real Postgres for every test that asks for one."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from tenure.base.clock import StoppedClock
from tenure.base.db import Db, Tx, open_pool
from tenure.base.ids import CountedIds
from tenure.sandbox import postgres
from tenure.schema import apply, changes

TEMPLATE = "tenure_template"


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder for servers. pytest's own is closed to other users whenever a session starts."""
    with tempfile.TemporaryDirectory(prefix="tenure-test-") as made:
        yield Path(made)


@pytest.fixture(scope="session")
def admin(folder: Path) -> Iterator[str]:
    """The superuser's address: TEST_POSTGRES_URL, or a server of this session's own."""
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with postgres.running(folder / "postgres", durable=False) as server:
        yield server.url


@pytest.fixture(scope="session")
def template(admin: str) -> str:
    """A database that has every change; others are copied from it."""
    name = f"{TEMPLATE}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    url = recreate(admin, name, "template0")
    apply.apply(url, changes.load())
    return name


@pytest.fixture
def url(admin: str, template: str, request: pytest.FixtureRequest) -> str:
    """A fresh database, for tests that commit; its address is printed when the test fails."""
    name = f"tenure_test_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    address = recreate(admin, name, template)
    request.node.add_report_section("setup", "database", f"psql '{address}'")
    return address


@dataclass
class Frail:
    """A server of its own, for tests that turn it off and on again."""

    data: Path
    port: int
    server: postgres.Postgres | None = None

    def on(self) -> str:
        self.server = self.server or postgres.start(self.data, port=self.port, durable=False)
        return self.server.url

    def off(self) -> None:
        if self.server:
            self.server.stop()
        self.server = None


@pytest.fixture(scope="session")
def spare(folder: Path) -> Iterator[Frail]:
    frail = Frail(data=folder / "frail", port=postgres.free_port())
    yield frail
    frail.off()


@pytest.fixture
def frail(spare: Frail) -> Frail:
    """A second server that runs, and that the test may stop; its database is made by `recreate`."""
    spare.on()
    return spare


@pytest.fixture
async def db(url: str) -> AsyncIterator[Db]:
    async with open_pool(url, size=8) as pool:
        yield Db(pool)


@pytest.fixture
async def tx(admin: str, template: str) -> AsyncIterator[Tx]:
    """A transaction in the template that is always rolled back."""
    async with await Tx.connect(at(admin, template), row_factory=dict_row) as conn:
        yield conn
        await conn.rollback()


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
def ids() -> CountedIds:
    return CountedIds()


def recreate(admin: str, name: str, template: str) -> str:
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )
        conn.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    return at(admin, name)


def at(admin: str, name: str) -> str:
    """The same server and role, another database."""
    return psycopg.conninfo.make_conninfo(admin, dbname=name)
