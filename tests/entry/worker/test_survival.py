"""Processes that are killed, restarted, doubled and cut off: the tables end equal to Stripe."""

import asyncio
import itertools
import signal
import subprocess
from pathlib import Path

import httpx

from tenure.base.db import DatabaseAway
from tenure.sandbox.clerk.app import Running
from tenure.sandbox.stripe.running import Box
from tenure.schema import apply, changes
from tests.billing.shop import Shop, new_org
from tests.billing.truth import at_stripe, in_tables
from tests.conftest import Frail, recreate
from tests.entry.worker.street import Street, a_shop, a_street, change, event, in_thread, until

NUMBERS = itertools.count(1)


async def a_customer(shop: Shop) -> str:
    """Make a customer with a subscription that our tables know nothing of yet."""
    owner = await new_org(shop.db, next(NUMBERS))  # Stripe outlives a test, and knows old owners
    made = await shop.customer(owner)
    await in_thread(shop.subscribe, made.stripe_customer_id)
    return made.stripe_customer_id


async def are_equal(shop: Shop, customer: str) -> bool:
    ours = await in_tables(shop, customer)
    theirs = await in_thread(at_stripe, shop.merchant, customer, sorted(ours["bought"]))
    return bool(ours["bought"]) and ours == theirs


async def converged(shop: Shop, customer: str) -> None:
    async def holds() -> bool:
        return await are_equal(shop, customer)

    await until(holds, within=60)


async def test_a_worker_killed_between_look_and_write_is_followed_by_another(
    street: Street, shop: Shop
) -> None:
    """M6, T8: SIGKILL while it looks; its lease ends, the next one looks anew."""
    customer = await a_customer(shop)
    shop.box.control("DELETE", "/requests")
    shop.box.fault("latency", count=-1, match="GET /v1/customers/", seconds=60)
    first = street.start("work")
    await until(lambda: shop.asked("GET /v1/customers/{id}") > 0)
    street.end(first)
    shop.box.control("DELETE", "/faults")
    (left,) = await shop.rows(
        "SELECT fence, settled_seq FROM tenure.subjects WHERE kind = 'stripe.customer'"
    )
    assert (left["fence"], left["settled_seq"]) == (1, 0)

    street.start("work")

    await converged(shop, customer)
    (row,) = await shop.rows("SELECT fence FROM tenure.subjects WHERE kind = 'stripe.customer'")
    assert row["fence"] >= 2


async def test_two_workers_on_one_subject_write_each_change_once(
    street: Street, shop: Shop
) -> None:
    """M6: claims are leased and fenced, so two processes never write one change twice."""
    customer = await a_customer(shop)
    for _ in range(2):
        street.start("work")
    await converged(shop, customer)
    subscription = (
        await in_thread(shop.merchant.v1.subscriptions.list, {"customer": customer})
    ).data[0]

    for quantity in range(2, 12):
        await in_thread(change, shop, subscription, quantity)
        await shop.mark(customer)
    await converged(shop, customer)

    told = await shop.rows(
        """
        SELECT details -> 'items' -> 0 ->> 'quantity' AS quantity FROM tenure.audit_log
         WHERE action = 'subscription.items_changed' ORDER BY seq
        """
    )
    said = [int(line["quantity"]) for line in told]
    assert said == sorted(set(said))
    assert said[-1] == 11
    assert (await shop.told()).count("subscription.started") == 1


async def test_while_stripe_fails_a_subject_is_put_off_and_converges_after(
    street: Street, shop: Shop
) -> None:
    """T5, M6: its trouble is written down where people look, and ends by itself."""
    customer = await a_customer(shop)
    shop.box.fault("500", count=-1, match="GET /v1/")
    street.start("work")

    async def is_put_off() -> bool:
        rows = await shop.rows(
            "SELECT attempts, last_error FROM tenure.subjects WHERE kind = 'stripe.customer'"
        )
        return bool(rows[0]["last_error"] and rows[0]["attempts"] >= 2)

    await until(is_put_off)
    (row,) = await shop.rows(
        "SELECT last_error FROM tenure.subjects WHERE kind = 'stripe.customer'"
    )
    assert row["last_error"].startswith("billing.stripe_failed")
    shop.box.control("DELETE", "/faults")

    await converged(shop, customer)
    (row,) = await shop.rows(
        "SELECT last_error, attempts FROM tenure.subjects WHERE kind = 'stripe.customer'"
    )
    assert (row["last_error"], row["attempts"]) == (None, 0)


async def test_a_tick_revives_what_no_wake_was_left_for(street: Street, shop: Shop) -> None:
    """M6: jobs only wake; the rows say what is due. A dead worker's locks go, too."""
    customer = await a_customer(shop)
    async with shop.db.statement() as tx:
        await tx.execute("DELETE FROM procrastinate.procrastinate_jobs")
        await tx.execute(
            """
            INSERT INTO procrastinate.procrastinate_jobs (queue_name, task_name, lock, status)
            VALUES ('tenure', 'sweep', 'sweep', 'doing')
            """
        )

    street.start("work")

    await converged(shop, customer)

    async def is_free() -> bool:
        query = "SELECT FROM procrastinate.procrastinate_jobs WHERE lock = 'sweep'"
        return not await shop.rows(query)

    await until(is_free)


async def test_a_killed_service_has_kept_every_event_it_acknowledged(
    street: Street, shop: Shop
) -> None:
    """T8: fifty in flight, SIGKILL, and each 200 is in the inbox."""
    service = await street.serve()

    async def send(client: httpx.AsyncClient, number: int) -> int:
        raw, headers = event(number)
        try:
            answer = await client.post("/webhooks/stripe", content=raw, headers=headers)
        except httpx.HTTPError:
            return -1
        return number if answer.status_code == 200 else -1

    async with httpx.AsyncClient(base_url=street.service) as client:
        sending = [asyncio.create_task(send(client, n)) for n in range(50)]
        await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
        street.end(service)
        acknowledged = {f"evt_{n}" for n in await asyncio.gather(*sending) if n >= 0}

    kept = {row["event_id"] for row in await shop.rows("SELECT event_id FROM tenure.inbox")}
    assert acknowledged
    assert acknowledged <= kept


async def test_told_to_stop_both_end_in_peace(street: Street) -> None:
    """B7: SIGTERM, exit status 0, within ten seconds, and nothing is left running."""
    service, worker = await street.serve(), street.start("work")
    await until(lambda: "worker.started" in street.logs())

    for process in (service, worker):
        process.send_signal(signal.SIGTERM)

    for process in (service, worker):
        assert await in_thread(process.wait, 10) == 0, street.logs()
        assert _children(process) == []


def _children(process: subprocess.Popen[bytes]) -> list[str]:
    """List who is left of a process and of all that it started."""
    left = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == process.pid and fields[0] != "Z":
            left.append(stat.parent.name)
    return left


async def test_postgres_restarted_in_the_middle_loses_nothing(
    frail: Frail, tmp_path: Path, outside: tuple[Box, Running, int], box: Box
) -> None:
    """M6, T8: what was acknowledged is there, what was refused is taken later, all converges."""
    address = recreate(frail.on(), "tenure_survival", "template0")
    apply.apply(address, changes.load())
    with a_street(tmp_path, address, box, outside[1], outside[2]) as street:
        await street.serve()
        street.start("work")
        async with (
            a_shop(address, box) as shop,
            httpx.AsyncClient(base_url=street.service) as client,
        ):
            customer = await a_customer(shop)
            await converged(shop, customer)
            sending = asyncio.create_task(_sent_until_taken(client, customer, 40))
            frail.off()
            subscriptions = shop.merchant.v1.subscriptions
            (bought,) = (await in_thread(subscriptions.list, {"customer": customer})).data
            await in_thread(change, shop, bought, 7)
            frail.on()

            taken = await sending
            kept = {row["event_id"] for row in await _patiently(shop)}
            assert taken <= kept
            await converged(shop, customer)


async def _sent_until_taken(client: httpx.AsyncClient, customer: str, count: int) -> set[str]:
    """Send events one after the other, each again until it is taken, as Stripe does."""
    for number in range(count):
        for _ in range(600):
            raw, headers = event(number, customer)
            answer = await client.post("/webhooks/stripe", content=raw, headers=headers, timeout=30)
            if answer.status_code == 200:
                break
            assert answer.status_code == 503
            await asyncio.sleep(0.1)
    return {f"evt_{number}" for number in range(count)}


async def _patiently(shop: Shop) -> list:
    while True:
        try:
            return await shop.rows("SELECT event_id FROM tenure.inbox")
        except DatabaseAway:
            await asyncio.sleep(0.1)
