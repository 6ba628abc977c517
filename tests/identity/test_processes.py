"""Real processes: a sandbox in one, verifiers in others, and real time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tenure.sandbox.postgres import free_port
from tests.sandbox.supabase.conftest import database as database  # noqa: PLC0414 (a fixture)
from tests.sandbox.supabase.test_sessions import own_process

JWKS = "GET /auth/v1/.well-known/jwks.json"
Rounds = list[list[str]]


def begun(url: str, rounds: Rounds) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.identity.verify_process"]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(  # noqa: S603 (our own module)
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    process.stdin.write(json.dumps({"url": url, "rounds": rounds}))
    process.stdin.close()
    process.stdin = None  # `communicate` shall not flush it again
    return process


def ended(process: subprocess.Popen[str]) -> Any:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return json.loads(said)


@pytest.fixture
def minted(database: str, tmp_path: Path) -> Any:
    with own_process(free_port(), database, tmp_path / "state.json") as http:

        def mint(**asked: Any) -> str:
            return http.post("/_sandbox/tokens", json=asked).json()["jwt"]

        yield http, mint


def fetches(http: httpx.Client) -> int:
    return http.get("/_sandbox/requests").json()["by_path"].get(JWKS, 0)


def test_twenty_cold_verifications_fetch_once_in_each_process(minted: Any) -> None:
    """T6, B1: real processes against a real server."""
    http, mint = minted
    slow = {"name": "latency", "seconds": 0.2, "count": 3, "match": "/auth/v1/.well-known"}
    http.post("/_sandbox/faults", json=slow)
    tokens = [mint() for _ in range(20)]
    processes = [begun(str(http.base_url), [tokens]) for _ in range(3)]
    assert [ended(process) for process in processes] == [[{"Principal": 20}]] * 3
    assert fetches(http) == 3


def test_two_hundred_unknown_kids_fetch_once(minted: Any) -> None:
    """T6, B1: and whoever is known passes all the while."""
    http, mint = minted
    good = mint()
    flood = [mint(headers={"kid": f"unknown_{n}"}) for n in range(200)]
    rounds = [flood, [good], flood, [mint()]]
    assert ended(begun(str(http.base_url), rounds)) == [
        {"BadToken": 200},
        {"Principal": 1},
        {"BadToken": 200},
        {"Principal": 1},
    ]
    assert fetches(http) == 1


def test_a_rotation_is_followed_at_once_by_a_process_that_runs(minted: Any) -> None:
    """B1: ES256 to RS256 with an overlap; both pass, and one fetch finds the new key."""
    http, mint = minted
    old = [mint() for _ in range(20)]
    http.post("/_sandbox/rotate", json={"algorithm": "RS256"})
    process = begun(str(http.base_url), [old[:1], [*old, *(mint() for _ in range(20))]])
    assert ended(process) == [{"Principal": 1}, {"Principal": 40}]
    assert fetches(http) == 1
