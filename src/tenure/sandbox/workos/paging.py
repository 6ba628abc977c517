"""Pages by cursor, over ids that sort by the time of making."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from tenure.sandbox.workos.refusal import Refused

LIMITS = range(1, 101)
ORDERS = ("asc", "desc", "normal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which page is wanted."""

    order: str = "desc"
    after: str | None = None
    before: str | None = None
    limit: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is on it, and where to go on; None: there is nothing more on that side."""

    ids: Sequence[str]
    before: str | None
    after: str | None


def asked_cut(query: Mapping[str, str]) -> Cut:
    """Read the paging parameters of a request.

    Errors: Refused.
    """
    given = query.get("limit", "10")
    if not given.isdecimal() or int(given) not in LIMITS:
        raise Refused.invalid("limit", "must be between 1 and 100")
    order = query.get("order", "desc")
    if order not in ORDERS:
        raise Refused.invalid("order", f"must be one of {', '.join(ORDERS)}")
    return Cut(order=order, after=query.get("after"), before=query.get("before"), limit=int(given))


def cut(ids: Sequence[str], wanted: Cut, keep: Callable[[str], bool] = bool) -> Page:
    """Cut a page out of sorted ids.

    `normal` shows the newest first, as `desc` does, but its `after` leads to newer ones.
    """
    after, before = wanted.after, wanted.before
    if wanted.order == "normal":
        after, before = before, after
    newest_first = wanted.order != "asc"
    back = before is not None
    walk = _walk(ids, before if back else after, upwards=newest_first == back)
    found = list(islice(filter(keep, walk), wanted.limit + 1))
    shown, more = found[: wanted.limit], len(found) > wanted.limit
    if back:
        shown.reverse()
    first, last = (shown[0], shown[-1]) if shown else (None, None)
    left = first if (more if back else after is not None) else None
    right = last if back or more else None
    if wanted.order == "normal":
        left, right = right, left
    return Page(ids=shown, before=left, after=right)


def _walk(ids: Sequence[str], cursor: str | None, *, upwards: bool) -> Iterable[str]:
    if upwards:
        start = 0 if cursor is None else bisect_right(ids, cursor)
        return (ids[place] for place in range(start, len(ids)))
    end = len(ids) if cursor is None else bisect_left(ids, cursor)
    return (ids[place] for place in range(end - 1, -1, -1))
