from hypothesis import given
from hypothesis import strategies as st

from tenure.sandbox.workos.paging import Cut, cut
from tenure.sandbox.workos.table import Journal, Table

names = st.lists(st.sampled_from("abcdefghij"), unique=True).map(sorted)
orders = st.sampled_from(["asc", "desc", "normal"])
limits = st.integers(1, 12)


@given(ids=names, order=orders, limit=limits, kept=st.frozensets(st.sampled_from("abcdefghij")))
def test_going_on_shows_everything_once_and_going_back_shows_it_again(
    ids: list[str], order: str, limit: int, kept: frozenset[str]
) -> None:
    wanted = [name for name in ids if name in kept]
    shown: list[list[str]] = []
    page = cut(ids, Cut(order=order, limit=limit), kept.__contains__)
    older = "before" if order == "normal" else "after"
    newer = "after" if order == "normal" else "before"
    shown.append(list(page.ids))
    while (cursor := getattr(page, older)) is not None:
        page = cut(ids, Cut(order=order, limit=limit, **{older: cursor}), kept.__contains__)
        shown.append(list(page.ids))
    flat = [name for names in shown for name in names]
    assert flat == (wanted if order == "asc" else wanted[::-1])
    for expected in shown[-2::-1]:
        cursor = getattr(page, newer)
        page = cut(ids, Cut(order=order, limit=limit, **{newer: cursor}), kept.__contains__)
        assert list(page.ids) == expected
    assert getattr(page, newer) is None


acts = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["x", "y", None])), max_size=12)


@given(acts=acts)
def test_a_view_of_the_past_is_exact_and_leaves_the_present_as_it_was(
    acts: list[tuple[str, str | None]],
) -> None:
    journal, rows = Journal(), dict[str, dict[str, str]]()
    table = Table(rows, journal, of=lambda row: (row["of"], row["id"]))
    past = [dict(rows)]
    for key, of in acts:
        if of is not None:
            table.put({"id": key, "of": of})
        elif key in rows:
            table.drop(key)
        else:
            continue
        journal.close()
        past.append(dict(rows))

    def consistent() -> bool:
        found = {of: list(table.find("of", of)) for of in "xy"}
        return table.ids == sorted(rows) and found == {
            of: sorted(key for key, row in rows.items() if row["of"] == of) for of in "xy"
        }

    for back, before in enumerate(past[-2::-1], start=1):
        with journal.rewound(back):
            assert rows == before
            assert consistent()
        assert rows == past[-1]
        assert consistent()
