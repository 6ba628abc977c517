"""Read a `.env` file: KEY=VALUE lines, quotes, comments, nothing executed."""

import re
from pathlib import Path

LINE = re.compile(
    r"""\s*(?:export\s+)?(?P<key>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*
        (?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>[^']*)'|(?P<bare>.*?))
        \s*(?:(?:^|(?<=[\s"'=]))\#.*)?""",
    re.VERBOSE,
)
ESCAPE = re.compile(r"\\(.)")
MEANING = {"n": "\n", "r": "\r", "t": "\t"}


def read(path: Path) -> tuple[dict[str, str], list[int]]:
    """Return the file's variables, and the numbers of the lines that could not be read.

    The text of a bad line is never returned: it may hold a secret.
    """
    found: dict[str, str] = {}
    bad: list[int] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = LINE.fullmatch(line)
        if match is None or _is_unclosed(match["bare"]):
            bad.append(number)
        else:
            found[match["key"]] = _value(match)
    return found, bad


def _is_unclosed(bare: str | None) -> bool:
    return bool(bare) and bare[:1] in {'"', "'"}


def _value(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return ESCAPE.sub(lambda found: MEANING.get(found[1], found[1]), match["double"])
    return match["single"] if match["single"] is not None else match["bare"].strip()
