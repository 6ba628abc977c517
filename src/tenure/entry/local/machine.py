"""Everything on this machine: Postgres, the pretended outside, the service and a worker."""

import os
import signal
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tenure.base.settings_table import FIELDS
from tenure.entry.local import child, leftovers, login
from tenure.entry.local.child import Child
from tenure.entry.local.errors import Died, NotReady
from tenure.entry.local.home import Home, Secrets
from tenure.entry.local.ports import Ports
from tenure.entry.local.stop import Stop
from tenure.entry.local.who import APPLICATION, RATE, Site, Who
from tenure.sandbox import postgres
from tenure.sandbox.postgres import Postgres
from tenure.schema import apply, changes

READY_WITHIN = 40.0  # seconds
LOOK_AGAIN = 0.02
WITHIN_ALONE = 2.0  # seconds to end in, where the database is gone: they would wait for it
BESIDE = "127.0.0.1,localhost"  # never through a proxy


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be started."""

    home: Home
    ports: Ports
    secrets: Secrets
    who: Who
    durable: bool = True  # of the database: False where it is thrown away anyway

    @property
    def service(self) -> str:
        """The address of the service."""
        return f"http://127.0.0.1:{self.ports.service}"

    @property
    def stripe(self) -> str:
        """The address of the pretended Stripe."""
        return f"http://127.0.0.1:{self.ports.stripe}"

    @property
    def site(self) -> Site:
        """Where the pretended provider of identities stands."""
        return Site(
            port=self.ports.identity,
            service=self.service,
            state=self.home / f"{self.who.name}.json",
            secrets=self.secrets,
        )

    @property
    def stripe_state(self) -> Path:
        """Where the pretended Stripe keeps what it knows."""
        return self.home / "stripe.json"

    def database(self, password: str = "") -> str:
        """Write the address of the database, as the service signs in."""
        name = f"{login.NAME}:{password}" if password else login.NAME
        return f"postgresql://{name}@127.0.0.1:{self.ports.postgres}/postgres"


@dataclass(slots=True, kw_only=True)
class Machine:
    """What runs."""

    plan: Plan
    stop: Stop
    postgres: Postgres | None = None
    sandboxes: list[Child] = field(default_factory=list[Child])
    ours: list[Child] = field(default_factory=list[Child])

    def check(self) -> None:
        """See whether all is well.

        Errors: KeyboardInterrupt when we are to stop, Died.
        """
        self.stop.check()
        child.check_all([*self.ours, *self.sandboxes])
        if self.postgres and (status := self.postgres.process.poll()) is not None:
            end = child.end_of(self.plan.home / "postgres.log")
            raise Died(f"postgres ended by itself ({child.how(status)}); {end}")

    def pause(self, seconds: float) -> None:
        """Wait a moment, then see whether all is well.

        Errors: KeyboardInterrupt, Died.
        """
        self.stop.pause(seconds)
        self.check()

    def pids(self) -> dict[str, int]:
        """Say which process is which."""
        found = {one.name: one.process.pid for one in (*self.ours, *self.sandboxes)}
        return found | ({"postgres": self.postgres.process.pid} if self.postgres else {})

    def save(self) -> None:
        """Let the pretended Stripe write down what it knows; it does so again at its end."""
        given = {"path": str(self.plan.stripe_state)}
        with suppress(httpx.HTTPError):
            httpx.post(f"{self.plan.stripe}/_sandbox/save", json=given, trust_env=False)


@contextmanager
def running(plan: Plan, stop: Stop) -> Generator[Machine]:
    """Run everything for as long as the block lasts; all of it is ready when the block begins.

    Errors:  KeyboardInterrupt when we are to stop, Died, NotReady, PostgresDidNotStart.
    Promise: nothing of it runs afterwards, however the block ends.
    """
    machine = Machine(plan=plan, stop=stop)
    try:
        _start(machine)
        yield machine
    finally:
        _end(machine)


def _start(machine: Machine) -> None:
    plan = machine.plan
    stripe = ["--port", str(plan.ports.stripe), "--state", str(plan.stripe_state), "--seed"]
    stripe += ["--webhook-url", f"{plan.service}/webhooks/stripe"]
    env = environment(plan, os.environ)
    machine.sandboxes.append(child.start("stripe", ["sandbox", "stripe", *stripe], env, plan.home))
    database = _start_postgres(machine)
    name, args = plan.who.name, plan.who.arguments(plan.site, database)
    machine.sandboxes.append(child.start(name, ["sandbox", name, *args], env, plan.home))
    if plan.who.prepare is not None:
        _wait(machine, (name,))
        plan.who.prepare(database)
    for name, command in (("serve", "serve"), ("work", "work")):
        machine.check()
        machine.ours.append(child.start(name, [command], env, plan.home))
    _wait(machine, ("stripe", plan.who.name, "serve", "work"))
    _forget_old_addresses(plan)


def _start_postgres(machine: Machine) -> str:
    """Start it with everything in it, and give its superuser's address."""
    plan = machine.plan
    try:
        machine.postgres = postgres.start(
            plan.home / "postgres", port=plan.ports.postgres, durable=plan.durable
        )
    except postgres.PostgresDidNotStart:
        machine.stop.check()  # Ctrl-C reaches initdb too
        raise
    pid = machine.postgres.process.pid
    leftovers.put_note(
        "postgres", pid, plan.home, ends_by=signal.SIGINT
    )  # SIGTERM waits for clients
    apply.apply(machine.postgres.url, changes.load())
    login.put_login(machine.postgres.url, plan.secrets.database_password)
    return machine.postgres.url


def _wait(machine: Machine, names: Iterable[str]) -> None:
    """Wait for some of them side by side."""
    plan = machine.plan
    with httpx.Client(trust_env=False, timeout=5.0) as client:
        asks: dict[str, Callable[[], str]] = {
            "stripe": lambda: _lacks(client, f"{plan.stripe}/_sandbox/health"),
            plan.who.name: lambda: _lacks(client, f"{plan.site.url}/_sandbox"),
            "serve": lambda: _lacks(client, f"{plan.service}/ready"),
            "work": lambda: _lacks_word(machine.ours, "work", "worker.started"),
        }
        deadline = time.monotonic() + READY_WITHIN
        lacks = dict.fromkeys(names, "")
        while lacks := {name: lack for name in lacks if (lack := asks[name]())}:
            if time.monotonic() > deadline:
                raise NotReady(_not_ready(plan.home, lacks))
            machine.pause(LOOK_AGAIN)


def _lacks_word(ours: Iterable[Child], name: str, word: str) -> str:
    """Say what is missing until a process has said a word; empty when it has."""
    is_said = any(one.name == name and child.said(one, word) for one in ours)
    return "" if is_said else "says nothing"


def _lacks(client: httpx.Client, url: str) -> str:
    """Say what is missing until a process is ready; empty when it is."""
    try:
        answer = client.get(url)
    except httpx.HTTPError as exc:
        return f"does not answer ({type(exc).__name__})"
    return "" if answer.is_success else f"answers {answer.status_code} {answer.text}"


def _not_ready(home: Home, lacks: Mapping[str, str]) -> str:
    told = [f"{name} {lack}; {child.end_of(home / f'{name}.log')}" for name, lack in lacks.items()]
    return f"not ready after {READY_WITHIN:.0f} s: " + "\n".join(told)


def _forget_old_addresses(plan: Plan) -> None:
    """Take away webhook endpoints of earlier runs on another port: a stranger may listen there."""
    headers = {"Authorization": f"Bearer {plan.secrets.stripe_secret_key}"}
    base = f"{plan.stripe}/v1/webhook_endpoints"
    with httpx.Client(trust_env=False, headers=headers) as client:
        listed = client.get(base, params={"limit": 100}).raise_for_status().json()["data"]
        for endpoint in listed:
            local = str(endpoint["url"]).startswith("http://127.0.0.1:")
            if local and endpoint["url"] != f"{plan.service}/webhooks/stripe":
                client.delete(f"{base}/{endpoint['id']}").raise_for_status()


def _end(machine: Machine) -> None:
    """Stop those that use the others first."""
    has_database = machine.postgres is not None and machine.postgres.process.poll() is None
    within = child.WITHIN if has_database else WITHIN_ALONE
    with ExitStack() as last_first:  # each is stopped, whatever happens to the one before
        last_first.callback(_end_postgres, machine)
        last_first.callback(child.stop, machine.sandboxes)
        last_first.callback(child.stop, machine.ours, within=within)


def _end_postgres(machine: Machine) -> None:
    if machine.postgres:
        machine.postgres.stop()
        (machine.plan.home.notes / "postgres.json").unlink(missing_ok=True)


def environment(plan: Plan, outer: Mapping[str, str]) -> dict[str, str]:
    """Say what our processes are told: none of the outer settings, all of this world's."""
    known = {variable.name for variable in FIELDS.values()}
    foreign = ("TENURE_", "PG")
    kept = {k: v for k, v in outer.items() if k not in known and not k.startswith(foreign)}
    return {**kept, "NO_PROXY": BESIDE, "no_proxy": BESIDE, **told(plan)}


def told(plan: Plan) -> dict[str, str]:
    """Write the settings of this world."""
    secrets = plan.secrets
    return {
        "DATABASE_URL": plan.database(secrets.database_password),
        "STRIPE_SECRET_KEY": secrets.stripe_secret_key,
        "STRIPE_WEBHOOK_SECRET": secrets.stripe_webhook_secret,
        "STRIPE_API_BASE": plan.stripe,
        **plan.who.settings(plan.site),
        "CORS_ORIGINS": APPLICATION,
        "TENURE_RETURN_ORIGINS": f"{APPLICATION},{plan.service}",
        "TENURE_PORT": str(plan.ports.service),
        "TENURE_STRIPE_RATE": RATE,
        "TENURE_LOG_FORMAT": "text",
    }
