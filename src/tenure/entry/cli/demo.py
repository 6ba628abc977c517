"""`tenure demo`: the story in a world of its own, which is gone afterwards."""

import tempfile
import time
from pathlib import Path

import click

from tenure.base.ids import RandomIds
from tenure.entry.cli.group import identity_option, json_option, say
from tenure.entry.local.account import Account
from tenure.entry.local.child import end_of
from tenure.entry.local.home import Home, open_home
from tenure.entry.local.machine import Plan, running
from tenure.entry.local.ports import any_free
from tenure.entry.local.stop import Stop, told_to_stop
from tenure.entry.local.story import Told
from tenure.entry.local.telling import tell_story
from tenure.entry.local.who import KNOWN, Who

LOGS = ("serve", "work", "stripe", *KNOWN, "postgres")


@click.command()
@identity_option
@json_option
def demo(*, identity: str, as_json: bool) -> None:
    """Tell the story in a world of its own, and check every step.

    It runs in a temporary directory, on free ports, and leaves nothing behind.

    Exit status: 0 every step held, 1 one did not, 2 the world did not start.
    """
    account = Account(silent=as_json)
    with (
        told_to_stop() as stop,
        tempfile.TemporaryDirectory(prefix="tenure-demo-") as folder,
        open_home(Path(folder)) as home,
    ):
        started = time.perf_counter()
        told, ready_ms = _tell(home, stop, account, KNOWN[identity])
        ok = all(one.ok for one in told)
        there = [name for name in LOGS if (home / f"{name}.log").exists()]
        logs = {} if ok else {name: end_of(home / f"{name}.log") for name in there}
    ms = round((time.perf_counter() - started) * 1000)
    account.sums_up(told)
    data = {"ok": ok, "ms": ms, "ready_ms": ready_ms, "steps": [one.as_json() for one in told]}
    say(data | ({} if ok else {"logs": logs}), logs.values(), as_json=as_json)
    raise SystemExit(0 if ok else 1)


def _tell(home: Home, stop: Stop, account: Account, who: Who) -> tuple[list[Told], int]:
    ids = RandomIds()
    secrets = home.secrets(ids)
    plan = Plan(home=home, ports=any_free(), secrets=secrets, who=who, durable=False)
    account.say(f"starting Postgres, Stripe, {who.title}, the service and a worker …")
    started = time.perf_counter()
    with running(plan, stop) as machine:
        ready_ms = round((time.perf_counter() - started) * 1000)
        account.say(f"all of it is ready after {ready_ms / 1000:.1f} s", "")
        return tell_story(machine, ids, account), ready_ms
