"""`tenure db …`: make, check and take back our tables."""

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import asdict
from uuid import UUID

import click
import psycopg
from psycopg.rows import dict_row

from tenure.base.db import Tx
from tenure.base.errors import TenureError
from tenure.entry.cli.environment import settings_for
from tenure.entry.cli.group import json_option, say
from tenure.entry.cli.looking import cannot_look
from tenure.entry.cli.result import several
from tenure.entry.cli.supabase import supabase
from tenure.journal import audit as journal_audit
from tenure.schema import apply as runner
from tenure.schema import bundle, changes, check
from tenure.schema.changes import Change
from tenure.schema.check import Report, Standing


class NotConfirmed(TenureError):
    """A command that loses data was not confirmed; nothing was changed."""

    code = "cli.not_confirmed"
    hint = "Run it again with --yes if that is what you want."


@click.group()
def db() -> None:
    """Make, check and take back our tables.

    Every command uses DATABASE_DIRECT_URL where it is set, else DATABASE_URL.
    """


@db.command()
@click.option("--to", type=int, help="Stop after this change.  [default: the newest]")
@json_option
def apply(*, to: int | None, as_json: bool) -> None:
    """Apply every change that is pending, each in one transaction, each verified."""
    told = _Told(as_json=as_json)
    state = runner.apply(_url(), changes.load(), to=to, told=told)
    told.end(state, nothing="nothing to apply")


@db.command()
@click.option("--to", type=int, required=True, help="The change that stays on top; 0: none.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def back(*, to: int, yes: bool, as_json: bool) -> None:
    """Take changes back, newest first, down to number --to. Their data is lost."""
    url, carried = _url(), changes.load()
    standing = [change for change in runner.status(url, carried).applied if change.number > to]
    if standing and not yes:
        _ask(", ".join(change.name for change in reversed(standing)), may_ask=not as_json)
    told = _Told(as_json=as_json)
    state = runner.back(url, carried, to=to, told=told)
    told.end(state, nothing="nothing to take back")


@db.command()
@json_option
def status(*, as_json: bool) -> None:
    """List every change and every object it makes; say what is missing.

    Exit status: 0 all there, 1 something pending, edited, broken or missing.
    """
    report = check.check(_url(), changes.load())
    say({**asdict(report), "is_whole": report.is_whole}, _status_lines(report), as_json=as_json)
    raise SystemExit(0 if report.is_whole else 1)


@db.command()
@click.option("--from", "first", type=int, default=1, show_default=True, help="The first change.")
@json_option
def sql(*, first: int, as_json: bool) -> None:
    """Print the changes as one script, for supabase/migrations or psql."""
    chosen = [change for change in changes.load() if change.number >= first]
    text = bundle.sql(chosen)
    say({"changes": [c.name for c in chosen], "sql": text}, [text.rstrip("\n")], as_json=as_json)


db.add_command(supabase)


@db.group()
def audit() -> None:
    """Look after the audit log."""


@audit.command()
@click.option("--org", type=UUID, help="One organization's chain.  [default: all chains]")
@json_option
def verify(*, org: UUID | None, as_json: bool) -> None:
    """Recompute the hashes of the audit log, and say where a chain does not hold.

    Exit status: 0 every chain holds, 1 one does not.
    """
    try:
        broken, chains = asyncio.run(_broken(_url(), org))
    except psycopg.Error as exc:
        raise cannot_look(exc) from exc
    lines = [f"{link.chain} line {link.seq}: {link.why}" for link in broken]
    say(
        {"chains": chains, "broken": [asdict(link) for link in broken]},
        lines or [f"{several(chains, 'chain')} hold{'s' * (chains == 1)}"],
        as_json=as_json,
    )
    raise SystemExit(1 if broken else 0)


def _ask(names: str, *, may_ask: bool) -> None:
    may_ask = may_ask and sys.stdin.isatty()
    if not may_ask or not click.confirm(f"Take back {names}, and lose the data in them?"):
        raise NotConfirmed(f"would take back {names}, and lose the data in them")


class _Told:
    """Tells each change as it happens, or all of them at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.done: list[dict[str, object]] = []

    def __call__(self, what: str, change: Change, ms: int) -> None:
        self.done.append({"change": change.name, "what": what, "ms": ms})
        if not self.as_json:
            click.echo(f"{what}  {change.name}  {ms} ms")

    def end(self, state: runner.State, *, nothing: str) -> None:
        """Say where the database stands now."""
        pending = [change.name for change in state.pending]
        tail = f"{len(state.applied)} applied, {len(pending)} pending"
        data = {
            "done": self.done,
            "applied": [change.name for change in state.applied],
            "pending": pending,
        }
        say(data, [tail if self.done else f"{nothing}: {tail}"], as_json=self.as_json)


def _url() -> str:
    return settings_for("db").listen_url


def _status_lines(report: Report) -> Iterator[str]:
    for change in report.changes:
        yield f"{change.name}  {_in_words(change)}"
        items = [item for item in report.objects if item.change == change.name]
        for kind in dict.fromkeys(item.kind for item in items):
            names = [item.name for item in items if item.kind == kind and item.is_there]
            if names:
                yield click.wrap_text(
                    ", ".join(names),
                    100,
                    f"  {kind + ':':<20}",
                    " " * 22,
                    preserve_paragraphs=False,
                )
        if change.state != "pending":
            yield from (f"  MISSING {i.kind} {i.name}" for i in items if not i.is_there)
    for number in report.ahead:
        yield f"{number:04d}  applied by a newer release"
    missing = sum(not item.is_there for item in report.objects)
    there = len(report.objects) - missing
    yield f"{there} of {len(report.objects)} objects are there, {missing} missing"


def _in_words(change: Standing) -> str:
    if change.applied_at is None:
        return "pending"
    when = f"{change.applied_at:%Y-%m-%d %H:%M:%S %Z} by {change.applied_by} in {change.took_ms} ms"
    return f"{change.state}  {when}" + (f"\n  {change.why}" if change.why else "")


async def _broken(url: str, chain: UUID | None) -> tuple[list[journal_audit.BrokenLink], int]:
    async with await Tx.connect(url, row_factory=dict_row) as tx:
        await tx.execute("SET LOCAL ROLE tenure_worker")  # it sees every chain
        cur = await tx.execute(
            "SELECT count(*) AS n FROM tenure.audit_heads WHERE chain = coalesce(%s, chain)",
            (chain,),
        )
        row = await cur.fetchone()
        return await journal_audit.broken_links(tx, chain), int(row["n"]) if row else 0
