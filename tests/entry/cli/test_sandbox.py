import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from tenure.sandbox.postgres import PostgresDidNotStart, free_port, running, start


@contextmanager
def started(*args: str, cwd: Path) -> Iterator[tuple[subprocess.Popen[str], dict]]:
    """Run `tenure sandbox …` until the block ends, and read what it says of itself."""
    command = [sys.executable, "-m", "tenure.entry.cli.main", "sandbox", *args, "--json"]
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 (our own arguments)
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            said = ""
            for line in lines:
                said += line
                if line.rstrip() == "}":
                    break
            yield process, json.loads(said)
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_sandbox_leaves_no_server_behind(tmp_path: Path, stop: signal.Signals) -> None:
    """B5: a piece of the outside world is a process of its own, and goes when it is told to."""
    with started(
        "postgres", "--data", str(tmp_path / "data"), "--port", str(free_port()), cwd=tmp_path
    ) as (process, said):
        with psycopg.connect(said["url"]) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
        process.send_signal(stop)
        assert process.wait(timeout=60) == 0
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(said["url"], connect_timeout=5)


def test_the_stripe_sandbox_answers_where_it_says(tmp_path: Path) -> None:
    """B5: the official address of the pretended Stripe is printed once it listens."""
    port = str(free_port())
    with started("stripe", "--port", port, "--seed", cwd=tmp_path) as (process, said):
        key = {"Authorization": "Bearer sk_test_x"}
        products = httpx.get(f"{said['url']}/v1/products", headers=key, timeout=10)
        assert products.json()["data"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def test_the_workos_sandbox_answers_where_it_says_with_the_key_it_was_given(
    tmp_path: Path,
) -> None:
    """B5"""
    given = ("--api-key", "sk_test_given", "--webhook-secret", "given", "--client-id", "client_1")
    port = str(free_port())
    with started("workos", "--port", port, *given, cwd=tmp_path) as (process, said):
        told = until_it_answers(f"{said['url']}/_sandbox", process)
        assert (told["api_key"], told["webhook_secret"]) == ("sk_test_given", "given")
        assert told["client_id"] == "client_1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) in {0, -signal.SIGTERM}


def until_it_answers(url: str, process: subprocess.Popen[str]) -> dict:
    deadline = time.monotonic() + 30
    while True:
        try:
            return httpx.get(url, trust_env=False).json()
        except httpx.TransportError:
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline, "it does not answer"
            time.sleep(0.05)


@pytest.mark.parametrize("piece", ["stripe", "clerk", "workos", "postgres"])
def test_a_port_that_is_taken_is_said_before_anything_begins(tmp_path: Path, piece: str) -> None:
    """T1: one line that names the port, and exit status 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "tenure", "sandbox", piece, "--port", port]
        told = subprocess.run(  # noqa: S603 (our own arguments)
            command, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    assert told.returncode == 2
    assert told.stderr.startswith(f"cli.port_in_use: somebody listens on port {port} already")
    assert "a free one is found" not in told.stderr
    assert not told.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_running_postgres_is_not_taken_over_by_a_second_one(tmp_path: Path) -> None:
    with running(tmp_path / "data", durable=False) as server:
        with pytest.raises(PostgresDidNotStart, match="another process runs a Postgres"):
            start(tmp_path / "data", durable=False)
        with psycopg.connect(server.url) as conn:
            assert conn.execute("SELECT 1").fetchone() == (1,)
