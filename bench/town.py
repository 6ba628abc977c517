"""Everything running on this machine, with a hand on each part: for the benchmarks."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from bench.serving import serving, until
from tenure.base.ids import RandomIds
from tenure.entry.local import child
from tenure.entry.local.home import open_home
from tenure.entry.local.machine import Machine, Plan, environment, running
from tenure.entry.local.ports import any_free
from tenure.entry.local.stop import Stop
from tenure.entry.local.who import KNOWN

PACE = {
    "TENURE_STRIPE_RATE": "80",  # as a live account may; more would measure the sandbox
    "TENURE_WALK_SECONDS": "86400",  # no walk between: what an event costs is what we count
    "TENURE_POLL_SECONDS": "3600",
}


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
        env = environment(self.plan, os.environ) | PACE
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
        with serving(target, environment(self.plan, os.environ)) as url:
            yield url

    @contextmanager
    def identity(self) -> Generator[httpx.Client]:
        """Ask, and control, the pretended provider of identities."""
        key = self.plan.who.key(self.plan.secrets)
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(
            base_url=self.plan.site.url, headers=headers, timeout=60, trust_env=False
        ) as http:
            yield http


@contextmanager
def open_town(who: str = "clerk") -> Generator[Town]:
    """Run everything in a directory that is gone afterwards; the database is durable."""
    with (
        tempfile.TemporaryDirectory(prefix="tenure-bench-") as folder,
        open_home(Path(folder)) as home,
    ):
        plan = Plan(
            home=home,
            ports=any_free(),
            secrets=home.secrets(RandomIds()),
            who=KNOWN[who],
            durable=True,
        )
        with running(plan, Stop()) as machine:
            if machine.postgres is None:
                raise AssertionError("the machine runs without its database")
            yield Town(machine=machine, admin=machine.postgres.url)
