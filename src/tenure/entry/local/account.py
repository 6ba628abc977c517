"""The live account for people: one line for each step, coloured where a terminal reads."""

import shutil
import sys
import textwrap
from collections.abc import Iterable

import click

from tenure.entry.local.story import ALONE, STEPS, Told

WIDTH = max(len(name) for name, _ in (*STEPS, *ALONE))
INDENT = 15  # the mark and the time in front of the name
MARKS = {"held": ("✓", "green"), "failed": ("✗", "red"), "not reached": ("·", "bright_black")}


class Account:
    """Tells what happens; silent where a program reads."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._live = not silent and sys.stdout.isatty()

    def say(self, *lines: str) -> None:
        """Tell something."""
        if not self._silent:
            for line in lines:
                click.echo(line)

    def begins(self, name: str) -> None:
        """Tell that a step begins, where the line can be written over."""
        if self._live:
            click.echo(click.style(f"  …          {name}", dim=True), nl=False)

    def told(self, one: Told) -> None:
        """Tell how a step went."""
        if self._silent:
            return
        sign, colour = MARKS[one.state]
        over = "\r\033[K" if self._live else ""
        mark, took = click.style(sign, fg=colour), click.style(f"{one.ms:6.0f} ms", dim=True)
        click.echo(f"{over}  {mark} {took}  {_words(one)}")

    def sums_up(self, told: Iterable[Told]) -> None:
        """Tell how the whole went."""
        steps = list(told)
        held = sum(one.ok for one in steps)
        whole = held == len(steps)
        words = f"{held} of {len(steps)} steps held, {sum(one.ms for one in steps) / 1000:.1f} s"
        self.say(click.style(words, fg="green" if whole else "red"))


def _words(one: Told) -> str:
    """Put what was seen beside the step's name where it fits, else below."""
    room = shutil.get_terminal_size((120, 40)).columns - INDENT
    beside = f"{one.name:<{WIDTH}}  {one.seen.text}"
    if len(beside) <= room:
        return beside
    text = "\n".join(textwrap.wrap(one.seen.text, max(room, 30)))
    return f"{one.name}\n{textwrap.indent(text, ' ' * INDENT)}"
