"""How Postgres would run a query of ours, asked while the query is run."""

import json
from collections.abc import Iterator
from typing import Any

from psycopg import AsyncCursor
from psycopg.errors import Diagnostic
from psycopg.rows import DictRow

from tenure.base.db import Tx

INSIDE = {
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
    "client_min_messages": "notice",
}


class Explained:
    """Passes statements on to a transaction and keeps the plan of each."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        self.plans: list[dict[str, Any]] = []

    async def look_inside(self) -> None:
        """Keep the plans of statements inside functions as well."""
        self.tx.add_notice_handler(self._noted)
        await self.tx.execute("LOAD 'auto_explain'")
        for name, value in INSIDE.items():
            await self.tx.execute("SELECT set_config(%s, %s, false)", (name, value))

    def _noted(self, notice: Diagnostic) -> None:
        text = notice.message_primary or ""
        if "plan:" in text:
            self.plans.append(json.loads(text.split("plan:", 1)[1])["Plan"])

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
