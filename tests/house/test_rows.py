import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"\b([TSMAB]\d{1,2})\b")
# What is built so far. A row joins this list together with its tests, and never leaves it.
BUILT = {
    *("T1", "T2", "T3", "T4", "T5", "T6", "T8"),
    *("S1", "S2"),
    *("M3", "M6", "M7", "M8", "M10"),
    *("A1", "A2", "A4", "A5", "A8", "A10"),
    *("B1", "B5", "B7"),
}


def test_every_row_that_is_built_is_named_by_a_test() -> None:
    named: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                is_test = node.name.startswith("test_")
                named |= set(ROW.findall(ast.get_docstring(node) or "")) if is_test else set()

    assert sorted(BUILT - named) == []
