"""`python -m tenure.sandbox.clerk --port N [--state FILE] [--secret-key KEY] [--origin URL] …`."""

import argparse
from pathlib import Path

from tenure.sandbox.clerk.app import ORIGIN, run


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="tenure.sandbox.clerk", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, default=None)
    parser.add_argument("--secret-key", default=None)
    parser.add_argument("--origin", default=ORIGIN)
    parser.add_argument("--webhook-url", default="")
    parser.add_argument("--webhook-secret", default="")
    parser.add_argument("--rate", type=int, default=0)
    run(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
