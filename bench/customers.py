"""Looking up a customer among a million."""

import time
from collections.abc import Iterator

import psycopg

from bench.result import Result, middle, spread

ROWS, LOOKUPS, ROUNDS = 1_000_000, 2_000, 5
FILL = """
    INSERT INTO tenure.users (id, created_at, updated_at)
    SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, now(), now()
      FROM generate_series(1, %(rows)s::int) n;
    """
CUSTOMERS = """
    INSERT INTO tenure.stripe_customers (user_id, stripe_customer_id, livemode)
    SELECT ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'cus_Bench' || n, false
      FROM generate_series(1, %(rows)s::int) n;
    """
LOOK_UP = """
    SELECT * FROM tenure.stripe_customers
     WHERE (org_id = %(org)s OR user_id = %(user)s) AND livemode = %(livemode)s
       AND deleted_at IS NULL
    """
SCAN = "SELECT * FROM tenure.stripe_customers WHERE customer_metadata ->> 'user' = %s"


def measure(url: str) -> Iterator[Result]:
    """Fill the table and look customers up by user, spread over all of it."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(FILL, {"rows": ROWS})
        conn.execute(CUSTOMERS, {"rows": ROWS})
        conn.execute("ANALYZE tenure.stripe_customers")
        rounds = [_round(conn, n) for n in range(ROUNDS)]
        began = time.perf_counter()
        conn.execute(SCAN, ("x",)).fetchone()
        scan = (time.perf_counter() - began) * 1000
    p99 = [p99 for _, p99 in rounds]
    yield Result(
        name="customer by user, 1,000,000 rows, p99",
        value=middle(p99),
        unit="ms",
        target="≤ 1",
        baseline=scan,
        against="the same without an index",
        spread=spread(p99),
    )
    p50 = [p50 for p50, _ in rounds]
    yield Result(
        name="customer by user, 1,000,000 rows, p50",
        value=middle(p50),
        unit="ms",
        spread=spread(p50),
    )


def _round(conn: psycopg.Connection, seed: int) -> tuple[float, float]:
    took: list[float] = []
    for n in range(LOOKUPS):
        number = (n * 7919 + seed * 104_729) % ROWS + 1
        user = f"00000000-0000-4000-8000-{number:012x}"
        began = time.perf_counter()
        row = conn.execute(LOOK_UP, {"org": None, "user": user, "livemode": False}).fetchone()
        took.append((time.perf_counter() - began) * 1000)
        if row is None:
            raise AssertionError(f"user {user} has no row")
    took.sort()
    return took[len(took) // 2], took[int(len(took) * 0.99)]
