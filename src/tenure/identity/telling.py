"""How changes of memberships are told: to the audit log, and as news."""

from collections import Counter
from collections.abc import Sequence

from tenure.identity.act import Act
from tenure.identity.model import Membership, OrgId
from tenure.identity.roster import Change
from tenure.identity.rules import Fate
from tenure.journal import news
from tenure.journal.model import Entry

MANY = 20  # changes of one organization that are told together, instead of each for itself
FEW = 3  # changes that are told one by one; of more the organization is told as a whole


def entries_of(act: Act, changes: Sequence[Change]) -> list[Entry]:
    """Tell the audit log what people care about.

    Of many changes alike in one organization it tells the number: history has each of them, and a
    chain grows slowly, because every line is linked to the one before.
    """
    found: list[Entry] = []
    for org_id in dict.fromkeys(change.after.org_id for change in changes):
        mine = [change for change in changes if change.after.org_id == org_id]
        lines = [line for change in mine if (line := _entry(act, change)) is not None]
        found += lines if len(lines) <= MANY else _summed_up(act, lines)
    return found


def _summed_up(act: Act, lines: Sequence[Entry]) -> list[Entry]:
    counts = Counter(line.action for line in lines)
    return [
        act.entry(action, f"{count} members", org_id=lines[0].org_id, details={"members": count})
        for action, count in sorted(counts.items())
    ]


def _entry(act: Act, change: Change) -> Entry | None:
    """Tell of one change; a new version of the same is not worth a line."""
    before, after = change.before, change.after
    if before is not None and _face(before) == _face(after):
        return None
    details: dict[str, object] = {
        "role": after.role,
        "status": after.told_status,
        "seat": after.holds_seat,
        "cause": change.cause,
    }
    if before is not None:
        was = {"role": before.role, "status": before.told_status, "seat": before.holds_seat}
        details["was"] = {name: value for name, value in was.items() if details[name] != value}
    return act.entry(
        _action(change),
        after.external_id or str(after.id),
        org_id=after.org_id,
        user_id=after.user_id,
        details=details,
    )


def _face(m: Membership) -> tuple[object, ...]:
    return m.generation, m.told_status, m.role, m.holds_seat


def _action(change: Change) -> str:
    if change.after.removed_at is not None:
        return "member.left"
    if change.reason == Fate.REJOINED:
        return "member.rejoined"
    return "member.joined" if change.before is None else "member.changed"


async def tell(act: Act, org_id: OrgId, changes: Sequence[Change]) -> None:
    """Append the news of changes, and of the wishes among them."""
    if len(changes) > FEW:
        await news.append(act.tx, "members.changed", org_id=org_id, payload={"count": len(changes)})
    else:
        for change in changes:
            await news.append(
                act.tx,
                "members.changed",
                org_id=org_id,
                user_id=change.after.user_id,
                payload={"membership": str(change.after.id), "what": change.reason},
            )
    for change in changes:
        if _has_new_wish(change):
            await _wished(act, change.after)


def _has_new_wish(change: Change) -> bool:
    """Say whether the provider must hear of something."""
    before, after = change.before, change.after
    wish = (after.wish, after.wish_role)
    return any(wish) and (before is None or (before.wish, before.wish_role) != wish)


async def _wished(act: Act, member: Membership) -> None:
    """Tell that the provider must hear of a wish; the reconciler of wishes acts on it."""
    await news.append(
        act.tx,
        "member.wished",
        org_id=member.org_id,
        user_id=member.user_id,
        payload={"provider": member.provider, "membership": str(member.id)},
    )
