import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from tenure.base.budget import Budget, BudgetSpent
from tenure.base.db import Db, open_pool
from tenure.base.errors import TenureError


def a_budget(**changes: object) -> Budget:
    base: dict[str, object] = {
        "name": "stripe:test",
        "every": timedelta(milliseconds=20),
        "burst": 5,
    }
    return Budget(**base | changes)  # type: ignore[arg-type]


@pytest.fixture
async def three(url: str) -> AsyncIterator[list[Db]]:
    """Three pools, as three processes have."""
    async with AsyncExitStack() as stack:
        yield [
            Db(await stack.enter_async_context(open_pool(url, size=4, timeout=20)))
            for _ in range(3)
        ]


async def test_no_more_than_the_burst_and_one_each_step_over_all_processes(
    three: list[Db],
) -> None:
    """A7: Stripe's limits are respected by one budget across processes."""
    budget = a_budget()
    clock = asyncio.get_running_loop().time
    began, passed = clock(), list[float]()

    async def call(db: Db) -> None:
        await budget.spend(db)
        passed.append(clock() - began)

    await asyncio.gather(*(call(db) for db in three for _ in range(20)))

    assert len(passed) == 60
    for count, at in enumerate(sorted(passed), start=1):
        assert count <= budget.burst + at / budget.every.total_seconds()


async def test_what_nobody_used_is_saved_up_to_the_burst_only(three: list[Db]) -> None:
    budget = a_budget(every=timedelta(hours=1), burst=3, patience=timedelta(0))
    async with three[0].statement() as tx:
        await tx.execute(
            "INSERT INTO tenure.budgets VALUES (%s, now() - interval '1 year')", (budget.name,)
        )

    assert await _spent(three, budget, 10) == 3


async def test_a_turn_too_far_away_is_refused_and_nothing_is_taken(three: list[Db]) -> None:
    budget = a_budget(every=timedelta(hours=1), burst=2, patience=timedelta(minutes=1))

    assert await _spent(three, budget, 12) == 2

    async with three[0].statement() as tx:
        query = "SELECT next_free - clock_timestamp() AS away FROM tenure.budgets"
        row = await (await tx.execute(query)).fetchone()
    assert row is not None
    assert timedelta(minutes=59) < row["away"] <= timedelta(hours=1)


async def test_a_refusal_says_when_to_come_again(db: Db) -> None:
    budget = a_budget(every=timedelta(hours=1), burst=1, patience=timedelta(seconds=9))
    await budget.spend(db)

    with pytest.raises(BudgetSpent) as spent:
        await budget.spend(db)

    assert isinstance(spent.value, TenureError)
    assert spent.value.retry_after == timedelta(seconds=9)
    assert spent.value.facts == {"name": "stripe:test"}


async def test_budgets_of_other_names_are_other_budgets(db: Db) -> None:
    for name in ("stripe:test", "stripe:live"):
        await a_budget(name=name, every=timedelta(hours=1), burst=1).spend(db)


async def _spent(dbs: list[Db], budget: Budget, tries: int) -> int:
    answers = await asyncio.gather(
        *(budget.spend(dbs[n % len(dbs)]) for n in range(tries)), return_exceptions=True
    )
    refused = [one for one in answers if one is not None]
    assert {type(one) for one in refused} <= {BudgetSpent}
    return tries - len(refused)
