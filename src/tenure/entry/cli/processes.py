"""`tenure serve` and `tenure work`: the two processes that a deployment runs."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import click

from tenure.base import log
from tenure.base.settings import Settings
from tenure.entry.cli.environment import settings_for
from tenure.entry.cli.group import attribute, json_option
from tenure.entry.cli.port import claim

Run = Callable[..., None]


@click.command()
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Serving processes; each has its own connections to Postgres.",
)
@json_option
def serve(*, processes: int, as_json: bool) -> None:
    """Run the HTTP service until it is told to stop (SIGTERM or Ctrl-C).

    With --json, logs are JSON whatever TENURE_LOG_FORMAT says.
    """
    settings = settings_for("serve")
    claim(settings.port, "TENURE_PORT")
    _run(settings, "tenure.entry.http.server:run", as_json=as_json, processes=processes)


@click.command()
@json_option
def work(*, as_json: bool) -> None:
    """Run a worker until it is told to stop; start as many as you like.

    With --json, logs are JSON whatever TENURE_LOG_FORMAT says.
    """
    _run(settings_for("work"), "tenure.entry.worker.main:run", as_json=as_json)


def _run(settings: Settings, target: str, *, as_json: bool, **more: int) -> None:
    if as_json:
        settings = replace(settings, log_format="json")
    log.set_up(form=settings.log_format, level=settings.log_level)
    cast("Run", attribute(target))(settings, **more)
