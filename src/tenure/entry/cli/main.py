"""`tenure …`: nothing heavy is imported before a command runs."""

import click

from tenure import __version__
from tenure.entry.cli.group import LazyGroup

COMMANDS = {
    "up": ("tenure.entry.cli.up:up", "Run everything on this machine, and tell the story once."),
    "demo": ("tenure.entry.cli.demo:demo", "Tell the story in a world of its own, and check it."),
    "serve": ("tenure.entry.cli.processes:serve", "Run the HTTP service."),
    "work": ("tenure.entry.cli.processes:work", "Run a worker."),
    "doctor": ("tenure.entry.cli.doctor:doctor", "Check this installation, and say each fix."),
    "db": ("tenure.entry.cli.db:db", "Make, check and take back our tables."),
    "sync": ("tenure.entry.cli.sync:sync", "Fill, compare, repair and explain who is known."),
    "seats": ("tenure.entry.cli.seats:seats", "Say who holds the seats, and how many there are."),
    "users": ("tenure.entry.cli.users:users", "Delete a user, and see what hangs on one."),
    "sandbox": ("tenure.entry.cli.sandbox:sandbox", "Run a piece of the outside world, pretended."),
    "openapi": ("tenure.entry.cli.openapi:openapi", "Print the HTTP interface as OpenAPI."),
}


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tenure")
def main() -> None:
    """Keep who your users are, what they bought and what your Postgres says in agreement.

    Settings come from the environment or from ./.env; .env.example lists them all.

    Exit status: 0 good, 1 found something, 2 could not look.
    """


if __name__ == "__main__":
    main()
