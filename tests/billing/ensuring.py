"""A process of its own that makes a customer: `python -m tests.billing.ensuring URL BOX OWNER N`.

It says `ready`, waits for a line, asks N times at once, and prints the ids it was given.
"""

import asyncio
import sys

from tenure.base.clock import SystemClock
from tenure.base.db import Db, open_pool
from tenure.base.ids import RandomIds
from tenure.billing.customers import Desk
from tenure.billing.model import Owner
from tenure.billing.stripe import Stripe

from .shop import WISH, nothing


async def main(url: str, box: str, name: str, times: int) -> None:
    owner = Owner.named(name)
    assert owner
    stripe = Stripe("sk_test_process", api_base=box, spend=nothing, timeout=60)
    async with open_pool(url, size=4) as pool:
        desk = Desk(db=Db(pool), stripe=stripe, clock=SystemClock(), ids=RandomIds())
        print("ready", flush=True)  # noqa: T201 (the parent waits for it)
        await asyncio.to_thread(sys.stdin.readline)
        asked = [desk.ensure(owner, WISH, actor="test") for _ in range(times)]
        for customer, made in await asyncio.gather(*asked):
            print(customer.stripe_customer_id, made, flush=True)  # noqa: T201 (as above)
    await stripe.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
