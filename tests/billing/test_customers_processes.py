"""Get or create with several processes, and with one that is killed in the middle."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tenure.billing.model import Owner

from .shop import Shop, new_user, until
from .test_customers import generations, made_at_stripe

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def ready(url: str, shop: Shop, owner: Owner, times: int) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.billing.ensuring"),
        *(url, shop.box.url, str(owner), str(times)),
        cwd=ROOT,
        stdin=PIPE,
        stdout=PIPE,
    )
    try:
        assert process.stdout
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def go(process: Process) -> list[str]:
    out, _ = await process.communicate(b"go\n")
    assert process.returncode == 0
    return out.decode().split("\n")[:-1]


async def test_two_processes_at_once_make_one_customer(url: str, shop: Shop, org: Owner) -> None:
    """T4: many nodes."""
    async with ready(url, shop, org, 10) as one, ready(url, shop, org, 10) as two:
        lines = [line for out in await asyncio.gather(go(one), go(two)) for line in out]

    ids = {line.split()[0] for line in lines}
    assert len(lines) == 20
    assert made_at_stripe(shop) == list(ids)
    assert sum(line.endswith("True") for line in lines) == 1
    assert await shop.count("stripe_customers") == 1
    assert await shop.told() == ["customer.created"]


@pytest.mark.parametrize("moment", ["timeout", "latency"])
async def test_killed_before_our_commit_the_next_call_finds_the_same_customer(
    url: str, shop: Shop, moment: str
) -> None:
    """T4: process death, after Stripe acted (timeout) or before it did (latency)."""
    owner = await new_user(shop.db)
    shop.box.fault(moment, match="POST /v1/customers", seconds=1.5)
    async with ready(url, shop, owner, 1) as process:
        assert process.stdin
        process.stdin.write(b"go\n")
        await shop.until_asked("POST /v1/customers")
        process.kill()
        await process.wait()
    assert await shop.count("stripe_customers") == 0
    assert await generations(shop) == [1]
    await shop.hurry()
    await until(lambda: bool(made_at_stripe(shop)))  # Stripe does not know that nobody listens

    made = await shop.customer(owner)

    assert made_at_stripe(shop) == [made.stripe_customer_id]
    assert await generations(shop) == [1]
    assert await shop.told() == ["customer.created"]
