import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure.entry.local.home import Home, open_home

SLEEPS = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which ends when the test does."""
    with subprocess.Popen(  # noqa: S603 (our own arguments)
        [sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()
