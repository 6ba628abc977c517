"""Up, ready, and what was done: each told even when something is away."""

from dataclasses import replace

import pytest

from tenure.base.db import Db, open_pool
from tenure.sandbox.stripe.running import Box
from tests.conftest import recreate
from tests.entry.http.house import House, a_house, settings_for
from tests.identity.clerk_scene import Scene


async def test_health_says_that_the_process_is_up(house: House) -> None:
    """T2: whatever else is away."""
    answer = await house.http.get("/health")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_ready_names_every_check(house: House) -> None:
    """T2: database, schema version, keys."""
    answer = await house.http.get("/ready")

    assert (answer.status_code, answer.json()) == (
        200,
        {
            "status": "ready",
            "checks": {
                "database": "ok",
                "schema": "ok",
                "stripe_key": "test",
                "verification_keys": "ok",
            },
        },
    )


async def test_without_the_database_nothing_is_ready_and_health_is(scene: Scene, box: Box) -> None:
    """T2: 503 with the check that failed; the process itself is well, and its counters are told."""
    away = "host=127.0.0.1 port=9 user=nobody dbname=none"
    found = settings_for(away, stripe=box.url, clerk=scene.clerk.url)
    pool = open_pool(away)
    async with a_house(found, Db(pool), scene=scene, box=box) as house:
        answer = await house.http.get("/ready")
        health = await house.http.get("/health")
        metrics = await house.http.get("/metrics")

    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert answer.json()["checks"]["database"] == "base.database_away"
    assert health.status_code == 200
    assert (metrics.status_code, "tenure_database_up 0.0" in metrics.text) == (200, True)


@pytest.mark.parametrize("has_table", [False, True])
async def test_a_schema_that_is_behind_is_not_ready(
    *, admin: str, scene: Scene, box: Box, has_table: bool
) -> None:
    """T2: it says which version, and the command that brings it up to date."""
    address = recreate(admin, "tenure_behind", "template0")
    found = settings_for(address, stripe=box.url, clerk=scene.clerk.url)
    async with a_house(found, None, scene=scene, box=box) as made:  # type: ignore[arg-type]
        house = replace(made, db=made.service.world.db)
        if has_table:
            async with house.db.statement() as tx:
                await tx.execute("CREATE SCHEMA tenure_changes")
                await tx.execute("CREATE TABLE tenure_changes.log AS SELECT 1 AS number")
        answer = await house.http.get("/ready")

    said = answer.json()["checks"]["schema"]
    assert answer.status_code == 503
    assert said.endswith("run `tenure db apply`")
    assert said.startswith("at 1" if has_table else "missing")


async def test_without_verification_keys_nothing_is_ready(house: House) -> None:
    """T2: tokens could not be verified."""
    house.scene.fail()
    try:
        answer = await house.http.get("/ready")
    finally:
        house.scene.heal()

    assert answer.status_code == 503
    assert answer.json()["checks"]["verification_keys"] == "identity.keys_unavailable"


async def test_metrics_are_prometheus_text_with_the_backlog(house: House) -> None:
    await house.knock(house.event())
    await house.http.get("/a/path/that/a/stranger/made/up")

    answer = await house.http.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert 'tenure_requests_total{door="/webhooks/stripe",status="200"}' in answer.text
    assert 'tenure_requests_total{door="unknown",status="404"}' in answer.text
    assert "stranger" not in answer.text
    assert 'tenure_subjects_due{kind="stripe.customer"} 1.0' in answer.text
    assert "tenure_database_up 1.0" in answer.text
