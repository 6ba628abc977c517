"""`python -m tenure …` is `tenure …`."""

from tenure.entry.cli.main import main

main(prog_name="tenure")
