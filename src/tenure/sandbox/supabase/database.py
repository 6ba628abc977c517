"""The database of the pretended project: made ready, and opened as Supabase Auth opens it."""

from importlib.resources import files

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tenure.base.db import DatabaseAway, Pool, open_pool
from tenure.base.errors import TenureError

OWNER = "supabase_auth_admin"
MARK = "Pretended by the sandbox of Tenure"


class ForeignAuth(TenureError):
    """The database has an `auth` schema that the sandbox did not make."""

    code = "sandbox.foreign_auth"
    hint = "Give the sandbox a database of its own; a real project's must not be touched."


def prepare(url: str) -> None:
    """Make the `auth` schema where it is not yet; `url` signs in as a role that may make roles.

    Errors: ForeignAuth, DatabaseAway.
    """
    try:
        conn = psycopg.connect(url, connect_timeout=10)
    except psycopg.OperationalError as exc:
        raise DatabaseAway(f"the database did not answer ({type(exc).__name__})") from exc
    with conn:
        row = conn.execute(
            "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'auth'"
        ).fetchone()
        if row is not None and row[0] != MARK:
            raise ForeignAuth("the database has an auth schema that the sandbox did not make")
        conn.execute(files("tenure.sandbox.supabase").joinpath("auth.sql").read_bytes())


def open_as_auth(url: str) -> Pool:
    """Open the pool as Supabase Auth does, so that triggers run with its rights and no more."""
    known = conninfo_to_dict(url)
    options = f"{known.get('options') or ''} -c role={OWNER} -c search_path=auth"
    return open_pool(make_conninfo(url, options=options.strip()), size=8)
