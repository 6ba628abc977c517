"""`python -m tenure.sandbox.supabase --port N --database-url URL`, and what `--help` tells."""

import argparse
from pathlib import Path

from tenure.sandbox.supabase.app import run


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="tenure.sandbox.supabase", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--state", type=Path, default=None)
    parser.add_argument("--algorithm", choices=["ES256", "RS256", "HS256"], default="ES256")
    given = parser.parse_args()
    run(
        port=given.port,
        database_url=given.database_url,
        state=given.state,
        algorithm=given.algorithm,
    )


if __name__ == "__main__":
    main()
