"""`make bench`: measure everything on this machine, print a table, write bench/results.json."""

import json
import sys
from pathlib import Path

from bench import customers, gate, opening, webhooks
from bench.result import Result, machine, record, table
from bench.town import Town, open_town

PARTS = {
    "gate": lambda town: gate.measure(town.admin),
    "webhooks": webhooks.measure,
    "opening": opening.measure,
    "customers": lambda town: customers.measure(town.admin),
}


def main() -> None:
    """Measure all parts, or those that are named."""
    named = sys.argv[1:] or list(PARTS)
    results: list[Result] = []
    with open_town() as town:
        for name in named:
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
