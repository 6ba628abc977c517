"""`tenure doctor`: look at everything that can be wrong with an installation, and say each fix."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict

import click

from tenure.base.settings import BadSettings, Settings
from tenure.entry.cli.asking import quiet_log
from tenure.entry.cli.checks import IDENTITY, OUTSIDE, Check, bad_settings
from tenure.entry.cli.checks_database import database
from tenure.entry.cli.checks_identity import provider_keys
from tenure.entry.cli.environment import settings_for
from tenure.entry.cli.group import json_option, say
from tenure.entry.cli.result import Result, ok


@click.command()
@json_option
def doctor(*, as_json: bool) -> None:
    """Check this installation, and say each fix; nothing is changed.

    Exit status: 0 nothing fails (warnings are fine), 1 something fails.
    """
    results = list(_results())
    healthy = all(result.state != "fail" for result in results)
    data = {"healthy": healthy, "checks": [asdict(result) for result in results]}
    say(data, _lines(results), as_json=as_json)
    raise SystemExit(0 if healthy else 1)


def _results() -> Iterator[Result]:
    try:
        settings = settings_for("serve")
    except BadSettings as exc:
        yield from bad_settings(exc)
        yield from _without_stripe(exc)
        return
    yield ok("settings", "complete")
    yield from _looked(settings, OUTSIDE)


def _without_stripe(exc: BadSettings) -> Iterator[Result]:
    """Look at the rest where only Stripe's settings are wanting; elsewhere it would be wrong."""
    if any(not problem.name.startswith("STRIPE_") for problem in exc.problems):
        return
    with suppress(BadSettings):
        yield from _looked(settings_for("db"), IDENTITY)


def _looked(settings: Settings, outside: Iterable[Check]) -> Iterator[Result]:
    quiet_log(settings)
    yield from database(settings)
    for check in (*outside, provider_keys):
        yield from check(settings)


def _lines(results: list[Result]) -> Iterator[str]:
    for result in results:
        yield f"{result.state:<5} {result.name}: {result.what}"
        if result.fix:
            yield f"      fix: {result.fix}"
    counts = {state: sum(r.state == state for r in results) for state in ("ok", "warn", "fail")}
    yield ", ".join(f"{count} {state}" for state, count in counts.items())
