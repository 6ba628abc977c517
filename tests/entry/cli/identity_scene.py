"""A Clerk over real HTTP, a database, and commands that know both."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import httpx
import psycopg
import structlog
from psycopg.rows import DictRow, dict_row

from tenure.sandbox.clerk.app import running_clerk
from tests.entry.cli.conftest import Run, Said


@dataclass(frozen=True, kw_only=True)
class Scene:
    run: Run
    api: httpx.Client  # Clerk's, with the secret key
    url: str
    environ: dict[str, str]

    def tenure(self, *args: str, **more: str) -> Said:
        return self.run(*args, **{**self.environ, **more})

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.api.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def a_user(self, name: str = "ada") -> str:
        return self.post("/v1/users", first_name=name, email_address=[f"{name}@example.com"])["id"]

    def an_org(self, by: str, name: str = "Engines") -> str:
        return self.post("/v1/organizations", name=name, created_by=by)["id"]

    def join(self, org: str, user: str, role: str = "org:member") -> str:
        path = f"/v1/organizations/{org}/memberships"
        return self.post(path, user_id=user, role=role)["id"]

    def sql(self, statement: LiteralString, *params: object) -> list[DictRow]:
        with psycopg.connect(self.url, row_factory=dict_row) as conn:
            cur = conn.execute(statement, params or None)
            return cur.fetchall() if cur.description else []


@contextmanager
def a_scene(run: Run, url: str) -> Iterator[Scene]:
    """A Clerk of its own; afterwards logs go where they went before."""
    with running_clerk() as clerk:
        environ = {
            "DATABASE_URL": url,
            "CLERK_SECRET_KEY": clerk.secret_key,
            "CLERK_API_BASE": clerk.url,
            "TENURE_CLERK_RATE": "1000",
            "TENURE_PAUSE_MS": "1",
        }
        headers = {"authorization": f"Bearer {clerk.secret_key}"}
        with httpx.Client(base_url=clerk.url, headers=headers) as api:
            yield Scene(run=run, api=api, url=url, environ=environ)
    structlog.reset_defaults()
