"""`tenure db supabase`: make Supabase Auth a source of users."""

from dataclasses import asdict

import click

from tenure.entry.cli.environment import settings_for
from tenure.entry.cli.group import json_option, say
from tenure.schema import supabase as overlay
from tenure.schema.supabase import Finding

INSTALLED = (
    "installed: every change of auth.users marks its user; `tenure sync backfill` brings in \
those who are there"
)
NOT_TRUSTED = (
    "set SUPABASE_URL to the project's address (beside other providers, name supabase in "
    "TENURE_IDENTITY too): until then nobody asks for these users"
)
NOTHING = "there was nothing to remove"
REMOVED = "removed: users stay as they are, and nobody hears of changes of auth.users any more"


@click.command()
@click.option("--check", is_flag=True, help="Say what holds.  [default]")
@click.option("--install", is_flag=True, help="Make it so; again after an upgrade.")
@click.option("--remove", is_flag=True, help="Take it back; users stay as they are.")
@click.option("--sql", is_flag=True, help="Print what --install runs, for a migration.")
@json_option
def supabase(*, as_json: bool, **flags: bool) -> None:
    """Let triggers on auth.users tell of every change, and the worker read who is there.

    For the database of a Supabase project; sign in as `postgres`. Sign-ups never wait for Tenure
    and never fail because of it.

    Exit status: 0 all holds, 1 something is missing.
    """
    act = _chosen(flags)
    if act == "sql":
        text = f"BEGIN;\n{overlay.script()}COMMIT;"
        say({"sql": text}, [text], as_json=as_json)
        return
    settings = settings_for("db")
    url = settings.listen_url
    if act == "remove":
        was_there = overlay.remove(url)
        say({"removed": was_there}, [REMOVED if was_there else NOTHING], as_json=as_json)
        return
    if act == "install":
        overlay.install(url)
    found = overlay.check(url)
    whole = all(one.wrong is None for one in found)
    told = [INSTALLED] if "supabase" in settings.trusted else [INSTALLED, NOT_TRUSTED]
    lines = told if act == "install" and whole else map(_line, found)
    say({"is_whole": whole, "findings": [asdict(one) for one in found]}, lines, as_json=as_json)
    raise SystemExit(0 if whole else 1)


def _chosen(flags: dict[str, bool]) -> str:
    """Give the one thing that is to be done."""
    chosen = [name for name, is_given in flags.items() if is_given]
    if len(chosen) > 1:
        given = " and ".join(f"--{name}" for name in chosen)
        raise click.UsageError(f"{given} exclude one another: give one of them.")
    return chosen[0] if chosen else "check"


def _line(one: Finding) -> str:
    return f"{one.name}: {one.wrong or 'ok'}"
