"""A WorkOS sandbox over real HTTP, brokers that stand for processes, and one clock for all."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from cryptography.fernet import Fernet

from tenure.base.clock import Clock, StoppedClock
from tenure.base.db import Db
from tenure.base.ids import RandomIds
from tenure.identity.issuers import workos
from tenure.identity.refresh import Broker
from tenure.identity.rotation import Session
from tenure.identity.sealed import Sealer
from tenure.identity.session import Verifier
from tenure.identity.session_rows import get_session
from tenure.identity.vault import key_of
from tenure.identity.workos_tokens import AUTHENTICATE, Door
from tenure.sandbox.workos.app import Running, running_workos

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
ASKED = f"POST {AUTHENTICATE}"
SHIFT = """
    UPDATE tenure.sessions
       SET rotated_at = rotated_at - %(by)s, sent_at = sent_at - %(by)s,
           lease_until = lease_until - %(by)s, retry_at = retry_at - %(by)s,
           ended_at = ended_at - %(by)s
    """


async def at_once() -> None:
    """Take a call's turn without waiting."""


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """WorkOS, and what can be done to it."""

    workos: Running
    clock: Clock
    api: httpx.Client

    def ask(self, method: str, path: str, **body: Any) -> Any:
        answer = self.api.request(method, path, json=body or None)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def a_user(self) -> str:
        name = RandomIds().token("ada", 8)
        return self.ask("POST", "/user_management/users", email=f"{name}@example.com")["id"]

    def an_org(self, *members: str) -> str:
        org = self.ask("POST", "/organizations", name="Analytical Engines")["id"]
        for user in members:
            path = "/user_management/organization_memberships"
            self.ask("POST", path, organization_id=org, user_id=user)
        return org

    def a_code(self, user: str | None = None, org: str | None = None) -> str:
        given = {"user_id": user or self.a_user(), "organization_id": org}
        return self.ask("POST", "/_sandbox/codes", **given)["code"]

    def fail(self, name: str, count: int = 1, match: str = ASKED, **fault: Any) -> None:
        self.ask("POST", "/_sandbox/faults", name=name, count=count, match=match, **fault)

    def heal(self) -> None:
        self.ask("DELETE", "/_sandbox/faults")

    def behave(self, **policy: Any) -> None:
        self.ask("PATCH", "/_sandbox/policy", **policy)

    def tokens(self, session_id: str) -> int:
        """Count the refresh tokens that a session was ever given: one, and one for each turn."""
        kept = list(self.workos.world.state.refresh_tokens.values())
        return sum(one["session_id"] == session_id for one in kept)

    def asked(self) -> int:
        return self.ask("GET", "/_sandbox/requests")["by_path"].get(ASKED, 0)

    def door(self, **other: Any) -> Door:
        ours = {
            "api_base": self.workos.url,
            "client_id": self.workos.client_id,
            "api_key": self.workos.api_key,
            "spend": at_once,
        }
        return Door(**(ours | other))


@contextmanager
def a_cloud(clock: Clock | None = None) -> Iterator[Cloud]:
    clock = clock or StoppedClock(START)
    with running_workos(clock=clock) as running:
        headers = {"authorization": f"Bearer {running.api_key}"}
        with httpx.Client(base_url=running.url, headers=headers, timeout=30) as api:
            yield Cloud(workos=running, clock=clock, api=api)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A database, and processes that share it."""

    cloud: Cloud
    db: Db
    http: httpx.AsyncClient
    keys: tuple[str, ...] = field(default_factory=lambda: (Fernet.generate_key().decode(),))

    def a_broker(
        self,
        db: Db | None = None,
        *,
        keys: tuple[str, ...] = (),
        **door: Any,
    ) -> Broker:
        """Open what another process would be."""
        given = workos(self.cloud.workos.client_id, api_base=self.cloud.workos.url)
        return Broker(
            db or self.db,
            self.cloud.door(**door),
            Sealer(keys or self.keys),
            verifier=Verifier([given], clock=self.cloud.clock, http=self.http),
            clock=self.cloud.clock,
            ids=RandomIds(),
        )

    async def row(self, handle: str) -> Session:
        async with self.db.statement() as tx:
            found = await get_session(tx, key_of(handle))
        assert found is not None
        return found

    async def raw(self, handle: str) -> dict[str, Any]:
        async with self.db.statement() as tx:
            cur = await tx.execute(
                "SELECT * FROM tenure.sessions WHERE handle_hash = %s", (key_of(handle),)
            )
            row = await cur.fetchone()
        assert row is not None
        return row

    async def pass_(self, seconds: float) -> None:
        """Let time go by, for everybody."""
        by = timedelta(seconds=seconds)
        if isinstance(self.cloud.clock, StoppedClock):
            self.cloud.clock.tick(by)
        async with self.db.statement() as tx:
            await tx.execute(SHIFT, {"by": by})

    async def turns(self, handle: str) -> int:
        """Count how often the provider has rotated a session."""
        session_id = (await self.row(handle)).external_id
        assert session_id is not None
        return self.cloud.tokens(session_id) - 1


@asynccontextmanager
async def a_scene(db: Db, cloud: Cloud) -> AsyncIterator[Scene]:
    async with httpx.AsyncClient() as http:
        yield Scene(cloud=cloud, db=db, http=http)
    cloud.heal()


@asynccontextmanager
async def scripted(*answers: tuple[int, bytes]) -> AsyncIterator[str]:
    """Serve prepared answers, one for each request, for what the sandbox never says."""
    left = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        status, body = left.pop(0)
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
