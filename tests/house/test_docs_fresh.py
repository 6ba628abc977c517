import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import recreate

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tenure_docs_script", ROOT / "scripts/docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_generated_files_are_fresh(docs: ModuleType, admin: str) -> None:
    """T1: `.env.example` lists every variable; run `python scripts/docs.py` when this fails."""
    scratch = recreate(admin, "tenure_docs", "template0")
    assert docs.stale(docs.pages(scratch)) == []


def test_a_code_names_one_error(docs: ModuleType) -> None:
    """T5: programs tell errors apart by their code."""
    ours = [e for e in docs.errors() if not e.code.startswith("sandbox.")]  # programs of their own
    codes = Counter(error.code for error in ours)
    assert {code for code, count in codes.items() if count > 1} == set()
