"""`tenure openapi`: the HTTP interface, for programs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import click

from tenure.entry.cli.group import attribute, json_option, say

PAGE = "docs/reference/openapi.json"


@click.command()
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    is_flag=False,
    flag_value=PAGE,
    help=f"Write it to a file instead; without a name: {PAGE}.",
)
@json_option
def openapi(*, write: Path | None, as_json: bool) -> None:
    """Print the HTTP interface as OpenAPI 3.1; it is JSON with or without --json."""
    schema = cast("Callable[[], dict[str, object]]", attribute("tenure.entry.http.app:openapi"))()
    text = json.dumps(schema, indent=2, ensure_ascii=False)
    if write is None:
        click.echo(text)
        return
    write.parent.mkdir(parents=True, exist_ok=True)
    write.write_text(text + "\n", encoding="utf-8")
    say({"written": str(write)}, [f"written: {write}"], as_json=as_json)
