"""Delete a user: say before what becomes of every row, then do it, the provider first.

The user's row and her ids stay, so that nothing late brings her back and what was billed or done
can still be told apart. What is taken away is what names her.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString, Protocol, cast, runtime_checkable

import psycopg
from psycopg import sql

from tenure.base.clock import Clock
from tenure.base.db import Db, Tx
from tenure.base.errors import TenureError
from tenure.base.ids import Ids
from tenure.identity import decisions, explain, graves, members, roster, session_rows, store
from tenure.identity.act import Act, Policy, decided
from tenure.identity.directory import Directory, subject_of
from tenure.identity.errors import UnknownUser
from tenure.identity.explain import Name
from tenure.identity.model import Decision, UserId
from tenure.identity.references import (
    AUTH_USERS,
    USERS,
    Action,
    Effect,
    ForeignKey,
    effects,
    list_keys,
    quoted,
)
from tenure.identity.rules import ADMINS
from tenure.journal import news
from tenure.journal.model import Subject

STAYS, DELETED, EMPTIED = "stays, as the row of the user does", "deleted", "emptied"


class CannotLeave(TenureError):
    """The user cannot be deleted as things stand; nothing was changed here."""

    code = "identity.cannot_leave"
    hint = "`tenure users delete --dry-run` names what is in the way; `tenure users lint` the keys."


@runtime_checkable
class Eraser(Protocol):
    """A provider whose users can be deleted through its API."""

    async def delete_user(self, user_id: str) -> None:
        """Delete a user for good; one who is not there any more is fine."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """What happens to the rows behind one foreign key."""

    key: ForeignKey
    rows: int | None  # None: this role may not read them
    fate: str
    is_in_the_way: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """Rows of ours about the user that no foreign key holds."""

    table: str
    rows: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """What deleting a user would do, all of it."""

    user_id: UserId
    email: str | None
    name: str | None
    deleted_at: datetime | None
    policy: str
    names: tuple[Name, ...]
    there: Mapping[str, str]  # by provider: what happens there
    memberships: int  # that end
    orphaned: tuple[str, ...]  # organizations that lose their last admin
    behind: tuple[Behind, ...]
    at_supabase: tuple[Effect, ...]  # if the row of auth.users is deleted
    remaining: tuple[Remaining, ...]

    @property
    def in_the_way(self) -> tuple[Behind, ...]:
        """What forbids it."""
        return tuple(one for one in self.behind if one.is_in_the_way)


# Ours, without a foreign key: what is there, and why it stays.
BY_KEY: tuple[tuple[str, LiteralString, str], ...] = (
    (
        "tenure.audit_log",
        "SELECT count(*) AS n FROM tenure.audit_log WHERE user_id = %(user)s",
        "who did what is never changed; it holds keys, no names",
    ),
    (
        "tenure.news",
        "SELECT count(*) AS n FROM tenure.news WHERE user_id = %(user)s",
        "keys only; forgotten after TENURE_NEWS_DAYS",
    ),
    (
        "tenure.decisions",
        "SELECT count(*) AS n FROM tenure.decisions WHERE user_id = %(user)s",
        "keys only; forgotten after TENURE_DECISION_DAYS",
    ),
    (
        "tenure.tombstones",
        """
        SELECT count(*) AS n FROM tenure.tombstones
         WHERE external_id = ANY (%(names)s) OR split_part(external_id, '/', 2) = ANY (%(names)s)
        """,
        "ids only; for ever, so that nothing late brings her back",
    ),
    (
        "tenure.revoked_sessions",
        "SELECT count(*) AS n FROM tenure.revoked_sessions WHERE user_id = ANY (%(names)s)",
        "ids only; forgotten when every token has expired",
    ),
    (
        "tenure.inbox",
        """
        SELECT count(*) AS n FROM tenure.inbox
         WHERE source <> 'stripe' AND (subject_id = ANY (%(names)s)
                                       OR split_part(subject_id, '/', 2) = ANY (%(names)s))
        """,
        "events as they came, with what they say of her; forgotten after TENURE_INBOX_DAYS",
    ),
)
HELD: Mapping[str, str] = {
    "tenure.identities": "the provider's id stays, so that nothing late brings her back",
    "tenure.memberships": "ends, where it stands; the row stays with its keys",
    "tenure.membership_history": "stays: append-only, keys and ids",
    "tenure.stripe_customers": "stays, with Stripe's copy of name and address: bills must be kept; "
    "delete the customer at Stripe to take these away",
    "tenure.customer_intents": "stays, with what Stripe was told: it explains the customer",
}


OVER = "ended before; the row stays with its keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Deletes users."""

    db: Db
    clock: Clock
    ids: Ids
    directories: Mapping[str, Directory]
    policy: Policy = field(default_factory=Policy)

    async def plan(self, user_id: UserId) -> Leaving:
        """Say what would happen; nothing is changed.

        Errors: UnknownUser.
        """
        async with self.db.transaction() as tx:
            await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            return await self._planned(tx, user_id)

    async def leave(self, user_id: UserId, *, actor: str) -> Leaving:
        """Delete a user: at her providers where we can, then here, in one transaction.

        Errors: UnknownUser, CannotLeave, and those of the provider: nothing is changed here then.
        """
        plan = await self.plan(user_id)
        _refuse(plan)
        for name in plan.names:
            directory = self.directories.get(name.provider)
            if isinstance(directory, Eraser):
                await directory.delete_user(name.external_id)
        try:
            async with self.db.transaction() as tx:
                return await self._end(tx, user_id, actor)
        except (psycopg.errors.IntegrityError, psycopg.errors.InsufficientPrivilege) as exc:
            raise CannotLeave(str(exc).strip().splitlines()[0]) from exc

    async def _planned(self, tx: Tx, user_id: UserId) -> Leaving:
        cur = await tx.execute(
            "SELECT email, name, deleted_at FROM tenure.users WHERE id = %s", (user_id,)
        )
        row = await cur.fetchone()
        if row is None:
            raise UnknownUser(f"there is no user {user_id}")
        names = await explain.list_names(tx, user_id=user_id)
        standing = await roster.list_not_removed(tx, user_id=user_id)
        keys = await list_keys(tx)
        behind = await effects(tx, keys, USERS, str(user_id))
        is_near = any(key.parent == AUTH_USERS for key in keys)
        theirs = [n.external_id for n in names if is_near and n.provider == "supabase"]
        at_supabase = [one for name in theirs for one in await effects(tx, keys, AUTH_USERS, name)]
        return Leaving(
            user_id=user_id,
            email=row["email"],
            name=row["name"],
            deleted_at=row["deleted_at"],
            policy=self.policy.deletion,
            names=tuple(names),
            there={name.provider: self._there(name) for name in names},
            memberships=len(standing),
            orphaned=tuple(await _orphaned(tx, user_id)),
            behind=tuple(self._behind(one, ends=len(standing)) for one in behind),
            at_supabase=tuple(one for one in at_supabase if one.rows != 0),
            remaining=tuple(await _remaining(tx, user_id, [name.external_id for name in names])),
        )

    def _there(self, name: Name) -> str:
        if isinstance(self.directories.get(name.provider), Eraser):
            return f"{name.external_id} is deleted there"
        return f"delete {name.external_id} there yourself; here she is gone for good all the same"

    def _behind(self, one: Effect, *, ends: int) -> Behind:
        """Say what happens behind a key; `ends`: how many memberships do."""
        cascades = self.policy.deletion == "cascade"
        if not cascades or one.key.table.is_ours:
            table = str(one.key.table)
            is_over = table == "tenure.memberships" and not ends
            fate = OVER if is_over else HELD.get(table, STAYS)
            return Behind(key=one.key, rows=one.rows, fate=fate)
        fate, is_in_the_way = _fate(one)
        return Behind(key=one.key, rows=one.rows, fate=fate, is_in_the_way=is_in_the_way)

    async def _end(self, tx: Tx, user_id: UserId, actor: str) -> Leaving:
        """Do it: take the locks as everybody does, names before rows before seats."""
        names = await explain.list_names(tx, user_id=user_id)
        for name in names:
            await store.lock_names(tx, name.provider, [name.external_id])
        await tx.execute("SELECT id FROM tenure.users WHERE id = %s FOR NO KEY UPDATE", (user_id,))
        plan = await self._planned(tx, user_id)
        _refuse(plan)
        act = Act(
            tx=tx,
            ids=self.ids,
            provider=names[0].provider if names else "tenure",
            now=self.clock.now(),
            cause="user_deleted",
            asked=False,
            policy=self.policy,
            actor=actor,
        )
        for name in names:
            grave = act.grave(act.now)
            await graves.bury(tx, name.provider, "user", name.external_id, grave)
            await session_rows.drop_of_user(tx, name.external_id, provider=name.provider)
        await decisions.append(tx, _commanded(names, user_id, actor), at=act.now)
        standing = await roster.list_not_removed(tx, user_id=user_id)
        await members.end(act, standing, cause="user_deleted", at=act.now)
        await _take_along(tx, plan, user_id)
        await store.end_user(tx, user_id, at=act.now, forget=self.policy.deletion != "keep")
        await self._tell(act, plan)
        return plan

    async def _tell(self, act: Act, plan: Leaving) -> None:
        taken = {str(b.key): b.rows for b in plan.behind if b.fate in (DELETED, EMPTIED)}
        details = {
            "memberships": plan.memberships,
            "policy": plan.policy,
            "there": [name.provider for name in plan.names],
            "rows": taken,
        }
        subject = plan.names[0].external_id if plan.names else str(plan.user_id)
        await act.tell(act.entry("user.deleted", subject, user_id=plan.user_id, details=details))
        await news.append(
            act.tx, "identity.changed", user_id=plan.user_id, payload={"what": ["deleted"]}
        )


def _commanded(
    names: Sequence[Name], user_id: UserId, actor: str
) -> list[tuple[Subject, Decision]]:
    """Write down that no event said so: the tombstone alone would not tell."""
    made = decided(
        "deleted_by_command", verdict="applied", user_id=user_id, details={"actor": actor}
    )
    return [(subject_of(name.provider, "user", name.external_id), made) for name in names]


def _fate(one: Effect) -> tuple[str, bool]:
    """Say what a cascade does to the rows behind a key, and whether that must not be."""
    if one.rows is None:
        return "cannot be counted: this role may not read them all", True
    if one.rows == 0:
        return "none there", False
    if one.key.action is Action.CASCADE:
        is_evidence = one.key.table.is_evidence
        fate = "looks like bills or records, which are never deleted" if is_evidence else DELETED
        return fate, is_evidence
    return _held(one, one.rows) if one.key.action.blocks else (EMPTIED, False)


def _held(one: Effect, rows: int) -> tuple[str, bool]:
    """Say whether rows hold fast what they point at, which is deleted unless it is the user."""
    if one.is_direct:
        return STAYS, False
    held = rows if one.key.action is Action.RESTRICT else one.left
    return (f"{held} forbid it, ON DELETE {one.key.action}", True) if held else (DELETED, False)


def _refuse(plan: Leaving) -> None:
    if plan.in_the_way:
        first = "; ".join(f"{one.key}: {one.fate}" for one in plan.in_the_way[:5])
        raise CannotLeave(first, in_the_way=len(plan.in_the_way))


async def _take_along(tx: Tx, plan: Leaving, user_id: UserId) -> None:
    """Do to the rows that point at her what their foreign keys say; hers stays."""
    for one in plan.behind:
        if one.key.parent != USERS or one.fate not in (DELETED, EMPTIED):
            continue
        await tx.execute("SELECT set_config('row_security', 'off', true)")
        await tx.execute(_deed(one), (user_id,))
        await tx.execute("SELECT set_config('row_security', 'on', true)")


def _deed(one: Behind) -> sql.Composed:
    table, column = quoted(*one.key.table), quoted(one.key.columns[0])
    if one.key.action is Action.CASCADE:
        return sql.SQL("DELETE FROM {} WHERE {} = %s").format(table, column)
    value = sql.SQL("NULL" if one.key.action is Action.SET_NULL else "DEFAULT")
    return sql.SQL("UPDATE {} SET {} = {} WHERE {} = %s").format(table, column, value, column)


async def _orphaned(tx: Tx, user_id: UserId) -> list[str]:
    """Name the organizations in which nobody else may administer."""
    cur = await tx.execute(
        """
        SELECT o.name || ' (' || o.id || ')' AS called
          FROM tenure.memberships m JOIN tenure.organizations o ON o.id = m.org_id
         WHERE m.user_id = %(user)s AND m.status = 'active' AND m.role = ANY (%(roles)s)
           AND o.deleted_at IS NULL
           AND NOT EXISTS (SELECT FROM tenure.memberships a
                            WHERE a.org_id = m.org_id AND a.user_id <> m.user_id
                              AND a.status = 'active' AND a.role = ANY (%(roles)s))
         ORDER BY o.name, o.id
        """,
        {"user": user_id, "roles": list(ADMINS)},
    )
    return [row["called"] for row in await cur.fetchall()]


async def _remaining(tx: Tx, user_id: UserId, names: Sequence[str]) -> list[Remaining]:
    """Count our rows that no foreign key holds."""
    found: list[Remaining] = []
    for table, query, why in BY_KEY:
        cur = await tx.execute(query, {"user": user_id, "names": list(names)})
        row = await cur.fetchone()
        found.append(Remaining(table=table, rows=row["n"] if row else 0, why=why))
    for table in await _copies(tx):
        query = sql.SQL("SELECT count(*) AS n FROM {} WHERE user_id = %s").format(
            sql.Identifier("tenure", table)
        )
        row = await (await tx.execute(query, (user_id,))).fetchone()
        why = "a copy of what is at Stripe, kept with its customer"
        found.append(Remaining(table=f"tenure.{table}", rows=row["n"] if row else 0, why=why))
    return found


async def _copies(tx: Tx) -> list[str]:
    """List our tables that name users by key, and have no foreign key for it."""
    known = [table.removeprefix("tenure.") for table, _, _ in BY_KEY]
    cur = await tx.execute(
        """
        SELECT t.relname::text AS name
          FROM pg_attribute a JOIN pg_class t ON t.oid = a.attrelid
         WHERE t.relnamespace = 'tenure'::regnamespace AND t.relkind IN ('r', 'p')
           AND a.attname = 'user_id' AND a.atttypid = 'uuid'::regtype AND NOT a.attisdropped
           AND t.relname <> ALL (%s)
           AND NOT EXISTS (SELECT FROM pg_constraint c
                            WHERE c.conrelid = t.oid AND c.contype = 'f'
                              AND a.attnum = ANY (c.conkey))
         ORDER BY 1
        """,
        (known,),
    )
    return [cast("str", row["name"]) for row in await cur.fetchall()]
