import json
import stat
from pathlib import Path

import pytest

from tenure.base.ids import CountedIds
from tenure.entry.local.errors import AlreadyRunning
from tenure.entry.local.home import Home, open_home


def test_secrets_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    home = Home(path=tmp_path)
    made = home.secrets(CountedIds(1))
    assert home.secrets(CountedIds(2)) == made
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    assert "secrets.json.new" not in [path.name for path in tmp_path.iterdir()]


def test_a_secret_of_a_newer_release_is_added_to_those_that_stand(tmp_path: Path) -> None:
    home = Home(path=tmp_path)
    made = home.secrets(CountedIds(1))
    kept = json.loads((tmp_path / "secrets.json").read_text())
    del kept["clerk_secret_key"]
    home.keep("secrets.json", kept)
    again = home.secrets(CountedIds(2))
    assert again.database_password == made.database_password
    assert again.clerk_secret_key != made.clerk_secret_key


def test_two_do_not_work_in_one_directory(tmp_path: Path) -> None:
    path = tmp_path / "new"
    with open_home(path), pytest.raises(AlreadyRunning), open_home(path):
        pass
    with open_home(tmp_path / "new") as home:
        assert home.path == tmp_path / "new"


def test_nothing_of_it_gets_into_a_repository(tmp_path: Path) -> None:
    with open_home(tmp_path / "new") as home:
        assert (home / ".gitignore").read_text() == "*\n"
