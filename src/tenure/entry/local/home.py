"""The directory that keeps everything of one world: data, secrets, ports, logs."""

import fcntl
import json
import os
from base64 import b64encode
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tenure.base.ids import Ids
from tenure.entry.local.errors import AlreadyRunning


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What the processes of this machine show each other; made once, for one world."""

    database_password: str
    stripe_secret_key: str
    stripe_webhook_secret: str
    clerk_secret_key: str
    clerk_webhook_secret: str
    workos_api_key: str
    workos_client_id: str
    workos_webhook_secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where one world lives."""

    path: Path

    def __truediv__(self, name: str) -> Path:
        """Name a file in it."""
        return self.path / name

    @property
    def notes(self) -> Path:
        """Where each running process is noted."""
        return self.path / "run"

    def secrets(self, ids: Ids) -> Secrets:
        """Read the secrets, or make them where the world is new."""
        kept = self.kept("secrets.json")
        makers: Mapping[str, Callable[[], str]] = {
            "database_password": lambda: ids.token("", 32),
            "stripe_secret_key": lambda: ids.token("sk_test_", 32),
            "stripe_webhook_secret": lambda: ids.token("whsec_", 32),
            "clerk_secret_key": lambda: ids.token("sk_test_", 40),
            "clerk_webhook_secret": lambda: "whsec_" + _base64(ids.token("", 24)),
            "workos_api_key": lambda: ids.token("sk_test_", 40),
            "workos_client_id": lambda: ids.token("client_", 26),
            "workos_webhook_secret": lambda: ids.token("", 32),
        }
        whole = {name: str(kept.get(name) or make()) for name, make in makers.items()}
        if whole != kept:
            self.keep("secrets.json", whole)
        return Secrets(**whole)

    def kept(self, name: str) -> dict[str, object]:
        """Read a file of ours; empty where there is none."""
        path = self / name
        if not path.is_file():
            return {}
        return cast("dict[str, object]", json.loads(path.read_text(encoding="utf-8")))

    def keep(self, name: str, what: Mapping[str, object]) -> None:
        """Write a file of ours, for its owner's eyes only."""
        write_private(self / name, json.dumps(what, indent=2) + "\n")


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


@contextmanager
def open_home(path: Path) -> Generator[Home]:
    """Make the directory where it is new, and hold it alone for as long as the block lasts.

    Errors:  AlreadyRunning.
    Promise: the hold ends with our process, however that ends.
    """
    home = Home(path=path.resolve())
    home.notes.mkdir(parents=True, exist_ok=True)
    (home / ".gitignore").write_text("*\n")  # nothing in here belongs into a repository
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise AlreadyRunning(f"{home.path} is in use by another `tenure up`") from exc
        yield home
