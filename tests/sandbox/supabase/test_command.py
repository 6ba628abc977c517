import signal
import time
from pathlib import Path

import httpx

from tenure.sandbox.postgres import free_port
from tests.entry.cli.conftest import Run
from tests.entry.cli.conftest import run as run  # noqa: PLC0414 (a fixture)
from tests.entry.cli.test_sandbox import started


def keys_of(url: str) -> httpx.Response:
    deadline = time.monotonic() + 30
    while True:
        try:
            return httpx.get(f"{url}/auth/v1/.well-known/jwks.json")
        except httpx.TransportError:
            assert time.monotonic() < deadline, "it does not answer"
            time.sleep(0.05)


def test_the_supabase_sandbox_answers_where_it_says(database: str, tmp_path: Path) -> None:
    """B5"""
    asked = ["supabase", "--port", str(free_port()), "--database-url", database]
    with started(*asked, "--algorithm", "RS256", cwd=tmp_path) as (process, said):
        (key,) = keys_of(said["url"]).json()["keys"]
        assert key["alg"] == "RS256"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) in {0, -signal.SIGTERM}


def test_without_a_database_it_says_so(run: Run) -> None:
    gone = "postgresql://a:hunter2@127.0.0.1:1/x"
    said = run("sandbox", "supabase", "--port", str(free_port()), "--database-url", gone)
    assert said.status == 2
    assert "base.database_away" in said.err
    assert "hunter2" not in said.err
