"""Lists: newest first, a cursor on either side, at most a hundred at a time."""

from collections.abc import Callable, Iterable, Sequence

from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.errors import invalid, missing
from tenure.sandbox.stripe.model import Obj

MOST = 100
USUAL = 10

Keep = Callable[[Obj], bool]


def page(  # the seventh argument names the kind for a cursor that is gone
    rows: Iterable[Obj], params: Obj, url: str, *, keep: Keep, kind: str
) -> Obj:
    """Cut one page out of all rows, given in the order in which they are listed.

    The cursor need not pass the filter, but it must exist.
    """
    limit = _limit(params)
    listed = list(rows)
    after, before = params.get("starting_after"), params.get("ending_before")
    if after and before:
        raise invalid("You cannot use both `starting_after` and `ending_before`.")
    if before:
        older = listed[: _place(listed, before, "ending_before", kind)]
        chosen = _first(reversed(older), keep, limit + 1)[::-1]
        more = len(chosen) > limit
        return _answer(chosen[-limit:], url, more=more)
    start = _place(listed, after, "starting_after", kind) + 1 if after else 0
    chosen = _first(listed[start:], keep, limit + 1)
    return _answer(chosen[:limit], url, more=len(chosen) > limit)


def _limit(params: Obj) -> int:
    limit = params.get("limit")
    if limit is None:
        return USUAL
    if limit < 1:
        raise invalid("This value must be greater than or equal to 1.", "limit")
    if limit > MOST:
        raise invalid(f"This value must be less than or equal to {MOST}.", "limit")
    return int(limit)


def _place(rows: Sequence[Obj], object_id: str, param: str, kind: str) -> int:
    for at, row in enumerate(rows):
        if row["id"] == object_id and not row.get("_deleted"):
            return at
    raise missing(kind, object_id, param)


def _first(rows: Iterable[Obj], keep: Keep, count: int) -> list[Obj]:
    found: list[Obj] = []
    for row in rows:
        if not row.get("_deleted") and keep(row):
            found.append(row)
            if len(found) == count:
                break
    return found


def _answer(rows: Sequence[Obj], url: str, *, more: bool) -> Obj:
    return {"object": "list", "data": list(rows), "has_more": more, "url": url}


def newest(books: Books, kind: str, customer: str | None = None) -> list[Obj]:
    """Give all objects of a kind, or a customer's, newest first."""
    rows = books.owned(kind, customer) if customer else list(books.table(kind).values())
    return rows[::-1]


def within(given: Obj | None) -> Keep:
    """Make a filter of a `created` parameter."""
    bounds = given or {}

    def keep(row: Obj) -> bool:
        at = row.get("created", row.get("date", 0))
        return bounds.get("gt", at - 1) < at < bounds.get("lt", at + 1) and bounds.get(
            "gte", at
        ) <= at <= bounds.get("lte", at)

    return keep


def matching(params: Obj, *names: str) -> Keep:
    """Make a filter of equal fields, and of `created` when given."""
    wanted = {name: params[name] for name in names if params.get(name) is not None}
    inside = within(params.get("created"))
    return lambda row: inside(row) and all(row.get(k) == v for k, v in wanted.items())
