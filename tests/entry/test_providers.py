from collections.abc import Iterator
from typing import Any

import pytest

from tenure.base.db import Db, open_pool
from tenure.base.settings import Settings
from tenure.entry.providers import open_directories, readers
from tenure.identity.errors import ProviderAway, UsersHidden
from tenure.sandbox.clerk.app import Running, running_clerk
from tenure.sandbox.supabase.database import prepare

CLERK, WORKOS = {"clerk_secret_key": "sk_test_x"}, {"workos_api_key": "sk_x"}
SUPABASE = {"supabase_url": "https://x.supabase.co"}
PUBLISHABLE = "pk_live_Y2xlcmsuZXhhbXBsZS5jb20k"
EVENT = b'{"type":"user.created"}'


@pytest.mark.parametrize(
    ("given", "read", "asked"),
    [
        ({}, set(), set()),
        (SUPABASE, {"supabase"}, set()),  # its users are not in this database
        ({**SUPABASE, **CLERK}, {"clerk", "supabase"}, {"clerk"}),
        ({**SUPABASE, "clerk_issuer": "https://clerk.example.com"}, {"clerk"}, set()),
        ({"clerk_issuer": "https://clerk.example.com"}, {"clerk"}, set()),
        ({"clerk_webhook_secrets": ("whsec_YQ==",)}, {"clerk"}, set()),
        ({"workos_client_id": "client_x"}, {"workos"}, set()),
        ({"workos_webhook_secrets": ("x",)}, {"workos"}, set()),
        (CLERK, {"clerk"}, {"clerk"}),
        (WORKOS, {"workos"}, {"workos"}),
        ({**CLERK, **WORKOS}, {"clerk", "workos"}, {"clerk", "workos"}),
    ],
)
async def test_events_are_read_of_whom_we_know_and_asked_is_whom_we_have_a_key_for(
    given: dict[str, Any], read: set[str], asked: set[str], db: Db
) -> None:
    settings = Settings(**given)

    assert {name: reader.provider for name, reader in readers(settings).items()} == {
        name: name for name in read
    }
    async with open_directories(settings, db) as directories:
        assert {name: one.provider for name, one in directories.items()} == {
            name: name for name in asked
        }


async def test_supabase_auth_is_asked_where_its_users_stand_in_our_database(
    url: str, db: Db
) -> None:
    """A look costs no network; that nothing is installed yet is told when it is asked."""
    prepare(url)
    async with open_directories(Settings(**SUPABASE), db) as directories:
        assert set(directories) == {"supabase"}
        with pytest.raises(UsersHidden):
            await directories["supabase"].user("11111111-1111-1111-1111-111111111111")


async def test_a_database_that_is_away_holds_up_no_start() -> None:
    """B7: whoever starts first waits for nobody; the look is put off."""
    async with (
        open_pool("host=127.0.0.1 port=1 user=x dbname=x", size=1, timeout=0.2) as pool,
        open_directories(Settings(**SUPABASE), Db(pool)) as directories,
    ):
        with pytest.raises(ProviderAway):
            await directories["supabase"].users(None)


@pytest.mark.parametrize(
    ("given", "live"),
    [
        ({"clerk_secret_key": "sk_test_x", "stripe_secret_key": "sk_live_x"}, False),
        ({"clerk_secret_key": "sk_live_x", "stripe_secret_key": "sk_test_x"}, True),
        ({"clerk_issuer": "x", "clerk_publishable_key": PUBLISHABLE}, True),
        ({"clerk_issuer": "x", "stripe_secret_key": "sk_live_x"}, True),
        ({"clerk_issuer": "x"}, False),
    ],
)
def test_clerks_own_keys_say_whether_its_events_are_live(
    given: dict[str, Any],
    live: bool,  # noqa: FBT001 (a column of the table above)
) -> None:
    reader = readers(Settings(**given))["clerk"]

    assert reader.knock_of(EVENT, event_id="msg_1").livemode is live


@pytest.fixture
def clerk() -> Iterator[Running]:
    with running_clerk() as running:
        yield running


async def test_a_provider_is_asked_out_of_the_allowance_of_all_processes(
    clerk: Running, db: Db
) -> None:
    """Over a real socket, with the budget in the database."""
    settings = Settings(clerk_secret_key=clerk.secret_key, clerk_api_base=clerk.url)
    async with open_directories(settings, db) as directories:
        assert await directories["clerk"].user("user_none") is None

    async with db.statement() as tx:
        cur = await tx.execute("SELECT name FROM tenure.budgets")
        assert [row["name"] for row in await cur.fetchall()] == ["clerk:test"]
