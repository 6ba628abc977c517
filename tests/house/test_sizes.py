import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FUNCTION, FILE, TEST_FILE, ARGUMENTS = 60, 400, 500, 7
# A path and a name, with the reason beside it.
LONGER_FUNCTIONS: dict[tuple[str, str], str] = {}


def _files(*roots: str) -> Iterator[Path]:
    for root in roots:
        yield from sorted((ROOT / root).rglob("*.py"))


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_function_is_longer_than_sixty_lines() -> None:
    long = {
        (str(path.relative_to(ROOT)), f.name): (f.end_lineno or 0) - f.lineno + 1
        for path in _files("src", "tests", "bench", "scripts")
        for f in _functions(path)
        if (f.end_lineno or 0) - f.lineno + 1 > FUNCTION
    }

    assert {k: v for k, v in long.items() if k not in LONGER_FUNCTIONS} == {}
    assert set(LONGER_FUNCTIONS) <= set(long), "an exception that nobody needs any more"


def test_no_file_is_longer_than_it_may_be() -> None:
    lines = {p: len(p.read_text().splitlines()) for p in _files("src", "tests", "bench", "scripts")}
    limits = {p: TEST_FILE if "tests" in p.relative_to(ROOT).parts else FILE for p in lines}

    assert {str(p): n for p, n in lines.items() if n > limits[p]} == {}


def test_no_function_of_the_product_takes_more_than_seven_arguments() -> None:
    many = {}
    for path in _files("src"):
        for f in _functions(path):
            named = [*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs]
            count = len([a for a in named if a.arg not in {"self", "cls"}])
            if count > ARGUMENTS:
                many[str(path.relative_to(ROOT)), f.name] = count

    assert many == {}


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty_words = {"utils", "util", "common", "helpers", "helper", "manager", "service", "misc"}

    assert [str(p) for p in _files("src", "tests") if p.stem in empty_words] == []
