"""`tenure sandbox …`: pieces of the outside world, pretended, each in a process of its own."""

import signal
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import click

from tenure.entry.cli.group import attribute, json_option, say
from tenure.entry.cli.port import claim
from tenure.sandbox import postgres as embedded

STATE = click.Path(dir_okay=False, path_type=Path)
PORT = click.IntRange(1, 65_535)


@click.group()
def sandbox() -> None:
    """Run a piece of the outside world, pretended: for trials and tests, never for money."""


@sandbox.command()
@click.option("--port", type=PORT, default=12_111, show_default=True)
@click.option("--state", type=STATE, help="Keep what happens in this file.  [default: in memory]")
@click.option("--seed", is_flag=True, help="Start with two plans, their prices and features.")
@click.option("--webhook-url", default="", help="Where its events are sent to.")
@click.option(
    "--webhook-secret",
    default="",
    envvar="STRIPE_WEBHOOK_SECRET",
    show_envvar=True,
    help="What they are signed with (whsec_…).",
)
@json_option
def stripe(*, port: int, as_json: bool, **options: Any) -> None:  # noqa: ANN401 (passed on as they are)
    """Run the pretended Stripe until Ctrl-C; any key that begins with sk_test_ works."""

    def ready(_url: str) -> None:
        _announce("STRIPE_API_BASE", port, as_json=as_json)

    claim(port)
    _runner("tenure.sandbox.stripe.server:run")(port=port, ready=ready, **options)


@sandbox.command()
@click.option("--port", type=PORT, default=12_112, show_default=True)
@click.option("--state", type=STATE, help="Keep what happens in this file.  [default: in memory]")
@click.option(
    "--secret-key",
    envvar="CLERK_SECRET_KEY",
    show_envvar=True,
    help="The key that callers must show.  [default: a new one]",
)
@click.option(
    "--origin",
    default="http://localhost:3000",
    show_default=True,
    help="The application that its session tokens are made for (`azp`).",
)
@click.option("--webhook-url", default="", help="Where its events are sent to.")
@click.option(
    "--webhook-secret",
    default="",
    envvar="CLERK_WEBHOOK_SECRET",
    show_envvar=True,
    help="What they are signed with (whsec_…).  [default: a new one]",
)
@click.option(
    "--rate",
    type=click.IntRange(0),
    default=1_000,
    show_default=True,
    help="Calls of the Backend API in ten seconds; 0: no limit.",
)
@json_option
def clerk(*, port: int, as_json: bool, **options: Any) -> None:  # noqa: ANN401 (passed on as they are)
    """Run the pretended Clerk until Ctrl-C; GET /_sandbox tells its keys."""
    claim(port)
    key = "pk_test_" + b64encode(f"127.0.0.1:{port}$".encode()).decode()
    more = [f"CLERK_PUBLISHABLE_KEY={key}", "GET /_sandbox tells its secret key."]
    _announce("CLERK_API_BASE", port, *more, as_json=as_json)
    _runner("tenure.sandbox.clerk.app:run")(port=port, **options)


@sandbox.command()
@click.option("--port", type=PORT, default=12_113, show_default=True)
@click.option("--state", type=STATE, help="Keep what happens in this file.  [default: in memory]")
@click.option(
    "--api-key",
    envvar="WORKOS_API_KEY",
    show_envvar=True,
    help="The key that callers must show.  [default: a new one]",
)
@click.option(
    "--client-id",
    envvar="WORKOS_CLIENT_ID",
    show_envvar=True,
    help="The application that signs in.  [default: a new one]",
)
@click.option("--webhook-url", default="", help="Where its events are sent to.")
@click.option(
    "--webhook-secret",
    envvar="WORKOS_WEBHOOK_SECRET",
    show_envvar=True,
    help="What they are signed with.  [default: a new one]",
)
@json_option
def workos(*, port: int, as_json: bool, **options: Any) -> None:  # noqa: ANN401 (passed on as they are)
    """Run the pretended WorkOS until Ctrl-C; GET /_sandbox tells its keys."""
    claim(port)
    _announce("WORKOS_API_BASE", port, "GET /_sandbox tells its keys.", as_json=as_json)
    _runner("tenure.sandbox.workos.app:run")(port=port, **options)


@sandbox.command()
@click.option("--port", type=PORT, default=12_115, show_default=True)
@click.option(
    "--database-url",
    required=True,
    help="The Postgres that it makes its `auth` schema in; not that of a real project.",
)
@click.option("--state", type=STATE, help="Keep its keys in this file.  [default: in memory]")
@click.option(
    "--algorithm",
    type=click.Choice(["ES256", "RS256", "HS256"]),
    default="ES256",
    show_default=True,
    help="What a new project signs with; HS256 is the shared secret of older ones.",
)
@json_option
def supabase(*, port: int, as_json: bool, **options: Any) -> None:  # noqa: ANN401 (passed on as they are)
    """Run the pretended Supabase Auth until Ctrl-C; GET /_sandbox tells its keys."""

    def ready() -> None:
        _announce("SUPABASE_URL", port, "GET /_sandbox tells its keys.", as_json=as_json)

    claim(port)
    _runner("tenure.sandbox.supabase.app:run")(port=port, ready=ready, **options)


@sandbox.command()
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=".tenure/sandbox-postgres",
    show_default=True,
    help="Where its files are; made when new, kept afterwards.",
)
@click.option("--port", type=PORT, default=12_114, show_default=True)
@json_option
def postgres(*, data: Path, port: int, as_json: bool) -> None:
    """Run a Postgres from the installed wheel until Ctrl-C; its address is printed first."""
    claim(port)
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)  # a server must not be left behind
    with suppress(KeyboardInterrupt), embedded.running(data.resolve(), port=port) as server:
        said = {"url": server.url, "port": server.port, "data": str(server.data)}
        say(
            said,
            [f"DATABASE_URL={server.url}", "Ctrl-C stops it; its data stays."],
            as_json=as_json,
        )
        server.process.wait()
        raise SystemExit(2)  # it ended by itself, which nobody asked for


def _announce(variable: str, port: int, *more: str, as_json: bool) -> None:
    url = f"http://127.0.0.1:{port}"
    lines = [f"{variable}={url}", *more, "Ctrl-C stops it."]
    say({"url": url, "port": port}, lines, as_json=as_json)


def _runner(target: str) -> Callable[..., Any]:
    return cast("Callable[..., Any]", attribute(target))
