"""Resolve the dependencies for every Python we support, pinned with hashes, without host names."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = {  # what runs Tenure on this machine, and what also tests it
    "run.lock": ("--extra", "local", "--group", "build"),
    "dev.lock": ("--extra", "local", "--group", "dev", "-c", "requirements/run.lock"),
}


def main() -> None:
    """Write both locks; a version that stands there is kept where it still fits."""
    for name, what in LOCKS.items():
        subprocess.run(  # noqa: S603 (our own arguments)
            [
                *(sys.executable, "-m", "uv", "pip", "compile", "--quiet"),
                *("--universal", "--python-version", "3.11", "--generate-hashes"),
                *("--no-emit-index-url", "--no-header", "--no-annotate"),
                *("pyproject.toml", *what),
                *("-o", f"requirements/{name}"),
            ],
            cwd=ROOT,
            check=True,
        )


if __name__ == "__main__":
    main()
