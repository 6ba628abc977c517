"""The check of `tenure doctor` that asks each identity provider one thing with our key."""

import asyncio

import httpx
import psycopg
from psycopg.rows import dict_row

from tenure.base.settings import Settings
from tenure.entry.cli.checks_state import Conn, read_one
from tenure.entry.cli.result import Result, fail, ok, warn
from tenure.entry.providers import clerk_live
from tenure.identity.clerk import ClerkDirectory
from tenure.identity.directory import Directory
from tenure.identity.errors import ProviderTrouble
from tenure.identity.workos import WorkosDirectory

WAIT = 10  # seconds
ASKED = "it is taken; the provider is asked, events only knock"


def asked(settings: Settings, name: str) -> Result:
    """List users once, the oldest first, to see whether our key is taken and whose it is."""
    title = f"{name} key"
    try:
        users = asyncio.run(_first_users(settings, name))
    except TimeoutError:
        return fail(title, "the provider does not answer", "Check the network, and its status.")
    except ProviderTrouble as exc:
        return fail(title, str(exc), exc.hint)
    if users and not _knows_any(settings, name, users):
        return warn(
            title,
            f"it is taken, and none of the first {len(users)} users there is known here",
            f"Run `tenure sync backfill {name}`. If you did: is the key of another instance?",
        )
    return ok(title, ASKED)


async def _first_users(settings: Settings, name: str) -> list[str]:
    """List the ids of a page of users.

    Errors: ProviderTrouble, TimeoutError.
    """
    async with asyncio.timeout(WAIT), httpx.AsyncClient() as http:
        page = await _directory(settings, name, http).users(None)
    return [user.id for user in page.items]


def _directory(settings: Settings, name: str, http: httpx.AsyncClient) -> Directory:
    if name == "clerk":
        return ClerkDirectory(
            settings.clerk_secret_key,
            livemode=clerk_live(settings),
            api_base=settings.clerk_api_base,
            http=http,
            spend=_at_once,
        )
    base, key = settings.workos_api_base, settings.workos_api_key
    return WorkosDirectory(key, api_base=base, http=http, spend=_at_once)


async def _at_once() -> None:
    """Wait for no turn: the share of the rate is kept in a database that may be away."""


def _knows_any(settings: Settings, name: str, users: list[str]) -> bool:
    """Say whether one of them is known; where the database cannot say, others complain of that."""
    try:
        with Conn.connect(
            settings.database_url,
            autocommit=True,
            row_factory=dict_row,
            prepare_threshold=None,
            connect_timeout=WAIT,
        ) as conn:
            row = read_one(
                conn,
                """
                SELECT EXISTS (SELECT FROM tenure.identities
                                WHERE provider = %s AND external_id = ANY (%s)) AS known
                """,
                name,
                users,
            )
    except psycopg.Error:
        return True
    return bool(row["known"])
