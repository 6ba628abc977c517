"""Whom the service and the worker sign in as: no superuser, so that the roles are real."""

from psycopg import sql

from tenure.schema import apply

NAME = "tenure_service"


def put_login(url: str, password: str) -> None:
    """Make the role where it is missing, and give it the password; `url` is a superuser's."""
    name = sql.Identifier(NAME)
    with apply.connect(url) as conn, conn.transaction():
        found = conn.execute("SELECT FROM pg_roles WHERE rolname = %s", (NAME,)).fetchone()
        if found is None:
            conn.execute(sql.SQL("CREATE ROLE {}").format(name))
        hashed = conn.pgconn.encrypt_password(password.encode(), NAME.encode(), b"scram-sha-256")
        conn.execute(
            sql.SQL(
                "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD {}"
            ).format(name, sql.Literal(hashed.decode()))
        )
        conn.execute(sql.SQL("GRANT tenure_app, tenure_worker TO {}").format(name))
