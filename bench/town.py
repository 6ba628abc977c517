"""Everything running on this machine, with a hand on each part: for the benchmarks."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from bench.result import ROOT
from tenure.base.ids import RandomIds
from tenure.entry.local import child
from tenure.entry.local.home import open_home
from tenure.entry.local.machine import Machine, Plan, environment, running
from tenure.entry.local.ports import any_free
from tenure.entry.local.stop import Stop
from tenure.sandbox.postgres import free_port

WITHIN = 20.0  # seconds
LIVE = "80"  # calls a second, as a live account may make; more would measure the sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """A running machine, a durable database, and the superuser's address of it."""

    machine: Machine
    admin: str

    @property
    def plan(self) -> Plan:
        """The addresses and secrets."""
        return self.machine.plan

    def stripe(self, method: str, path: str, **body: object) -> httpx.Response:
        """Control the pretended Stripe."""
        url = f"{self.plan.stripe}/_sandbox{path}"
        return httpx.request(method, url, json=body or None, timeout=30).raise_for_status()

    def slow_stripe(self, seconds: float) -> None:
        """Let every call of Stripe's API take so long."""
        self.stripe("DELETE", "/faults")
        if seconds:
            self.stripe("POST", "/faults", name="latency", match="/v1", count=-1, seconds=seconds)

    def rest_worker(self) -> None:
        """Stop the worker."""
        resting = [one for one in self.machine.ours if one.name == "work"]
        child.stop(resting)
        self.machine.ours[:] = [one for one in self.machine.ours if one.name != "work"]

    def wake_worker(self) -> None:
        """Start the worker where it rests."""
        if any(one.name == "work" for one in self.machine.ours):
            return
        env = environment(self.plan, os.environ) | {"TENURE_STRIPE_RATE": LIVE}
        started = child.start("work", ["work"], env, self.plan.home)
        self.machine.ours.append(started)
        until(lambda: child.said(started, "worker.started"))

    def sql(self, query: str) -> list[tuple[object, ...]]:
        """Ask the database as its superuser."""
        with psycopg.connect(self.admin, autocommit=True) as conn:
            cur = conn.execute(query.encode())
            return cur.fetchall() if cur.description else []

    def forget(self) -> None:
        """Empty the journal, so that each round begins alike."""
        self.sql("TRUNCATE tenure.inbox, tenure.subjects")
        self.sql("CHECKPOINT")

    @contextmanager
    def serving(self, target: str) -> Generator[str]:
        """Serve another application by the same server, in one process: the baseline."""
        port = free_port()
        env = environment(self.plan, os.environ) | {"PYTHONPATH": str(ROOT)}
        server = subprocess.Popen(  # noqa: S603 (our own arguments)
            [
                *(sys.executable, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools"),
                *("--no-access-log", "--no-server-header", "--no-date-header", "--lifespan", "on"),
                *("--port", str(port), "--log-level", "error"),
                target,
            ],
            env=env,
            start_new_session=True,
        )
        try:
            until(lambda: _listens(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(WITHIN)


@contextmanager
def open_town() -> Generator[Town]:
    """Run everything in a directory that is gone afterwards; the database is durable."""
    with (
        tempfile.TemporaryDirectory(prefix="tenure-bench-") as folder,
        open_home(Path(folder)) as home,
    ):
        plan = Plan(home=home, ports=any_free(), secrets=home.secrets(RandomIds()), durable=True)
        with running(plan, Stop()) as machine:
            if machine.postgres is None:
                raise AssertionError("the machine runs without its database")
            yield Town(machine=machine, admin=machine.postgres.url)


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    ends = time.monotonic() + WITHIN
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError(f"not within {WITHIN:.0f} s")
        time.sleep(0.02)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
