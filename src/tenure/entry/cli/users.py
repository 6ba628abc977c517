"""`tenure users …`: delete a user, and see what hangs on one."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import click

from tenure.billing.model import LIVE
from tenure.entry.cli.asking import ACTOR, in_world
from tenure.entry.cli.db import NotConfirmed
from tenure.entry.cli.group import json_option, say
from tenure.entry.cli.result import several
from tenure.entry.worker.identity import policy_of
from tenure.entry.world import World
from tenure.identity import explain, reference_lint
from tenure.identity.leave import Behind, Leave, Leaving
from tenure.identity.model import UserId
from tenure.identity.reference_lint import Finding
from tenure.identity.references import Action, Effect, ForeignKey

# A key that would forbid it does not, where its rows are deleted on another way.
WITH_HER = (Action.CASCADE, Action.NO_ACTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What deleting a user would do, and what she still pays for."""

    leaving: Leaving
    paying: tuple[str, ...]  # her own subscriptions that go on

    @property
    def may_go(self) -> bool:
        """Whether nothing is in the way."""
        return not (self.paying or self.leaving.in_the_way)


@click.group()
def users() -> None:
    """Delete a user, and see what hangs on one."""


@users.command()
@click.argument("user")
@click.option("--dry-run", is_flag=True, help="Only say what would happen, to every row.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(*, user: str, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete a user at her provider and here, as TENURE_USER_DELETION says.

    USER: our key, a provider's id, or an e-mail address.

    Exit status: 0 deleted (with --dry-run: could be), 1 something is in the way and is named.
    """
    found = in_world(partial(_planned, user=user))
    if dry_run or not found.may_go:
        say(_data(found, deleted=False), _lines(found), as_json=as_json)
        raise SystemExit(0 if found.may_go else 1)
    if not yes:
        _ask(found, may_ask=not as_json)
    in_world(partial(_done, user_id=found.leaving.user_id))
    lines = [*(_lines(found) if yes else ()), "deleted"]
    say(_data(found, deleted=True), lines, as_json=as_json)


@users.command()
@json_option
def lint(*, as_json: bool) -> None:
    """Find foreign keys and columns that will make trouble when a user is deleted.

    Keys that forbid it, keys that silently take bills or records along, keys on a provider's ids,
    and uuid columns for ids that are none. In every schema; nothing is changed.

    Exit status: 0 nothing wrong (what is doubtful is only listed), 1 something is.
    """

    async def found(world: World) -> list[Finding]:
        async with world.db.transaction() as tx:
            return await reference_lint.lint(tx)

    findings = in_world(found)
    wrong = [one for one in findings if one.level == "wrong"]
    data = {"findings": [asdict(one) for one in findings], "wrong": len(wrong)}
    say(data, _lint_lines(findings), as_json=as_json)
    raise SystemExit(1 if wrong else 0)


async def _planned(world: World, *, user: str) -> Told:
    async with world.db.statement() as tx:
        user_id = await explain.one_user(tx, user)
        cur = await tx.execute(
            """
            SELECT id || ' (' || status || ')' AS told FROM tenure.subscriptions
             WHERE user_id = %s AND status = ANY (%s) ORDER BY id
            """,
            (user_id, sorted(LIVE)),
        )
        paying = tuple([row["told"] for row in await cur.fetchall()])
    return Told(leaving=await _leave(world).plan(user_id), paying=paying)


async def _done(world: World, *, user_id: UserId) -> Leaving:
    return await _leave(world).leave(user_id, actor=ACTOR)


def _leave(world: World) -> Leave:
    return Leave(
        db=world.db,
        clock=world.clock,
        ids=world.ids,
        directories=world.directories,
        policy=policy_of(world),
    )


def _ask(found: Told, *, may_ask: bool) -> None:
    whom = found.leaving.email or str(found.leaving.user_id)
    if may_ask:  # JSON has room for one answer only, and that is the refusal
        for line in _lines(found):
            click.echo(line)
    if not (may_ask and sys.stdin.isatty() and click.confirm(f"Delete {whom}?")):
        raise NotConfirmed(f"would delete {whom}")


def _data(found: Told, *, deleted: bool) -> dict[str, object]:
    plan = found.leaving
    return {
        "user": str(plan.user_id),
        "email": plan.email,
        "name": plan.name,
        "policy": plan.policy,
        "deleted": deleted,
        "may_go": found.may_go,
        "paying": found.paying,
        "names": [asdict(one) for one in plan.names],
        "there": plan.there,
        "memberships": plan.memberships,
        "orphaned": plan.orphaned,
        "behind": [
            _key(one.key, rows=one.rows, fate=one.fate, is_in_the_way=one.is_in_the_way)
            for one in plan.behind
        ],
        "at_supabase": [_key(one.key, rows=one.rows) for one in plan.at_supabase],
        "remaining": [asdict(one) for one in plan.remaining],
    }


def _key(key: ForeignKey, **more: object) -> dict[str, object]:
    return {"key": str(key), "name": key.name, "on_delete": key.action.value, **more}


def _lines(found: Told) -> Iterator[str]:
    plan = found.leaving
    called = " ".join(filter(None, (plan.name, f"<{plan.email}>" if plan.email else "")))
    yield f"user {plan.user_id}: {called or '(nameless)'}; policy {plan.policy}"
    if plan.deleted_at:
        yield f"  deleted already, {plan.deleted_at:%Y-%m-%d %H:%M:%S %Z}"
    for provider, what in plan.there.items():
        yield f"  at {provider}: {what}"
    yield f"  name and address: {'kept' if plan.policy == 'keep' else 'taken away'}"
    yield f"  memberships that end: {plan.memberships}"
    for org in plan.orphaned:
        yield f"  WITHOUT AN ADMIN afterwards: {org}"
    yield from map(_behind_line, (one for one in plan.behind if one.rows != 0))
    yield from (
        f"  {one.table}: {several(one.rows, 'row')} {'stays' if one.rows == 1 else 'stay'}"
        f" ({one.why})"
        for one in plan.remaining
        if one.rows
    )
    yield from map(_supabase_line, plan.at_supabase)
    for subscription in found.paying:
        yield f"  IN THE WAY: she pays for {subscription}; cancel it at Stripe first"
    for one in plan.in_the_way:
        yield f"  IN THE WAY: {one.key}: {one.fate}"


def _behind_line(one: Behind) -> str:
    return f"  {one.key} ON DELETE {one.key.action}: {_rows(one.rows)}: {one.fate}"


def _supabase_line(one: Effect) -> str:
    return f"  at Supabase, {one.key} ON DELETE {one.key.action}: {_rows(one.rows)}: {_there(one)}"


def _there(one: Effect) -> str:
    """Say what becomes of rows when Supabase deletes her; those that go are not in the way."""
    action = one.key.action
    if action.blocks and one.rows is None:
        return "would forbid it, if there are any"
    if action.blocks and (one.left or action is Action.RESTRICT):
        return "would forbid it"
    return "deleted with her" if action in WITH_HER else "emptied"


def _rows(count: int | None) -> str:
    return several("?" if count is None else count, "row")


def _lint_lines(findings: Sequence[Finding]) -> Iterator[str]:
    for one in findings:
        yield f"{one.level:<8} {one.rule}: {one.where}: {one.what}"
        yield f"         fix: {one.fix}"
    wrong = sum(one.level == "wrong" for one in findings)
    yield f"{wrong} wrong, {len(findings) - wrong} doubtful"
