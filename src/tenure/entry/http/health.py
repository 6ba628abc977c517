"""Is the process up, is it ready, what has it done."""

from contextlib import suppress

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from tenure.base.db import DatabaseAway, Tx
from tenure.base.errors import TenureError
from tenure.entry.http import metrics
from tenure.entry.world import Service
from tenure.journal import store
from tenure.journal.model import Backlog
from tenure.schema import changes

router = APIRouter(tags=["health"])


@router.get("/health")
async def health() -> dict[str, str]:
    """Say that the process is up."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"description": "Not ready; `checks` says why"}})
async def ready(request: Request) -> JSONResponse:
    """Say whether requests can be served: database, schema version, verification keys."""
    service: Service = request.app.state.service
    checks = {
        "database": "ok",
        "schema": "ok",
        "stripe_key": "live" if service.world.settings.livemode else "test",
        "verification_keys": "ok",
    }
    try:
        async with service.world.db.statement() as tx:
            checks["schema"] = await _schema(tx)
    except TenureError as exc:
        checks |= {"database": exc.code, "schema": "unknown"}
    try:
        await service.gate.verifier.warm_up()
    except TenureError as exc:
        checks["verification_keys"] = exc.code
    good = {"ok", "test", "live"}
    is_ready = all(value in good for value in checks.values())
    body = {"status": "ready" if is_ready else "not ready", "checks": checks}
    return JSONResponse(body, 200 if is_ready else 503)


@router.get("/metrics", response_class=Response)
async def show_metrics(request: Request) -> Response:
    """Give this process's counters and the backlog, in Prometheus' text format."""
    service: Service = request.app.state.service
    backlogs: list[Backlog] | None = None
    with suppress(DatabaseAway):  # just then the counters are worth most
        async with service.world.db.statement() as tx:
            backlogs = await store.list_backlog(tx)
    return Response(metrics.rendered(backlogs), media_type="text/plain; version=0.0.4")


async def _schema(tx: Tx) -> str:
    """Compare the database's newest change with the newest that we carry."""
    cur = await tx.execute("SELECT to_regclass('tenure_changes.log') IS NOT NULL AS there")
    row = await cur.fetchone()
    if not row or not row["there"]:
        return "missing: run `tenure db apply`"
    cur = await tx.execute("SELECT max(number) AS newest FROM tenure_changes.log")
    row = await cur.fetchone()
    ours = changes.load()[-1].number
    found = int(row["newest"] or 0) if row else 0
    return "ok" if found >= ours else f"at {found}, needs {ours}: run `tenure db apply`"
