"""Rows just in time: who comes with a good token and is new to us gets a row at once."""

from tenure.base.clock import Clock
from tenure.base.db import Db, Scope, Tx
from tenure.base.ids import Ids
from tenure.identity import store
from tenure.identity.claims import Principal
from tenure.identity.model import Organization, OrgId, User, UserId
from tenure.identity.store import Known
from tenure.journal import audit
from tenure.journal.model import Entry


async def arrive(db: Db, clock: Clock, ids: Ids, who: Principal) -> Scope:
    """Find or make the rows that a verified token names; say on whose behalf it acts.

    Promise: a membership that stands is never changed here, so somebody who was removed stays
             removed however long her token is good. The role is our row's, not the token's.
    """
    async with db.statement() as tx:
        known = await store.get_known(tx, who)
    if known.user_id is None or (who.org_id is not None and not known.member):
        async with db.transaction() as tx:
            await store.lock_arrival(tx, who)
            known = await _make(tx, clock, ids, who, await store.get_known(tx, who))
    return Scope(org_id=known.org_id, user_id=known.user_id, role=known.role)


async def _make(tx: Tx, clock: Clock, ids: Ids, who: Principal, known: Known) -> Known:
    at = clock.now()
    user_id, org_id = known.user_id, known.org_id
    if user_id is None:
        user_id = UserId(ids.uuid())
        await store.put_user(tx, User(id=user_id, email=None, name=None), who, at=at)
    if who.org_id is not None and org_id is None:
        org_id = OrgId(ids.uuid())
        name = who.org_slug or who.org_id
        await store.put_organization(
            tx, Organization(id=org_id, name=name, slug=who.org_slug), who, at=at
        )
        await _say(tx, clock, org_id, user_id, action="organization.created", subject=who.org_id)
    if org_id is not None and not known.member:
        role = who.role or "member"
        await store.put_membership(tx, ids.uuid(), org_id, user_id, role=role, at=at)
        await _say(
            tx, clock, org_id, user_id, action="member.joined", subject=who.user_id, role=role
        )
    return await store.get_known(tx, who)


async def _say(
    tx: Tx, clock: Clock, org_id: OrgId, user_id: UserId, *, action: str, subject: str, **more: str
) -> None:
    await audit.append(
        tx,
        Entry(
            org_id=org_id,
            user_id=user_id,
            at=clock.now(),
            actor=f"user:{user_id}",
            action=action,
            subject=subject,
            details=more,
        ),
    )
