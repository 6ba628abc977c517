"""Make Supabase Auth a source of users: what that needs beside auth.users, put up and looked after.

It is no change of ours, because only databases of a Supabase project have that table, and it can
be put up and taken away while the changes stay as they are.
"""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString, cast

import psycopg

from tenure.base.errors import TenureError
from tenure.schema.apply import Conn, connect

# The digest says later which text was run; nothing else follows it.
SIGNED = (
    "\nCOMMENT ON SCHEMA tenure_supabase IS 'Supabase Auth as a source of users, text {digest}';\n"
)


class NotPutUp(TenureError):
    """Supabase Auth could not be made a source of users, or taken back; nothing was changed."""

    code = "schema.supabase_not_put_up"
    hint = "Mend the cause named above and run the command again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that must hold."""

    name: str
    wrong: str | None  # None: it holds
    is_only_old: bool = False  # it works, and a newer text is there


def folder() -> Path:
    """Say where the scripts lie: inside the installed package, or in the source tree."""
    installed = Path(__file__).parent / "supabase"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "db" / "supabase"


def script() -> LiteralString:
    """Give what makes Supabase Auth a source of users; it belongs in one transaction."""
    return cast("LiteralString", _text("auth_users") + SIGNED.format(digest=_digest()))


def install(url: str) -> None:
    """Make Supabase Auth a source of users, or renew what makes it one.

    Errors: NotPutUp, CannotLook, NotAllowed.
    """
    with connect(url) as conn, _saying(), conn.transaction():
        conn.execute(script())


def remove(url: str) -> bool:
    """Take it back; users stay as they are. False where there was nothing.

    Errors: NotPutUp, CannotLook, NotAllowed.
    """
    with connect(url) as conn, _saying(), conn.transaction():
        row = conn.execute("SELECT to_regnamespace('tenure_supabase') AS it").fetchone()
        conn.execute(_text("auth_users.remove"))
        return row is not None and row["it"] is not None


def check(url: str) -> list[Finding]:
    """List what must hold, and what does not.

    Errors: CannotLook, NotAllowed.
    """
    with connect(url) as conn:
        return look(conn)


def look(conn: Conn) -> list[Finding]:
    """List what must hold; where nothing is installed, or there is no auth.users, that alone."""
    rows = conn.execute(_text("auth_users.check"), {"digest": _digest()}).fetchall()
    told = [row for row in rows if row["alone"]][:1] or rows
    return [
        Finding(name=row["name"], wrong=row["wrong"], is_only_old=bool(row["wrong"]) and row["old"])
        for row in told
    ]


def _digest() -> str:
    return hashlib.sha256(_text("auth_users").encode()).hexdigest()[:16]


def _text(name: str) -> LiteralString:
    file = folder() / f"{name}.sql"
    return cast("LiteralString", file.read_text(encoding="utf-8"))  # our own files


@contextmanager
def _saying() -> Generator[None]:
    try:
        yield
    except psycopg.Error as exc:
        said = [
            exc.diag.message_primary or str(exc),
            exc.diag.message_detail,
            exc.diag.message_hint,
        ]
        raise NotPutUp("; ".join(part for part in said if part)) from exc
