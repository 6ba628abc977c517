import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from tenure.sandbox.postgres import free_port


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
    with started("postgres", "--data", str(tmp_path / "data"), cwd=tmp_path) as (process, said):
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
