"""Members of an organization: who they are, and changing that."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from tenure.base.lease import Leases
from tenure.entry.http.errors import NoProviderKey
from tenure.entry.http.guard import BUYERS, Authorization, Caller, needs
from tenure.entry.http.members_shapes import (
    HistoryOut,
    InvitationOut,
    InviteIn,
    MemberOut,
    MembersOut,
    RoleIn,
    SeatsOut,
    line_out,
    member_out,
)
from tenure.entry.http.orgs import Org, own
from tenure.entry.worker.identity import policy_of
from tenure.identity import members_list, roster
from tenure.identity.directory import Directory
from tenure.identity.errors import NoFreeSeat, NoSuchMember
from tenure.identity.members_list import HERE, ListedMember, Place, ToldStatus
from tenure.identity.model import Invitation, Membership, OrgId, UserId
from tenure.identity.seats import refuse_full
from tenure.identity.wish import Wishes
from tenure.journal import audit
from tenure.journal.model import Entry

router = APIRouter(prefix="/orgs/{org}", tags=["members"])
ONE_AT_A_TIME = timedelta(seconds=60)  # longer than counting invitations and making one may take

_member = needs(subscription=False, always=True)
_admin = needs(subscription=False, roles=BUYERS, always=True)
Member = Annotated[Caller, Depends(_member)]
Admin = Annotated[Caller, Depends(_admin)]

User = Annotated[
    str,
    Path(
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Our key, the provider's id, or `me`",
        examples=["me"],
    ),
]
After = Annotated[str | None, Query(max_length=255, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=500)]


async def _admin_or_herself(
    user: User, request: Request, authorization: Authorization = None
) -> Caller:
    """Let an admin pass, and whoever speaks of herself."""
    caller = await _member(request, authorization)
    by_id = (
        user == caller.who.user_id and members_list.key_of(user) is None
    )  # or it might be another's key
    if by_id or user in {"me", str(caller.facts.user_id)}:
        return caller
    return await _admin(request, authorization)


AdminOrHerself = Annotated[Caller, Depends(_admin_or_herself)]


@router.get("/members")
async def list_members(
    *,
    org: Org,
    caller: Member,
    status: Annotated[list[ToldStatus] | None, Query(description="May be repeated")] = None,
    after: After = None,
    limit: Limit = 100,
) -> MembersOut:
    """List who belongs to the organization; those who were removed only where `status` says so."""
    org_id = OrgId(own(org, caller))
    place = Place.read(after) if after else None
    async with caller.service.world.db.scoped(caller.scope) as tx:
        found = await members_list.list_members(
            tx, org_id, statuses=status or HERE, after=place, limit=limit + 1
        )
    last = found[limit - 1].member if len(found) > limit else None
    ended = Place(at=last.created_at, id=last.id).text if last else None
    return MembersOut(data=[member_out(one) for one in found[:limit]], next=ended)


@router.get("/seats")
async def show_seats(org: Org, caller: Member) -> SeatsOut:
    """Tell how many seats there are, how many are taken, and where the limit comes from."""
    org_id = OrgId(own(org, caller))
    async with caller.service.world.db.scoped(caller.scope) as tx:
        seats = await roster.get_seats(tx, org_id)
        waiting = await members_list.count_waiting(tx, org_id)
    if seats is None:
        raise AssertionError("every organization has a row in tenure.seats: a trigger makes it")
    return SeatsOut(
        used=seats.used,
        limit=seats.seat_limit,
        free=seats.free,
        bought=seats.bought,
        fixed=seats.fixed,
        over_limit=waiting,
    )


@router.post(
    "/members/invite",
    status_code=201,
    responses={
        402: {"description": "No seat is free: buy more; `error.seats` has the figures"},
        409: {"description": "No seat is free, by a limit set by hand; or the provider says no"},
    },
)
async def invite(org: Org, caller: Admin, body: InviteIn) -> InvitationOut:
    """Have the provider invite somebody, if a seat is left for her beside the open invitations."""
    world, org_id = caller.service.world, OrgId(own(org, caller))
    directory, theirs = _directory(caller), caller.who.org_id or ""
    leases = Leases(db=world.db, ids=world.ids)
    async with (
        leases.held(f"invite:{org_id}", last=ONE_AT_A_TIME, wait=ONE_AT_A_TIME / 6),
        _figures(caller, org_id),
    ):
        await _refuse_full(caller, directory, org_id)
        made = await directory.invite(
            theirs,
            email=body.email,
            role=body.role.removeprefix("org:"),
            inviter=caller.who.user_id,
        )
    await _tell(caller, made)
    return InvitationOut(id=made.id, email=made.email, role=made.role, expires_at=made.expires_at)


Answers = dict[int | str, dict[str, Any]]
CHANGED: Answers = {200: {"model": MemberOut, "description": "It is so, at the provider too"}}
FULL: Answers = {402: {"description": "No seat is free: buy more; `error.seats` has the figures"}}


@router.post("/members/{user}/role", status_code=202, responses=CHANGED)
async def set_role(
    org: Org, user: User, caller: Admin, body: RoleIn, response: Response
) -> MemberOut:
    """Give a member another role; a lower one counts at once, a higher one when she has it."""
    role = body.role.removeprefix("org:")
    return await _changed(
        org,
        user,
        caller,
        response,
        lambda w, who: w.set_role(caller.scope, who, role, actor=caller.actor),
    )


@router.post("/members/{user}/deactivate", status_code=202, responses=CHANGED)
async def deactivate(org: Org, user: User, caller: Admin, response: Response) -> MemberOut:
    """Take a member's access and seat at once, and keep her role; the provider is told next."""
    return await _changed(
        org,
        user,
        caller,
        response,
        lambda w, who: w.deactivate(caller.scope, who, actor=caller.actor),
    )


@router.post("/members/{user}/reactivate", status_code=202, responses=CHANGED | FULL)
async def reactivate(org: Org, user: User, caller: Admin, response: Response) -> MemberOut:
    """Give a deactivated member her access back, if a seat is free."""
    return await _changed(
        org,
        user,
        caller,
        response,
        lambda w, who: w.reactivate(caller.scope, who, actor=caller.actor),
    )


@router.delete("/members/{user}", status_code=202, responses=CHANGED)
async def remove(org: Org, user: User, caller: AdminOrHerself, response: Response) -> MemberOut:
    """Take a member out of the organization; she may also leave by herself."""
    return await _changed(
        org, user, caller, response, lambda w, who: w.remove(caller.scope, who, actor=caller.actor)
    )


@router.get("/members/{user}/history")
async def show_history(
    *,
    org: Org,
    user: User,
    caller: AdminOrHerself,
    after: Annotated[int, Query(ge=0, description="Lines behind this one")] = 0,
    limit: Limit = 100,
) -> HistoryOut:
    """Tell when somebody joined, changed and left, and what made us write it."""
    found = await _found(org, user, caller)
    async with caller.service.world.db.scoped(caller.scope) as tx:
        lines = await members_list.list_history(tx, found.member.id, after=after, limit=limit + 1)
    ended = lines[limit - 1].id if len(lines) > limit else None
    return HistoryOut(data=[line_out(one) for one in lines[:limit]], next=ended)


Act = Callable[[Wishes, UserId], Awaitable[Membership]]


async def _changed(org: str, user: str, caller: Caller, response: Response, act: Act) -> MemberOut:
    """Write a wish down; 202 while the provider has not carried it out, 200 where it need not."""
    world, before = caller.service.world, await _found(org, user, caller)
    provider = before.member.provider
    if provider not in world.directories:
        raise NoProviderKey(f"{provider} cannot be told", provider=provider)
    wishes = Wishes(db=world.db, clock=world.clock, ids=world.ids, policy=policy_of(world))
    async with _figures(caller, before.member.org_id):
        after = await act(wishes, before.member.user_id)
    response.status_code = 202 if after.wish or after.wish_role else 200
    return member_out(ListedMember(member=after, email=before.email, name=before.name))


async def _found(org: str, user: str, caller: Caller) -> ListedMember:
    """Find the member that an address names.

    Errors: NotFound, NoSuchMember.
    """
    org_id, db = OrgId(own(org, caller)), caller.service.world.db
    if user == "me":
        user = str(caller.facts.user_id)
    async with db.statement() as tx:  # names of others are nobody's to list, so not in scope
        user_id = await members_list.find_member(tx, org_id, user, provider=caller.who.provider)
    async with db.scoped(caller.scope) as tx:
        found = await members_list.get_member(tx, org_id, user_id) if user_id else None
    if found is None:
        raise NoSuchMember("the organization has no such member")
    return found


def _directory(caller: Caller) -> Directory:
    provider = caller.who.provider
    directory = caller.service.world.directories.get(provider)
    if directory is None:
        raise NoProviderKey(f"{provider} cannot be asked", provider=provider)
    return directory


async def _refuse_full(caller: Caller, directory: Directory, org_id: OrgId) -> None:
    """Count the open invitations too: each will want a seat.

    Errors: NoFreeSeat, with the figures.
    """
    world = caller.service.world
    async with world.db.scoped(caller.scope) as tx:
        seats = await roster.get_seats(tx, org_id)
        seated = await members_list.list_invited(tx, org_id)
    if seats is None or seats.seat_limit is None:
        return
    now = world.clock.now()
    invited = [
        one
        for one in await directory.invitations(caller.who.org_id or "")
        if one.email.lower() not in seated and (one.expires_at is None or one.expires_at > now)
    ]
    refuse_full(seats, invited=len(invited))


@asynccontextmanager
async def _figures(caller: Caller, org_id: OrgId) -> AsyncGenerator[None]:
    """Say with a missing seat whether it could be bought, or somebody set the limit by hand."""
    try:
        yield
    except NoFreeSeat as exc:
        async with caller.service.world.db.scoped(caller.scope) as tx:
            seats = await roster.get_seats(tx, org_id)
        bought = seats is not None and seats.fixed is None
        raise NoFreeSeat(str(exc), **exc.facts, bought=bought) from exc


async def _tell(caller: Caller, made: Invitation) -> None:
    world = caller.service.world
    entry = Entry(
        org_id=caller.facts.org_id,
        user_id=caller.facts.user_id,
        at=world.clock.now(),
        actor=caller.actor,
        action="member.invited",
        subject=made.id,
        details={"role": made.role},  # an address could never be taken out of the log again
    )
    async with world.db.scoped(caller.scope) as tx:
        await audit.append(tx, entry)
