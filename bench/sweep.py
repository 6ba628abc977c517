"""A walk through 100,000 memberships: the first filling, nothing to do, 1 % of differences."""

import json
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import psycopg
from psycopg import sql

from bench import walking
from bench.crowd import seed
from bench.result import ROOT, Result
from bench.serving import until
from bench.town import Town
from tenure.entry.local import login
from tenure.sandbox.postgres import free_port
from tenure.schema import apply, changes

Provider = Literal["clerk", "workos"]
USERS, ORGS, MEMBERS = 20_000, 1_000, 100_000
CHANGED, LEFT, JOINED = 400, 300, 300  # 1 % of all
KEY = "sk_test_" + "b" * 32
LIMITS = {"clerk": 100, "workos": 100}  # calls a second that the provider allows with a live key
WITHIN = 600.0  # seconds for one walk, so that a slow one fails instead of lasting
Walked = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A pretended provider with everything in it, and an empty database."""

    provider: Provider
    http: httpx.Client
    database: str
    users: list[str]
    orgs: list[str]
    members: list[str]

    def walk(self, how: str) -> Walked:
        """Walk once, in a process of its own."""
        asked = {
            "provider": self.provider,
            "database": self.database,
            "base": str(self.http.base_url).rstrip("/"),
            "key": KEY,
            "how": how,
        }
        done = subprocess.run(
            [sys.executable, "-m", "bench.walking"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
            timeout=WITHIN,
        )
        assert not done.returncode, done.stderr
        walked: Walked = json.loads(done.stdout)
        assert walked["met"] == len(self.members), walked
        return walked


def measure(town: Town) -> Iterator[Result]:
    """Walk through both providers, with the worker at rest."""
    town.rest_worker()
    for provider in ("clerk", "workos"):
        with _scene(town, provider) as scene:
            yield from _measure(scene)


def _measure(scene: Scene) -> Iterator[Result]:
    listed, plain = scene.walk("list"), scene.walk("plain")
    first = scene.walk("walk")
    assert first["differences"] == USERS + ORGS + MEMBERS, first
    yield from _told(scene, "first filling", first, plain, "a plain upsert of each, same pages")
    second = scene.walk("walk")
    assert second["differences"] == 0, second
    yield from _told(scene, "nothing to do", second, listed, "reading the same pages, no more")
    _differ(scene)
    third = scene.walk("walk")
    assert third["differences"] == CHANGED + LEFT + JOINED, third
    yield from _told(scene, "1 % differs", third, listed, "reading the same pages, no more")
    yield Result(
        name=f"walk through {scene.provider}: peak memory of the process",
        value=max(walked["peak_mib"] for walked in (first, second, third)),
        unit="MiB",
        baseline=listed["peak_mib"],
        against="reading only",
    )


def _told(scene: Scene, what: str, walked: Walked, other: Walked, against: str) -> Iterator[Result]:
    """Say how fast it was, and how fast the provider would let it be."""
    name = f"walk through {len(scene.members):,} {scene.provider} memberships, {what}"
    limit = walked["calls"] / LIMITS[scene.provider]
    yield Result(
        name=name,
        value=walked["met"] / walked["seconds"],
        unit="memberships/s",
        baseline=other["met"] / other["seconds"],
        against=against,
    )
    yield Result(
        name=f"{name}: seconds",
        value=walked["seconds"],
        unit="s",
        baseline=limit,
        against=f"{walked['calls']} calls at the {LIMITS[scene.provider]}/s that are allowed",
    )


@contextmanager
def _scene(town: Town, provider: Provider) -> Generator[Scene]:
    database = _database(town, f"sweep_{provider}")
    with _sandbox(provider) as http:
        made = seed(http, provider, users=USERS, orgs=ORGS, members=MEMBERS)
        yield Scene(
            provider=provider,
            http=http,
            database=database,
            users=made["users"],
            orgs=made["organizations"],
            members=made["memberships"],
        )


def _database(town: Town, name: str) -> str:
    """Make an empty database beside the town's, and give its address as the worker signs in."""
    with psycopg.connect(town.admin, autocommit=True) as conn:
        conn.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    admin = psycopg.conninfo.make_conninfo(town.admin, dbname=name)
    apply.apply(admin, changes.load())
    login.put_login(admin, town.plan.secrets.database_password)
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(walking.TABLE)
        conn.execute("GRANT ALL ON bench_members TO PUBLIC")
    return psycopg.conninfo.make_conninfo(
        admin, user=login.NAME, password=town.plan.secrets.database_password
    )


@contextmanager
def _sandbox(provider: Provider) -> Generator[httpx.Client]:
    """Run the provider by itself: in memory, with no limit of calls and nobody to tell."""
    key: Mapping[str, list[str]] = {
        "clerk": ["--secret-key", KEY, "--rate", "0"],
        "workos": ["--api-key", KEY],
    }
    port = free_port()
    process = subprocess.Popen(  # noqa: S603 (our own arguments)
        [
            *(sys.executable, "-m", "tenure", "sandbox", provider),
            *("--port", str(port), *key[provider]),
        ],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        headers = {"Authorization": f"Bearer {KEY}"}
        base = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=base, headers=headers, timeout=120, trust_env=False) as http:
            until(lambda: _answers(http))
            yield http
    finally:
        process.terminate()
        process.wait()


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/_sandbox").is_success
    except httpx.TransportError:
        return False


def _differ(scene: Scene) -> None:
    """Change, remove and add some members at the provider, without telling anybody."""
    http = scene.http
    listed = _some_members(scene, CHANGED + LEFT)
    for n, (org, user, name) in enumerate(listed):
        if scene.provider == "clerk":
            path = f"/v1/organizations/{org}/memberships/{user}"
            change = {"role": "org:admin"}
        else:
            path = f"/user_management/organization_memberships/{name}"
            change = {"role_slug": "admin"}
        changed = n < CHANGED
        method = ("PATCH" if scene.provider == "clerk" else "PUT") if changed else "DELETE"
        http.request(method, path, json=change if changed else None).raise_for_status()
    _join(scene)


def _some_members(scene: Scene, count: int) -> list[tuple[str, str, str]]:
    """List some: organization, user, membership."""
    found: list[tuple[str, str, str]] = []
    for org in scene.orgs:
        if scene.provider == "clerk":
            listed = scene.http.get(f"/v1/organizations/{org}/memberships", params={"limit": 1})
            rows = listed.raise_for_status().json()["data"]
            found += [(org, row["public_user_data"]["user_id"], row["id"]) for row in rows]
        else:
            asked = {"organization_id": org, "limit": 1}
            path = "/user_management/organization_memberships"
            rows = scene.http.get(path, params=asked).raise_for_status().json()["data"]
            found += [(org, row["user_id"], row["id"]) for row in rows]
        if len(found) == count:
            break
    return found


def _join(scene: Scene) -> None:
    """Let people join organizations that they are not members of."""
    joined = 0
    for n, org in enumerate(reversed(scene.orgs)):
        if joined == JOINED:
            return
        user = scene.users[(n * 7 + 3) % len(scene.users)]
        if scene.provider == "clerk":
            path, body = f"/v1/organizations/{org}/memberships", {"user_id": user}
            body |= {"role": "org:member"}
        else:
            path = "/user_management/organization_memberships"
            body = {"user_id": user, "organization_id": org, "role_slug": "member"}
        joined += scene.http.post(path, json=body).is_success
    assert joined == JOINED, joined
