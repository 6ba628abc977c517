"""The write path of users and organizations; what becomes of their members is in members.py."""

from tenure.identity import graves, members, roster, rules, store
from tenure.identity.act import Act, decided
from tenure.identity.model import (
    Decision,
    SeenOrganization,
    SeenSession,
    SeenUser,
    UserId,
)
from tenure.identity.named import found_organization, is_buried
from tenure.identity.rules import Fate
from tenure.identity.store import KnownOrganization, KnownUser
from tenure.journal import news


async def put_user(act: Act, seen: SeenUser) -> Decision:
    """Make our row follow a user that the provider shows."""
    await store.lock_names(act.tx, act.provider, [seen.id])
    known = (await store.list_users(act.tx, act.provider, [seen.id])).get(seen.id)
    if await is_buried(act, "user", seen.id):
        return decided(Fate.BURIED, user_id=known.id if known else None)
    fate = rules.judge_person(
        known.version if known else None,
        seen.version,
        is_known=known is not None,
        stays=not act.asked and known is not None and _face(known) > _face(seen),
    )
    if known is None:
        user_id = UserId(act.ids.uuid())
        await store.put_users(act.tx, act.provider, [(user_id, seen)], at=act.now)
        await news.append(act.tx, "identity.changed", user_id=user_id, payload={"what": ["joined"]})
        return decided(fate, user_id=user_id)
    if not fate.writes:
        return decided(fate, user_id=known.id)
    return await _change_user(act, known, seen)


async def _change_user(act: Act, known: KnownUser, seen: SeenUser) -> Decision:
    what = _differences(
        email=(known.email, seen.email),
        name=(known.name, seen.name),
        blocked=(known.blocked, seen.blocked),
        deleted=(known.deleted_at is not None, False),
    )
    if not what and known.version == seen.version:
        return decided(Fate.SAME, user_id=known.id)
    await store.change_user(act.tx, act.provider, known.id, seen, at=act.now)
    if "blocked" in what:
        action = "user.blocked" if seen.blocked else "user.unblocked"
        await act.tell(act.entry(action, seen.id, user_id=known.id))
    if what:
        await news.append(act.tx, "identity.changed", user_id=known.id, payload={"what": what})
    return decided(Fate.CHANGED, user_id=known.id, details={"what": what})


async def put_organization(act: Act, seen: SeenOrganization) -> Decision:
    """Make our row follow an organization that the provider shows."""
    await store.lock_names(act.tx, act.provider, [seen.id])
    known = (await store.list_organizations(act.tx, act.provider, [seen.id])).get(seen.id)
    if await is_buried(act, "org", seen.id):
        return decided(Fate.BURIED, org_id=known.id if known else None)
    stays = not act.asked and known is not None and _names(known) > _names(seen)
    fate = rules.judge_person(
        known.version if known else None, seen.version, is_known=known is not None, stays=stays
    )
    if known is None:
        return decided(fate, org_id=await found_organization(act, seen))
    if not fate.writes:
        return decided(fate, org_id=known.id)
    return await _change_organization(act, known, seen)


async def _change_organization(
    act: Act, known: KnownOrganization, seen: SeenOrganization
) -> Decision:
    what = _differences(
        name=(known.name, seen.name),
        slug=(known.slug, seen.slug),
        deleted=(known.deleted_at is not None, False),
    )
    if not what and known.version == seen.version:
        return decided(Fate.SAME, org_id=known.id)
    await store.change_organization(act.tx, act.provider, known.id, seen, at=act.now)
    if what:
        details = {"what": what, "name": seen.name}
        await act.tell(act.entry("organization.changed", seen.id, org_id=known.id, details=details))
        await news.append(act.tx, "identity.changed", org_id=known.id, payload={"what": what})
    return decided(Fate.CHANGED, org_id=known.id, details={"what": what})


async def drop_user(act: Act, external_id: str, grave: rules.Grave) -> Decision:
    """Bury a user: her memberships end with her, in the same transaction."""
    await store.lock_names(act.tx, act.provider, [external_id])
    await graves.bury(act.tx, act.provider, "user", external_id, grave)
    known = await store.lock_user(act.tx, act.provider, external_id)
    if known is None:
        return decided("deleted_before_seen", verdict="applied")
    if known.deleted_at is not None:
        return decided(Fate.SAME, user_id=known.id)
    standing = await roster.list_not_removed(act.tx, user_id=known.id)
    ended = [m for m in standing if m.provider in (None, act.provider)]
    details = {"memberships": len(ended), "policy": act.policy.deletion}
    await act.tell(act.entry("user.deleted", external_id, user_id=known.id, details=details))
    await members.end(act, ended, cause="user_deleted", at=grave.deleted_at)
    if await store.is_known_elsewhere(act.tx, known.id, provider=act.provider):
        return decided("deleted_there_only", verdict="applied", user_id=known.id, details=details)
    forget = act.policy.deletion != "keep"
    await store.end_user(act.tx, known.id, at=act.now, forget=forget)
    await news.append(act.tx, "identity.changed", user_id=known.id, payload={"what": ["deleted"]})
    return decided(_over(grave), verdict="applied", user_id=known.id, details=details)


async def hold_organization(act: Act, external_id: str) -> None:
    """Take every lock that the end of an organization takes, before its log is written in."""
    await store.lock_names(act.tx, act.provider, [external_id])
    known = await store.lock_organization(act.tx, act.provider, external_id)
    if known is not None:
        await roster.lock_seats(act.tx, known.id)


async def drop_organization(act: Act, external_id: str, grave: rules.Grave) -> Decision:
    """Bury an organization: its memberships end with it, in the same transaction."""
    await store.lock_names(act.tx, act.provider, [external_id])
    await graves.bury(act.tx, act.provider, "org", external_id, grave)
    known = await store.lock_organization(act.tx, act.provider, external_id)
    if known is None:
        return decided("deleted_before_seen", verdict="applied")
    if known.deleted_at is not None:
        return decided(Fate.SAME, org_id=known.id)
    ended = await roster.list_not_removed(act.tx, org_id=known.id)
    await members.end(act, ended, cause="org_deleted", at=grave.deleted_at)
    await store.end_organization(act.tx, known.id, at=act.now)
    details = {"memberships": len(ended)}
    await act.tell(act.entry("organization.deleted", external_id, org_id=known.id, details=details))
    await news.append(act.tx, "identity.changed", org_id=known.id, payload={"what": ["deleted"]})
    return decided(_over(grave), verdict="applied", org_id=known.id, details=details)


async def end_session(act: Act, seen: SeenSession) -> Decision:
    """Note that a session has ended: its tokens are refused from now on, however long they live."""
    fresh = await graves.put_ended_session(
        act.tx, act.provider, seen.id, seen.user_id, at=seen.ended_at
    )
    known = (await store.list_users(act.tx, act.provider, [seen.user_id])).get(seen.user_id)
    user_id = known.id if known else None
    if fresh and user_id is not None:
        await news.append(
            act.tx, "identity.changed", user_id=user_id, payload={"what": ["session"]}
        )
    return decided("session_ended", verdict="applied" if fresh else "unchanged", user_id=user_id)


def _face(who: KnownUser | SeenUser) -> tuple[bool, str, str]:
    """Order what is told of one moment: whoever is blocked stays so."""
    return who.blocked, who.email or "", who.name or ""


def _names(org: KnownOrganization | SeenOrganization) -> tuple[str, str]:
    return org.name, org.slug or ""


def _over(grave: rules.Grave) -> str:
    return "deleted" if grave.proof == "event" else "missing_at_provider"


def _differences(**pairs: tuple[object, object]) -> list[str]:
    return [name for name, (before, after) in pairs.items() if before != after]
