import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
REASON = re.compile(r"# (noqa: [A-Z0-9, ]+|pyright: ignore\[[\w, ]+\])(?P<reason>.*)")


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 (git, wherever it is)
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def _texts() -> dict[str, str]:
    texts = {}
    for path in _tracked():
        try:
            texts[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return texts


def test_locks_name_no_host_and_pin_every_package_with_a_hash() -> None:
    for lock in sorted((ROOT / "requirements").glob("*.lock")):
        text = lock.read_text()
        assert "://" not in text, f"{lock.name} names a host"
        assert "index-url" not in text
        packages = re.split(r"\n(?=\S)", text.strip())
        assert [p.split()[0] for p in packages if "--hash=sha256:" not in p] == []


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    home = re.compile("/" + "work/" + "|/" + "root/" + "|/home/" + r"\w")

    assert [name for name, text in _texts().items() if home.search(text)] == []


def test_every_silenced_check_has_a_reason_beside_it() -> None:
    bare = [
        f"{name}:{number}"
        for name, text in _texts().items()
        if name.endswith(".py")
        for number, line in enumerate(text.splitlines(), 1)
        if (found := REASON.search(line)) and "(" not in found["reason"]
    ]

    assert bare == []


def test_no_test_is_skipped_or_sleeps() -> None:
    forbidden = re.compile(r"pytest\.skip|mark\.skip|mark\.xfail|importorskip|mocker\.patch")

    assert [
        name
        for name, text in _texts().items()
        if name.startswith("tests/")
        and not name.endswith("test_words.py")
        and forbidden.search(text)
    ] == []
