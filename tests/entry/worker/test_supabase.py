"""Supabase Auth in the same database, and a worker as a process of its own."""

from supabase_auth import SyncGoTrueClient

from tenure.base.clock import SystemClock
from tenure.base.db import Db
from tenure.sandbox.supabase.app import running_supabase
from tenure.schema import supabase as overlay
from tests.entry.worker.street import Street, in_thread, until
from tests.journal.builders import rows

WHO = """
    SELECT u.email, u.deleted_at IS NOT NULL AS gone
      FROM tenure.identities i JOIN tenure.users u ON u.id = i.user_id WHERE i.provider = 'supabase'
    """


async def test_who_signs_up_is_known_and_who_is_deleted_is_gone(
    street: Street, url: str, db: Db
) -> None:
    """B1, B7: by the official client, through the trigger, into our rows; no webhook anywhere."""
    with running_supabase(url, clock=SystemClock()) as running:
        overlay.install(url)
        street.start("work", SUPABASE_URL=running.url, TENURE_IDENTITY="clerk,supabase")
        client = SyncGoTrueClient(
            url=f"{running.url}/auth/v1",
            headers={
                "apikey": running.service_role_key,
                "Authorization": f"Bearer {running.service_role_key}",
            },
            auto_refresh_token=False,
        )
        wanted = {"email": "ada@example.test", "password": "a long password"}
        made = await in_thread(client.admin.create_user, wanted)

        async def known() -> bool:
            return await rows(db, WHO) == [{"email": "ada@example.test", "gone": False}]

        await until(known)
        await in_thread(client.admin.delete_user, made.user.id)

        async def gone() -> bool:
            return [row["gone"] for row in await rows(db, WHO)] == [True]

        await until(gone)
        client.close()
