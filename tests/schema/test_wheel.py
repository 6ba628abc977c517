"""The wheel that people install carries the changes."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tenure.schema import changes

ROOT = Path(__file__).parents[2]
LOOK = """
import json
from tenure.schema import changes, check, supabase
digests = [change.digest for change in changes.load()]
lengths = [len(check._catalog("objects")), len(supabase.script())]
print(json.dumps([changes.__file__, digests, lengths]))
"""


def test_an_installed_tenure_finds_its_changes_and_catalog_queries(tmp_path: Path) -> None:
    """S1: `tenure db apply` works from the wheel, without the source tree."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)  # noqa: S603 (our own arguments)
    (wheel,) = tmp_path.glob("*.whl")
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)

    looked = subprocess.run(  # noqa: S603 (our own arguments)
        [sys.executable, "-c", LOOK],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        check=True,
        capture_output=True,
        text=True,
    )
    found, digests, lengths = json.loads(looked.stdout)
    assert Path(found).is_relative_to(unpacked)
    assert digests == [change.digest for change in changes.load()]
    assert all(lengths)
