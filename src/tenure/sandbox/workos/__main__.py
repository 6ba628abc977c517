"""`python -m tenure.sandbox.workos --port N [--state FILE] [--api-key KEY] …`."""

import argparse
from pathlib import Path

from tenure.sandbox.workos.app import run


def main() -> None:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="tenure.sandbox.workos", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, default=None)
    names = ("api-key", "client-id", "webhook-secret")
    for name in names:
        parser.add_argument(f"--{name}", default=None)
    parser.add_argument("--webhook-url", default="")
    told = parser.parse_args()
    run(
        port=told.port,
        state=told.state,
        api_key=told.api_key,
        client_id=told.client_id,
        webhook_secret=told.webhook_secret,
        webhook_url=told.webhook_url,
    )


if __name__ == "__main__":
    main()
