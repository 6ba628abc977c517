"""A Clerk sandbox over real HTTP, a verifier that trusts it, and one clock for both."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from tenure.base.clock import StoppedClock
from tenure.identity.issuers import clerk
from tenure.identity.session import Verifier
from tenure.sandbox.clerk import signing, tokens
from tenure.sandbox.clerk.app import Running, running_clerk

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
JWKS = "GET /.well-known/jwks.json"


@dataclass(frozen=True, kw_only=True)
class Scene:
    clerk: Running
    clock: StoppedClock
    api: httpx.Client  # with the secret key

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.api.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def mint(self, **asked: Any) -> str:
        return self.post("/_sandbox/tokens", **asked)["jwt"]

    def sign(self, number: int = 0, **header: Any) -> str:
        """Make a good token without the network; each `number` gives another user."""
        nobody = {
            "id": "sess_1",
            "user_id": f"user_{number}",
            "actor": None,
            "status": "active",
            "last_active_organization_id": None,
        }
        world = self.clerk.world
        claims = tokens.session_claims(world, nobody)
        return signing.sign(claims, world.state.keys[0], headers=header)

    def a_session(self, **given: Any) -> dict[str, Any]:
        """Sign somebody up, with an organization of her own."""
        user = self.post("/v1/users", first_name="Ada")
        org = self.post("/v1/organizations", name="Analytical Engines", created_by=user["id"])
        return self.post("/v1/sessions", user_id=user["id"], organization_id=org["id"], **given) | {
            "org": org
        }

    def fetches(self) -> int:
        return self.api.get("/_sandbox/requests").json()["by_path"].get(JWKS, 0)

    def fail(self, name: str = "500", **fault: Any) -> None:
        answer = self.api.post("/_sandbox/faults", json={"name": name, "count": 10_000, **fault})
        assert answer.status_code == 200, answer.text

    def heal(self) -> None:
        self.api.delete("/_sandbox/faults")

    @asynccontextmanager
    async def verifier(self, **terms: Any) -> AsyncIterator[Verifier]:
        terms = {"authorized_parties": [self.clerk.origin]} | terms
        issuer = clerk(self.clerk.url, **terms)
        async with (
            httpx.AsyncClient() as http,
            Verifier([issuer], clock=self.clock, http=http) as verifier,
        ):
            yield verifier


@contextmanager
def a_scene() -> Iterator[Scene]:
    clock = StoppedClock(START)
    with running_clerk(clock=clock) as running:
        headers = {"authorization": f"Bearer {running.secret_key}"}
        with httpx.Client(base_url=running.url, headers=headers) as api:
            yield Scene(clerk=running, clock=clock, api=api)
