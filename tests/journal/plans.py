"""How Postgres would run a query of ours, asked while the query is run."""

import json
from collections.abc import Iterator
from typing import Any

from psycopg import AsyncCursor
from psycopg.rows import DictRow

from tenure.base.db import Tx


class Explained:
    """Passes statements on to a transaction and keeps the plan of each."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        self.plans: list[dict[str, Any]] = []

    async def execute(self, query: Any, params: Any = None) -> AsyncCursor[DictRow]:
        cur = await self.tx.execute("EXPLAIN (FORMAT JSON) " + query, params)
        row = await cur.fetchone()
        assert row is not None
        self.plans.append(row["QUERY PLAN"][0]["Plan"])
        return await self.tx.execute(query, params)

    def scanned(self) -> set[str]:
        """Name the tables that would be read from end to end."""
        return {
            node["Relation Name"]
            for plan in self.plans
            for node in nodes(plan)
            if node["Node Type"] == "Seq Scan"
        }

    def indexes(self) -> set[str]:
        return {
            node["Index Name"]
            for plan in self.plans
            for node in nodes(plan)
            if "Index Name" in node
        }

    def shown(self) -> str:
        return json.dumps(self.plans, indent=1)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)
