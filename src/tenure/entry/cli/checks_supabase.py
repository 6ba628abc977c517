"""The check of `tenure doctor` that says whether we hear of the users of Supabase Auth."""

import psycopg
from psycopg.rows import DictRow

from tenure.base.settings import Settings
from tenure.entry.cli.result import Results, fail, ok, warn
from tenure.schema import supabase as overlay

NAME = "supabase users"
INSTALL = "Run `tenure db supabase --install` as the role postgres."


def supabase_users(conn: psycopg.Connection[DictRow], settings: Settings) -> Results:
    """See whether changes of auth.users reach us, where Supabase Auth says who people are."""
    if "supabase" not in settings.trusted:
        return
    found = overlay.look(conn)
    wrong = [one for one in found if one.wrong]
    said = "; ".join(f"{one.name}: {one.wrong}" for one in wrong)
    if not wrong:
        yield ok(NAME, "every change of auth.users marks its user, and the worker may read them")
    elif wrong[0].name == "auth.users":
        what = "this database has no auth.users: users are known by their tokens alone"
        yield warn(NAME, what, "Let DATABASE_URL name the Supabase project's own database.")
    elif all(one.is_only_old for one in wrong):
        yield warn(NAME, said, INSTALL)
    else:
        yield fail(NAME, said, INSTALL)
