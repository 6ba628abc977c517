"""What an organization may read about itself."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from tenure.entry.http.errors import NotYours
from tenure.entry.http.guard import Caller, SignedIn
from tenure.gate import told
from tenure.journal import audit

router = APIRouter(prefix="/orgs/{org}", tags=["organizations"])

Org = Annotated[
    str,
    Path(
        max_length=255, description="Our key, the provider's id, or `current`", examples=["current"]
    ),
]


class LineOut(BaseModel):
    """One line of the audit log."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: dict[str, Any]


class AuditOut(BaseModel):
    """A page of the audit log, oldest first."""

    data: list[LineOut]
    next: int | None = Field(description="Give it as `after` for the next page")


@router.get("/subscription")
async def show_subscription(org: Org, caller: SignedIn) -> dict[str, Any]:
    """Explain whether the gate is open for the organization: why, since when, until when."""
    own(org, caller)
    gate = caller.service.gate
    return {"decision": told.decision(await gate.explain(caller.who))}


@router.get("/audit")
async def list_audit(
    org: Org,
    caller: SignedIn,
    after: Annotated[int, Query(ge=0, description="Lines behind this one")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AuditOut:
    """Read what was done in the organization, by whom and when."""
    chain = own(org, caller)
    async with caller.service.world.db.scoped(caller.scope) as tx:
        lines = await audit.list_lines(tx, chain, after=after, limit=limit)
    return audit_page(lines, limit=limit)


def audit_page(lines: Sequence[audit.Line], *, limit: int) -> AuditOut:
    """Make a page of lines; a full one is followed by another."""
    data = [LineOut.model_validate(line, from_attributes=True) for line in lines]
    return AuditOut(data=data, next=data[-1].seq if len(data) == limit else None)


def own(org: str, caller: Caller) -> UUID:
    """Check that the address names the caller's own organization; another one does not exist."""
    key = caller.facts.org_id
    if key is None or org not in {"current", str(key), caller.who.org_id}:
        raise NotYours("your session is not in that organization")
    return key
