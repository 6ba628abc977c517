"""Who is asking, as our rows say: no claim of a token is repeated here as truth."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field

from tenure.base.db import Scope
from tenure.entry.http.errors import NotAllowed
from tenure.entry.http.guard import Authorization, Caller
from tenure.entry.http.orgs import AuditOut, audit_page
from tenure.entry.world import Service
from tenure.gate import told
from tenure.gate.check import not_signed_in
from tenure.gate.model import Needs, Reason
from tenure.identity import members_list, store
from tenure.identity.errors import NotProven, UserDeleted
from tenure.identity.members_list import ListedOrganization, Place, ToldStatus
from tenure.identity.model import Organization, OrgId, UserId
from tenure.identity.session import bearer
from tenure.journal import audit

router = APIRouter(tags=["me"])
NOW = Needs(subscription=False, fresh=True)  # rows are read here anyway, so none may be older


class UserOut(BaseModel):
    """A person."""

    id: UUID = Field(description="Our key")
    email: str | None = Field(examples=["ada@example.com"])
    name: str | None = Field(examples=["Ada Lovelace"])
    provider: str = Field(examples=["clerk"])
    external_id: str = Field(description="The provider's id", examples=["user_ExampleOnly"])


class MineOut(BaseModel):
    """An organization that she belongs to."""

    id: UUID = Field(description="Our key")
    external_id: str | None = Field(description="The provider's id", examples=["org_ExampleOnly"])
    name: str = Field(examples=["Analytical Engines"])
    slug: str | None
    role: str = Field(examples=["admin"])
    status: ToldStatus
    holds_seat: bool
    joined_at: datetime | None


class ActiveOut(BaseModel):
    """The organization that she acts for now."""

    id: UUID
    external_id: str | None
    name: str
    slug: str | None
    role: str


class MeOut(BaseModel):
    """Who is asking."""

    user: UserOut
    active: ActiveOut | None = Field(description="null: she acts for herself, or is no member")
    organizations: list[MineOut]
    next: str | None = Field(description="Give it as `after` for the next page of organizations")
    decision: dict[str, Any] = Field(description="Whether the gate is open, why, until when")


async def _somebody(request: Request, authorization: Authorization = None) -> Caller:
    """Let in whoever is signed in, a member of the organization that her token names or not."""
    service: Service = request.app.state.service
    try:
        token = bearer(authorization)
        who = service.gate.verifier.recall(token) or await service.gate.verifier.verify(token)
    except NotProven as exc:
        raise NotAllowed(not_signed_in(exc)) from exc
    decision = await service.gate.check(token, NOW)
    if not decision.allowed and decision.reason is not Reason.NOT_A_MEMBER:
        raise NotAllowed(decision)
    facts = decision.facts or await service.gate.facts(who)
    return Caller(who=who, facts=facts, decision=decision, service=service)


Somebody = Annotated[Caller, Depends(_somebody)]


@router.get("/me")
async def show_me(
    caller: Somebody,
    after: Annotated[str | None, Query(max_length=255, description="`next` of before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> MeOut:
    """Tell who is asking, which organizations she belongs to, and whether the gate is open."""
    world, place = caller.service.world, Place.read(after) if after else None
    if caller.facts.user_id is None:
        raise NotAllowed(not_signed_in(UserDeleted("the user was deleted")))
    user_id = UserId(caller.facts.user_id)
    async with world.db.scoped(Scope(org_id=caller.facts.org_id, user_id=user_id)) as tx:
        user = await store.get_user(tx, user_id)
        is_active = caller.facts.org_id is not None and caller.facts.role is not None
        org_id = OrgId(caller.facts.org_id) if is_active and caller.facts.org_id else None
        active = await store.get_organization(tx, org_id) if org_id else None
    async with world.db.statement() as tx:  # across tenants, and nobody's but her own
        mine = await members_list.list_organizations(tx, user_id, after=place, limit=limit + 1)
    last = mine[limit - 1].member if len(mine) > limit else None
    return MeOut(
        user=UserOut(
            id=user_id,
            email=user.email if user else None,
            name=user.name if user else None,
            provider=caller.who.provider,
            external_id=caller.who.user_id,
        ),
        active=_active(active, caller) if active else None,
        organizations=[_mine(one) for one in mine[:limit]],
        next=Place(at=last.created_at, id=last.id).text if last else None,
        decision=told.decision(await caller.service.gate.explain(caller.who)),
    )


@router.get("/me/audit")
async def list_my_audit(
    caller: Somebody,
    after: Annotated[int, Query(ge=0, description="Lines behind this one")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> AuditOut:
    """Read what was done about yourself, where no organization is concerned."""
    user_id = caller.facts.user_id
    if user_id is None:
        return AuditOut(data=[], next=None)
    async with caller.service.world.db.scoped(Scope(org_id=None, user_id=user_id)) as tx:
        lines = await audit.list_lines(tx, user_id, after=after, limit=limit)
    return audit_page(lines, limit=limit)


def _active(org: Organization, caller: Caller) -> ActiveOut:
    return ActiveOut(
        id=org.id,
        external_id=caller.who.org_id,
        name=org.name,
        slug=org.slug,
        role=caller.facts.role or "",
    )


def _mine(one: ListedOrganization) -> MineOut:
    member = one.member
    return MineOut(
        id=member.org_id,
        external_id=one.external_id,
        name=one.name,
        slug=one.slug,
        role=member.role,
        status=member.status.value,
        holds_seat=member.holds_seat,
        joined_at=member.joined_at,
    )
