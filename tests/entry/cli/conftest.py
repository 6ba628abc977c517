"""`run` calls a command as a shell would, away from any `.env` and from this process's settings."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from tenure.base.settings_table import FIELDS
from tenure.entry.cli.main import main
from tests.conftest import recreate


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    ours = {variable.name for variable in FIELDS.values()}
    for name in os.environ:
        if name in ours or name.startswith("TENURE_"):
            monkeypatch.delenv(name)

    def call(*args: str, **environ: str) -> Said:
        result = CliRunner().invoke(main, list(args), env=environ, prog_name="tenure")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(status=result.exit_code, out=result.stdout, err=result.stderr)

    return call


@pytest.fixture
def empty(admin: str) -> str:
    return recreate(admin, "tenure_empty", "template0")
