import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tenure.entry.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def _blocks(kind: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for language, code in BLOCK.findall(page.read_text()):
            if language == kind:
                yield str(page.relative_to(ROOT)), code


def _commands() -> Iterator[tuple[str, list[str]]]:
    for page, code in _blocks("sh"):
        for line in code.splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield page, words


@pytest.mark.parametrize(("page", "code"), list(_blocks("python")))
def test_python_in_the_docs_runs(page: str, code: str) -> None:
    exec(compile(code, page, "exec"), {"__name__": "docs"})  # noqa: S102 (our own pages)


def test_commands_in_the_docs_exist_with_their_options() -> None:
    seen = 0
    for page, words in _commands():
        if words[0] != "tenure":
            continue
        command: click.Command = main
        rest = words[1:]
        while rest and isinstance(command, click.Group):
            found = command.get_command(click.Context(command), rest[0])
            assert found is not None, f"{page}: {' '.join(words)}"
            command, rest = found, rest[1:]
        options = {name for p in command.params for name in p.opts}
        asked = {word.split("=")[0] for word in rest if word.startswith("-")}
        assert asked <= options | {"--help"}, f"{page}: {' '.join(words)}"
        seen += 1
    assert seen > 5


def test_make_targets_in_the_docs_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {(page, words[1]) for page, words in _commands() if words[0] == "make"}

    assert {(page, target) for page, target in asked if target not in targets} == set()


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in LINK.findall(page.read_text())
        if not (page.parent / target).exists()
    ]

    assert broken == []
