"""`tenure db supabase`: make Supabase Auth a source of users."""

from dataclasses import asdict
from typing import Literal

import click

from tenure.entry.cli.environment import settings_for
from tenure.entry.cli.group import json_option, say
from tenure.schema import supabase as overlay
from tenure.schema.supabase import Finding

Act = Literal["check", "install", "remove", "sql"]
INSTALLED = (
    "installed: every change of auth.users marks its user; `tenure sync backfill` brings in \
those who are there"
)
REMOVED = "removed: users stay as they are, and nobody hears of changes of auth.users any more"


@click.command()
@click.option(
    "--check", "act", flag_value="check", default="check", help="Say what holds.  [default]"
)
@click.option("--install", "act", flag_value="install", help="Make it so; again after an upgrade.")
@click.option("--remove", "act", flag_value="remove", help="Take it back; users stay as they are.")
@click.option("--sql", "act", flag_value="sql", help="Print what --install runs, for a migration.")
@json_option
def supabase(*, act: Act, as_json: bool) -> None:
    """Let triggers on auth.users tell of every change, and the worker read who is there.

    For the database of a Supabase project; sign in as `postgres`. Sign-ups never wait for Tenure
    and never fail because of it.

    Exit status: 0 all holds, 1 something is missing.
    """
    if act == "sql":
        text = f"BEGIN;\n{overlay.script()}COMMIT;"
        say({"sql": text}, [text], as_json=as_json)
        return
    url = settings_for("db").listen_url
    if act == "remove":
        overlay.remove(url)
        say({"removed": True}, [REMOVED], as_json=as_json)
        return
    if act == "install":
        overlay.install(url)
    found = overlay.check(url)
    whole = all(one.wrong is None for one in found)
    lines = [INSTALLED] if act == "install" and whole else map(_line, found)
    say({"is_whole": whole, "findings": [asdict(one) for one in found]}, lines, as_json=as_json)
    raise SystemExit(0 if whole else 1)


def _line(one: Finding) -> str:
    return f"{one.name}: {one.wrong or 'ok'}"
