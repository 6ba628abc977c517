"""`make bench`: measure everything on this machine, print a table, write bench/results.json."""

import json
import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from bench import customers, events, gate, opening, sweep, verify, webhooks
from bench.result import Result, machine, record, table
from bench.town import Town, open_town

PARTS: dict[str, Callable[[Town], Iterator[Result]]] = {
    "gate": gate.measure,
    "webhooks": webhooks.measure,
    "opening": opening.measure,
    "verify": lambda _: verify.measure(),
    "clerk": events.measure,
    "sweep": sweep.measure,
    "customers": lambda town: customers.measure(town.admin),
    "workos": events.measure,  # last, because it needs another town
}


def main() -> None:
    """Measure all parts, or those that are named."""
    named = sys.argv[1:] or list(PARTS)
    results: list[Result] = []
    for who, some in groupby(named, key=lambda name: "workos" if name == "workos" else "clerk"):
        with open_town(who) as town:
            for name in some:
                results += _part(town, name)
    print()
    print(table(results))
    print(machine())
    if named == list(PARTS):
        path = Path(__file__).with_name("results.json")
        path.write_text(json.dumps(record(results), indent=2, ensure_ascii=False) + "\n")
        print(f"written to {path.name}")


def _part(town: Town, name: str) -> list[Result]:
    found: list[Result] = []
    for result in PARTS[name](town):
        found.append(result)
        print(f"{name}: {result.name}: {result.value:.4g} {result.unit}", flush=True)
    return found


if __name__ == "__main__":
    main()
