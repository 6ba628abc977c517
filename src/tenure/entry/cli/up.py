"""`tenure up`: everything on this machine, until Ctrl-C."""

import json
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from tenure.base.ids import RandomIds
from tenure.entry.cli.group import identity_option, json_option, say
from tenure.entry.local import buying, ports
from tenure.entry.local.account import Account
from tenure.entry.local.home import Home, open_home, write_private
from tenure.entry.local.leftovers import stop_leftovers
from tenure.entry.local.machine import Machine, Plan, running, told
from tenure.entry.local.scene import Scene
from tenure.entry.local.stop import Stop, told_to_stop
from tenure.entry.local.story import Told
from tenure.entry.local.telling import scene_on, told_in
from tenure.entry.local.who import KNOWN, Who

SAVE_EVERY = 15.0  # seconds
LOOK_EVERY = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What was asked for on the command line."""

    port: int | None
    who: Who
    story: bool
    as_json: bool


@click.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=".tenure",
    envvar="TENURE_HOME",
    show_default=True,
    show_envvar=True,
    help="Where everything is kept; made when new.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    help="The service's port.  [default: 8000, or a free one]",
)
@click.option("--story/--no-story", default=True, help="Tell the story first.  [default: story]")
@identity_option
@json_option
def up(*, data: Path, port: int | None, story: bool, identity: str, as_json: bool) -> None:
    """Run everything on this machine: Postgres, Stripe and Clerk (pretended), service, worker.

    The story is told once, with new people; then everything serves until Ctrl-C. The data stays:
    the next run goes on with it. With --json, one object is printed when everything is ready.

    Exit status: 0 stopped by you, 1 a step of the story did not hold, 2 a process did not start,
    or ended by itself.
    """
    account = Account(silent=as_json)
    wishes = Wishes(port=port, who=KNOWN[identity], story=story, as_json=as_json)
    with told_to_stop() as stop, open_home(data) as home:
        held = _up(home, stop, wishes, account)
    raise SystemExit(0 if held else 1)


def _up(home: Home, stop: Stop, wishes: Wishes, account: Account) -> bool:
    """Run everything until we are told to stop; say whether every step of the story held."""
    steps: list[Told] = []
    try:
        for name in stop_leftovers(home):
            account.say(f"{name} of an earlier run was still there: stopped")
        title = wishes.who.title
        account.say(f"starting Postgres, Stripe, {title}, the service and a worker …")
        started = time.perf_counter()
        with running(_plan(home, wishes, account), stop) as machine:
            took = time.perf_counter() - started
            account.say(f"all of it is ready after {took:.1f} s", "")
            _open(machine, wishes, account, steps)
            _serve(machine)
    except KeyboardInterrupt:
        account.say("", f"stopped; nothing is left running, the data stays in {_shown(home.path)}")
    return all(one.ok for one in steps)


def _plan(home: Home, wishes: Wishes, account: Account) -> Plan:
    chosen, notes = ports.choose(home.kept("ports.json"), service=wishes.port)
    account.say(*notes)
    home.keep("ports.json", asdict(chosen))
    plan = Plan(home=home, ports=chosen, secrets=home.secrets(RandomIds()), who=wishes.who)
    settings = "".join(f"{name}={shlex.quote(value)}\n" for name, value in told(plan).items())
    write_private(home / "settings.env", settings)
    return plan


def _open(machine: Machine, wishes: Wishes, account: Account, steps: list[Told]) -> None:
    """Tell the story, or only its beginning, and then what can be tried."""
    with scene_on(machine, RandomIds()) as scene:
        if wishes.story:
            steps += told_in(scene, account)
            account.sums_up(steps)
        else:
            buying.sign_up(scene)
            buying.read_prices(scene)
    machine.save()
    token = machine.plan.home / "token"
    write_private(token, scene.token)
    tries = _tries(machine.plan, token, scene)
    data = {
        "addresses": _addresses(machine.plan),
        "data": str(machine.plan.home.path),
        "pids": machine.pids(),
        "token": scene.token,
        "try": [command for _, command in tries],
        "story": [one.as_json() for one in steps] if wishes.story else None,
    }
    say(data, _lines(machine.plan, tries), as_json=wishes.as_json)


def _serve(machine: Machine) -> None:
    """Serve until we are told to stop, or something ends by itself."""
    saved = time.monotonic()
    while True:
        machine.pause(LOOK_EVERY)
        if time.monotonic() - saved > SAVE_EVERY:
            machine.save()
            saved = time.monotonic()


def _addresses(plan: Plan) -> dict[str, str]:
    return {
        "service": plan.service,
        "stripe": plan.stripe,
        plan.who.name: plan.site.url,
        "database": plan.database(),
    }


def _tries(plan: Plan, token: Path, scene: Scene) -> list[tuple[str, str]]:
    """Write three commands that work as they stand, each with what it shows."""
    bearer = f'curl -s -H "Authorization: Bearer $(cat {shlex.quote(_shown(token))})"'
    order = {
        "lines": [{"price": scene.prices.get(buying.PLAN, "price_…")}],
        "success_url": f"{plan.service}/stripe/return?session_id={{CHECKOUT_SESSION_ID}}",
    }
    log = "/orgs/current/audit" if plan.who.has_organizations else "/me/audit"
    buy = f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(order))}"
    return [
        ("may she come in, and why (not)?", f"{bearer} {plan.service}/gate/check"),
        ("what happened so far?", f"{bearer} {plan.service}{log}"),
        (
            "buy again: open the `url` in a browser, pay, and ask the first again",
            f"{bearer} {buy} {plan.service}/stripe/checkout",
        ),
    ]


def _lines(plan: Plan, tries: Sequence[tuple[str, str]]) -> Iterator[str]:
    home = _shown(plan.home.path)
    yield ""
    yield click.style("Running, until Ctrl-C", bold=True)
    yield f"  service   {plan.service}  (/openapi.json lists every address)"
    yield f"  Stripe    {plan.stripe}  (pretended: no money moves)"
    yield f"  {plan.who.title:<9} {plan.site.url}  (pretended)"
    yield f"  Postgres  {plan.database()}"
    yield f"  data      {home}  (logs: *.log)"
    yield f"  commands  set -a; . {home}/settings.env; set +a   # then: tenure doctor"
    yield ""
    yield click.style("Three things to try", bold=True) + " (the token is good for 12 hours)"
    for what, command in tries:
        yield f"  # {what}"
        yield f"  {command}"


def _shown(path: Path) -> str:
    """Write a path as short as it can be from here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
