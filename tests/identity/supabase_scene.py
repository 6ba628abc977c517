"""A database with the `auth` schema of Supabase, where Tenure listens; people come and go in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tenure.sandbox.supabase.database import prepare
from tenure.schema import supabase as overlay

Conn = psycopg.Connection[dict[str, Any]]
ADA, BOB, CAT = (UUID(int=n << 96 | n) for n in (0xADA, 0xB0B, 0xCA7))


@dataclass(frozen=True, kw_only=True)
class Scene:
    """`auth`: signed in as Supabase Auth itself is; `conn`: sees everything."""

    url: str
    auth: Conn
    conn: Conn

    def signs_up(self, user: UUID, **columns: object) -> str:
        """Insert a user as Supabase Auth does."""
        values = {
            "id": user,
            "aud": "authenticated",
            "role": "authenticated",
            "email": f"{user.hex[-3:]}@example.test",
            "raw_user_meta_data": {"full_name": "Ada Lovelace"},
            "created_at": "2026-03-01T10:00:00Z",
            "updated_at": "2026-03-01T10:00:00Z",
        } | columns
        add = sql.SQL("INSERT INTO auth.users ({}) VALUES ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Placeholder, values)),
        )
        self.auth.execute(add, _plain(values))
        return str(user)

    def changes(self, user: UUID, **columns: object) -> None:
        """Update a user, and nothing but these columns."""
        assignments = [
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name))
            for name in columns
        ]
        change = sql.SQL("UPDATE auth.users SET {} WHERE id = %(_id)s").format(
            sql.SQL(", ").join(assignments)
        )
        self.auth.execute(change, _plain(columns) | {"_id": user})

    def goes(self, user: UUID) -> None:
        """Delete a user for good."""
        self.auth.execute("DELETE FROM auth.users WHERE id = %s", (user,))

    def marks(self) -> dict[str, int]:
        """Say how often each user was marked."""
        rows = self.conn.execute(
            "SELECT id, dirty_seq FROM tenure.subjects WHERE kind = 'supabase.user'"
        )
        return {row["id"]: row["dirty_seq"] for row in rows}

    def wakes(self) -> int:
        """Count the jobs that wait for a worker."""
        row = self.conn.execute(
            """
            SELECT count(*) AS n FROM procrastinate.procrastinate_jobs
             WHERE queue_name = 'reconcile:supabase.user' AND task_name = 'reconcile'
               AND args = '{"kind": "supabase.user"}' AND status = 'todo'
            """
        ).fetchone()
        return row["n"] if row else 0


@contextmanager
def a_scene(url: str, *, installed: bool = True) -> Iterator[Scene]:
    prepare(url)
    if installed:
        overlay.install(url)
    with as_auth(url) as auth, opened(url) as conn:
        yield Scene(url=url, auth=auth, conn=conn)


def as_auth(url: str) -> Conn:
    """Sign in with the rights of Supabase Auth, and no more."""
    return psycopg.connect(
        url,
        autocommit=True,
        row_factory=dict_row,
        options="-c role=supabase_auth_admin -c search_path=auth",
    )


def opened(url: str) -> Conn:
    return psycopg.connect(url, autocommit=True, row_factory=dict_row)


def _plain(values: dict[str, object]) -> dict[str, object]:
    return {k: Jsonb(v) if isinstance(v, dict) else v for k, v in values.items()}
