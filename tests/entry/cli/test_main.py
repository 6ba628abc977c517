import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from tenure.base.errors import TenureError
from tenure.entry.cli.group import LazyGroup, json_option
from tenure.entry.cli.main import COMMANDS, main
from tests.entry.cli.conftest import Run


def below(context: click.Context) -> Iterator[click.Context]:
    yield context
    group = context.command
    for name in group.list_commands(context) if isinstance(group, click.Group) else ():
        target = COMMANDS.get(name, ("",))[0].partition(":")[0] if group is main else ""
        if not target or importlib.util.find_spec(target):
            found = group.get_command(context, name)
            assert found is not None
            yield from below(click.Context(found, info_name=name, parent=context))


ROOT = click.Context(main, info_name="tenure", **main.context_settings)
EVERY = [pytest.param(context, id=context.command_path) for context in below(ROOT)]
LEAVES = [p for p in EVERY if not isinstance(p.values[0].command, click.Group)]


@pytest.mark.parametrize("context", EVERY)
def test_every_command_and_option_says_what_it_is(context: click.Context) -> None:
    assert context.command.help
    for option in context.command.params:
        if isinstance(option, click.Option) and option.name != "port":
            assert option.help, option.name


@pytest.mark.parametrize("context", LEAVES)
def test_every_command_has_json(context: click.Context) -> None:
    assert any("--json" in option.opts for option in context.command.params)


def test_help_imports_nothing_heavy() -> None:
    look = (
        "import sys; from tenure.entry.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'psycopg', 'fastapi', 'stripe', 'httpx', 'structlog', 'asyncio'}\n"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(  # noqa: S603 (our own arguments)
        [sys.executable, "-c", look], check=True, capture_output=True, text=True
    )
    assert done.stderr.strip() == "[]"
    assert all(name in done.stdout for name in COMMANDS)


def test_an_unknown_command_ends_with_2(run: Run) -> None:
    said = run("dance")
    assert said.status == 2
    assert "No such command 'dance'" in said.err


class Fell(TenureError):
    """A test's own error."""

    code = "test.fell"
    hint = "Stand up."


@click.group(cls=LazyGroup, lazy={})
def root() -> None:
    """Try out failures."""


@root.command()
@json_option
def fall(*, as_json: bool) -> None:
    """Fall."""
    assert as_json in {True, False}
    raise Fell("it fell")


@root.command()
@json_option
def stop(*, as_json: bool) -> None:
    """Be stopped."""
    raise KeyboardInterrupt(as_json)


def call(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(root, list(args))
    return result.exit_code, result.stdout, result.stderr


def test_our_errors_are_one_line_and_a_hint_and_status_2() -> None:
    assert call("fall") == (2, "", "test.fell: it fell\n  Stand up.\n")


def test_with_json_an_error_is_json_too() -> None:
    status, out, err = call("fall", "--json")
    assert (status, err) == (2, "")
    said = {"code": "test.fell", "message": "it fell", "hint": "Stand up."}
    assert json.loads(out) == {"error": said}


def test_an_interrupted_command_ends_with_130() -> None:
    assert call("stop")[0] == 130


def test_serving_without_settings_names_all_that_is_missing(run: Run) -> None:
    """T1: the process does not start, and says everything at once."""
    said = run("serve", TENURE_PROT="1")
    assert said.status == 2
    for name in (
        "DATABASE_URL",
        "STRIPE_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRET",
        "an identity provider",
        "did you mean TENURE_PORT?",
    ):
        assert name in said.err
