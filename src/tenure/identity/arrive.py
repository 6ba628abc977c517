"""Rows just in time: who comes with a good token and is new to us gets a row at once."""

from collections.abc import Sequence

from tenure.base.clock import Clock
from tenure.base.db import Db, Scope, Tx
from tenure.base.ids import Ids
from tenure.identity import members, store
from tenure.identity.act import Act
from tenure.identity.claims import Principal
from tenure.identity.directory import pair_of, subject_of
from tenure.identity.model import SeenOrganization, SeenUser
from tenure.identity.named import named_users
from tenure.identity.store import Known
from tenure.journal import store as journal
from tenure.journal.model import Subject

ASKED = frozenset({"clerk", "workos"})  # providers whose memberships we can ask for


async def arrive(db: Db, clock: Clock, ids: Ids, who: Principal) -> Scope:
    """Find or make the rows that a verified token names; say on whose behalf it acts.

    Promise: a membership that stands is never changed here, so somebody who was removed stays
             removed however long her token is good; nobody who was deleted comes back. The role is
             our row's, not the token's. Where token and row disagree, the provider is asked.
    """
    async with db.statement() as tx:
        known = await store.get_known(tx, who)
    if _is_new(known, who) and not known.buried:
        async with db.transaction() as tx:
            await _admit(tx, clock, ids, who)
            known = await store.get_known(tx, who)
    if known.role != who.role and who.org_id is not None:
        async with db.statement() as tx:
            await journal.mark_since(tx, _doubtful(who), since=who.issued_at)
    return Scope(org_id=known.org_id, user_id=known.user_id, role=known.role)


def _is_new(known: Known, who: Principal) -> bool:
    return known.user_id is None or (who.org_id is not None and not known.member)


async def _admit(tx: Tx, clock: Clock, ids: Ids, who: Principal) -> None:
    if who.provider in {*ASKED, "supabase"}:  # first: a reconciler locks its subject, then names
        await journal.mark(tx, [subject_of(who.provider, "user", who.user_id), *_doubtful(who)])
    act = Act(tx=tx, ids=ids, provider=who.provider, now=clock.now(), cause="token", asked=False)
    user = SeenUser(id=who.user_id, email=None, name=None, version=None)
    if who.org_id is None:
        await named_users(act, [user])
    else:
        org = SeenOrganization(
            id=who.org_id, name=who.org_slug or who.org_id, slug=who.org_slug, version=None
        )
        await members.admit(act, org, user, role=who.role or "member")


def _doubtful(who: Principal) -> Sequence[Subject]:
    """Name what the provider should be asked about: the membership that only a token tells of."""
    if who.org_id is None or who.provider not in ASKED:
        return ()
    return (subject_of(who.provider, "membership", pair_of(who.org_id, who.user_id)),)
