"""Behind PgBouncer in transaction mode: everything works, with and without a direct address."""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx
import psycopg
import pytest
import structlog
from psycopg.conninfo import conninfo_to_dict

from tenure.base.db import Db, open_pool
from tenure.entry.world import is_pooled
from tenure.gate.cache import DEAF, FactsCache
from tenure.gate.watch import watching
from tenure.sandbox.postgres import free_port
from tests.billing.shop import Shop
from tests.entry.http.house import bearer
from tests.entry.worker.street import Street, event, in_thread, until

USER = "nobody"  # PgBouncer refuses to run as root


@pytest.fixture
def pooled(url: str) -> Iterator[str]:
    """The test's database, behind a pooler that lends a session for one transaction only."""
    binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if binary is None:
        pytest.fail("pgbouncer is not installed, and B7 cannot be shown: apt install pgbouncer")
    server, port = conninfo_to_dict(url), free_port()
    with tempfile.TemporaryDirectory(prefix="tenure-pooler-") as folder:
        settings, log = Path(folder) / "pgbouncer.ini", Path(folder) / "pgbouncer.log"
        settings.write_text(_settings(server, port))
        if as_root := os.geteuid() == 0:
            for path in (Path(folder), settings):
                shutil.chown(path, USER)
        with log.open("wb") as out, _running([binary, str(settings)], out, as_root=as_root) as it:
            address = f"host=127.0.0.1 port={port} user=any dbname={server['dbname']}"
            _wait(address, it, log)
            yield address


@contextmanager
def _running(
    command: list[str], out: BinaryIO, *, as_root: bool
) -> Iterator[subprocess.Popen[bytes]]:
    group = pwd.getpwnam(USER).pw_gid
    given = {"user": USER, "group": group, "extra_groups": []} if as_root else {}
    with subprocess.Popen(command, stdout=out, stderr=out, **given) as process:  # type: ignore[call-overload]  # noqa: S603 (our own command)
        try:
            yield process
        finally:
            process.kill()


def _settings(server: dict, port: int) -> str:
    names = [name for name in ("host", "port", "user", "password") if name in server]
    given = " ".join(f"{name}={server[name]}" for name in names)
    return f"""
[databases]
* = {given}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 6
max_client_conn = 200
server_lifetime = 5
"""


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        assert process.poll() is None, log.read_text()
        try:
            psycopg.connect(address, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
            continue
        return
    pytest.fail(log.read_text())


async def test_a_pooler_is_recognised(url: str, pooled: str) -> None:
    """B7: nobody has to say so."""
    assert await is_pooled(pooled)
    assert not await is_pooled(url)
    assert await is_pooled("host=127.0.0.1 port=9")  # nobody answers: be careful


async def test_behind_a_pooler_nobody_pretends_to_hear(pooled: str) -> None:
    """B7, M6: LISTEN succeeds there and nothing ever comes, so facts stay good for a second."""
    cache = FactsCache(max_age=DEAF * 30)
    with structlog.testing.capture_logs() as lines:
        async with watching(pooled, cache), open_pool(pooled, pooled=True) as pool:

            async def is_told() -> bool:
                async with Db(pool).statement() as tx:
                    await tx.execute("SELECT pg_notify('tenure_ears', 'of somebody else')")
                return any(line["event"] == "gate.watch.deaf" for line in lines)

            await until(is_told)
            assert cache._good_for == DEAF.total_seconds()  # noqa: SLF001 (there is no other sign)


@pytest.mark.parametrize("has_direct", [True, False], ids=["direct", "pooler only"])
async def test_everything_works_behind_a_transaction_pooler(
    *, street: Street, shop: Shop, url: str, pooled: str, has_direct: bool
) -> None:
    """B7: webhooks, the gate, customers and the worker; no statement stays prepared."""
    street.extra = {"DATABASE_URL": pooled} | ({"DATABASE_DIRECT_URL": url} if has_direct else {})
    await street.serve()
    street.start("work")
    session = street.scene.a_session()
    headers = bearer(
        street.scene.mint(session_id=session["id"], claims={"exp": int(time.time()) + 600})
    )
    async with httpx.AsyncClient(base_url=street.service, headers=headers, timeout=30) as client:
        assert (await client.get("/gate/check")).status_code == 402
        made = await client.post("/stripe/customer", json={"name": "Ada"})
        assert made.status_code == 201, made.text
        customer = made.json()["stripe_customer_id"]
        await _many(client)
        bought = await in_thread(shop.subscribe, customer)  # Stripe's webhooks bring it here
        await until(_says(client, 200), within=30)
        await in_thread(shop.merchant.v1.subscriptions.cancel, bought.id)
        await until(_says(client, 402), within=30)

    sent = await shop.rows("SELECT count(*) AS n FROM tenure.inbox WHERE subject_id = 'cus_nobody'")
    assert sent[0]["n"] == 100
    assert "repared" not in street.logs()
    assert ("gate.watch.deaf" in street.logs()) is not has_direct


async def _many(client: httpx.AsyncClient) -> None:
    """Use every statement often enough that a driver would prepare it, over many sessions."""
    for start in range(0, 100, 20):
        sending = []
        for number in range(start, start + 20):
            raw, signed = event(number)
            sending.append(client.post("/webhooks/stripe", content=raw, headers=signed))
        answers = await asyncio.gather(
            *sending,
            *(client.get("/orgs/current/audit") for _ in range(10)),
            *(client.post("/stripe/customer") for _ in range(10)),
        )
        assert {answer.status_code for answer in answers} == {200}


def _says(client: httpx.AsyncClient, status: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return (await client.get("/gate/check")).status_code == status

    return holds
