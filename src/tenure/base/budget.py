"""One allowance of calls for all processes on all machines, kept in Postgres."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from tenure.base.db import Db
from tenure.base.errors import TenureError


class BudgetSpent(TenureError):
    """So many calls wait for their turn already that this one would wait too long."""

    code: ClassVar[str] = "base.budget_spent"
    hint: ClassVar[str] = "Try again in a moment; raise the rate only with the provider's consent."

    def __init__(self, name: str, retry_after: timedelta) -> None:
        super().__init__(f"the allowance {name} is spent", name=name)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`burst` calls at once, then one each `every`, over all processes together.

    Source: the generic cell rate algorithm, ITU-T I.371, annex A: one timestamp for each name.
    """

    name: str  # "stripe:test"
    every: timedelta
    burst: int
    patience: timedelta = timedelta(seconds=10)

    async def spend(self, db: Db) -> None:
        """Take one call, waiting for its turn.

        Errors: BudgetSpent when the turn is more than `patience` away; nothing is taken then.
        """
        async with db.statement() as tx:
            cur = await tx.execute(
                """
                INSERT INTO tenure.budgets AS b (name, next_free)
                VALUES (%(name)s, clock_timestamp() - %(slack)s + %(every)s)
                ON CONFLICT (name) DO UPDATE
                   SET next_free = greatest(b.next_free, clock_timestamp() - %(slack)s) + %(every)s
                 WHERE b.next_free <= clock_timestamp() + %(patience)s
                RETURNING b.next_free - %(every)s - clock_timestamp() AS wait
                """,
                {
                    "name": self.name,
                    "every": self.every,
                    "slack": self.every * (self.burst - 1),
                    "patience": self.patience,
                },
            )
            row = await cur.fetchone()
        if row is None:
            raise BudgetSpent(self.name, self.patience)
        await asyncio.sleep(max(0.0, row["wait"].total_seconds()))
