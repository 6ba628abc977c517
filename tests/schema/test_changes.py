from pathlib import Path

import pytest

from tenure.schema import changes
from tenure.schema.changes import BadChange, Change, expected


def write(where: Path, name: str, **files: str) -> None:
    (where / name).mkdir()
    for part in ("up", "verify", "down"):
        (where / name / f"{part}.sql").write_text(files.get(part, "SELECT 1"))
    if "objects" in files:
        (where / name / "objects.txt").write_text(files["objects"])


def test_a_change_lacks_no_part(tmp_path: Path) -> None:
    write(tmp_path, "0001_one")
    (tmp_path / "0001_one" / "down.sql").unlink()
    with pytest.raises(BadChange, match=r"0001_one: lacks \['down.sql'\]"):
        changes.load(tmp_path)


def test_numbers_have_no_gap_and_no_double(tmp_path: Path) -> None:
    write(tmp_path, "0001_one")
    write(tmp_path, "0003_three")
    with pytest.raises(BadChange, match="1, 2, 3"):
        changes.load(tmp_path)
    write(tmp_path, "0003_other")
    with pytest.raises(BadChange, match="1, 2, 3"):
        changes.load(tmp_path)


def test_a_badly_named_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "one")
    with pytest.raises(BadChange, match="one: is badly named"):
        changes.load(tmp_path)


def test_a_newer_queue_library_is_not_an_edit(tmp_path: Path) -> None:
    """B7: upgrading procrastinate does not make an applied change look edited."""
    write(tmp_path, "0001_jobs", up=f"{changes.INCLUDE}\n")
    (change,) = changes.load(tmp_path)
    assert "procrastinate_jobs" in change.up
    other = Change(
        number=1, name="0001_jobs", up="-- newer", verify="", down="", written=change.written
    )
    assert other.digest == change.digest


def test_later_changes_take_objects_away(tmp_path: Path) -> None:
    write(tmp_path, "0001_one", objects="# made by a script\ntable a.one\nindex a.two\n")
    write(tmp_path, "0002_two", objects="- index a.two\nindex a.three\n")
    one, two = changes.load(tmp_path)
    assert expected([one, two]) == [("table a.one", one), ("index a.three", two)]
    assert expected([one]) == [("index a.two", one), ("table a.one", one)]
