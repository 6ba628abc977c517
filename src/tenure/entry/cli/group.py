"""How every command is found, how it speaks and how it fails: one line, one hint, exit status 2."""

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar, cast

import click

from tenure.base.errors import TenureError

JSON = "tenure.json"  # where a context remembers that --json was given
INTERRUPTED = 130

_Command = TypeVar("_Command", bound=Callable[..., object])


class LazyGroup(click.Group):
    """A group that imports a command only when it runs: `--help` stays fast.

    `lazy` maps a command's name to "module:attribute" and its one line of help.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:  # noqa: ANN401 (passed on to click)
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order they are needed in."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        return cast("click.Command", attribute(self.lazy[cmd_name][0]))

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 (click's own signature)
        formatter: click.HelpFormatter,
    ) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.lazy.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; say what went wrong if it was one of ours."""
        try:
            return super().invoke(ctx)
        except TenureError as exc:
            _tell(exc, as_json=bool(ctx.meta.get(JSON)))
            raise SystemExit(2) from exc
        except (KeyboardInterrupt, click.Abort):
            raise SystemExit(INTERRUPTED) from None


def attribute(target: str) -> object:
    """Import "module:attribute", only now that it is needed."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def json_option(command: _Command) -> _Command:
    """Give a command the `--json` that every command has, as the argument `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, callback=_remember, help="Print JSON for programs."
    )(command)


def identity_option(command: _Command) -> _Command:
    """Give a command the `--identity` of those that run a whole world."""
    return click.option(
        "--identity",
        type=click.Choice(["clerk", "workos", "supabase"]),
        default="clerk",
        show_default=True,
        help="Who signs people up; pretended, whichever it is.",
    )(command)


def say(data: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print the answer: for programs or for people."""
    if as_json:
        click.echo(json.dumps(data, indent=2, ensure_ascii=False, default=_plain))
        return
    for line in lines:
        click.echo(line)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _remember(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:  # noqa: FBT001 (click's own signature)
    ctx.meta[JSON] = value
    return value


def _tell(exc: TenureError, *, as_json: bool) -> None:
    if as_json:
        error = {"code": exc.code, "message": str(exc), "hint": exc.hint}
        click.echo(json.dumps({"error": error}, indent=2, ensure_ascii=False))
        return
    click.echo(f"{exc.code}: {exc}", err=True)
    if exc.hint:
        click.echo(f"  {exc.hint}", err=True)
