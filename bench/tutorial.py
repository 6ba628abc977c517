"""What the tutorials write: verify, read, one upsert in the request; no look, no order, no past."""

import json
import os

from svix.webhooks import Webhook
from workos import WorkOSClient

from bench.baseline import Receive, Scope, Send, answer, is_request, pool

SVIX = Webhook(os.environ.get("CLERK_WEBHOOK_SECRET") or "whsec_" + "AAAA" * 8)
WORKOS = WorkOSClient(api_key="sk_test_bench", client_id="client_bench")
WORKOS_SECRET = os.environ.get("WORKOS_WEBHOOK_SECRET", "")
TABLE = """
    CREATE TABLE IF NOT EXISTS bench_tutorial (
        id text PRIMARY KEY, org_id text, user_id text, role text, status text)
    """
UPSERT = """
    INSERT INTO bench_tutorial (id, org_id, user_id, role, status) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (id) DO UPDATE SET role = excluded.role, status = excluded.status
    """


async def clerk(scope: Scope, receive: Receive, send: Send) -> None:
    """Take a webhook of Clerk's."""
    if not await is_request(scope, receive, send):
        return
    raw = (await receive())["body"]
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    SVIX.verify(raw, headers)
    told = json.loads(raw)["data"]
    org, user = told["organization"]["id"], told["public_user_data"]["user_id"]
    await _upsert(told["id"], org, user, told["role"], "active")
    await answer(send)


async def workos(scope: Scope, receive: Receive, send: Send) -> None:
    """Take a webhook of WorkOS's."""
    if not await is_request(scope, receive, send):
        return
    raw = (await receive())["body"]
    header = next(v.decode() for k, v in scope["headers"] if k == b"workos-signature")
    event = WORKOS.webhooks.verify_event(
        event_body=raw, event_signature=header, secret=WORKOS_SECRET
    )
    told = event.to_dict()["data"]
    await _upsert(
        told["id"],
        told["organization_id"],
        told["user_id"],
        told["role"]["slug"],
        told["status"],
    )
    await answer(send)


async def _upsert(*row: str) -> None:
    async with pool[0].connection() as conn:
        await conn.execute(UPSERT, row)
