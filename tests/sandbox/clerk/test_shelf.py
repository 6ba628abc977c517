from hypothesis import given
from hypothesis import strategies as st

from tenure.sandbox.clerk.shelf import History, Json, Shelf

ACTS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "drop"]),
        st.sampled_from("abcde"),
        st.sampled_from("xy"),
        st.integers(0, 2),
    ),
    max_size=16,
)


def a_shelf() -> tuple[Shelf, History]:
    history = History()
    return Shelf({}, history, {"colour": lambda row: (row["colour"],)}), history


def shown(shelf: Shelf) -> dict[str, list[Json]]:
    every = {colour: shelf.of("colour", colour) for colour in "xy"}
    return {"": shelf.at(shelf.places()), **every}


@given(ACTS)
def test_an_index_holds_what_a_search_would_find_in_order_of_creation(
    acts: list[tuple[str, str, str, int]],
) -> None:
    shelf, _ = a_shelf()
    plain: dict[str, Json] = {}
    for act, key, colour, created in acts:
        if act == "put":
            row = {"id": key, "colour": colour, "created_at": created}
            plain[key] = shelf.put(row)
        elif key in plain:
            shelf.drop(key)
            del plain[key]
    for colour, rows in shown(shelf).items():
        wanted = [row for row in plain.values() if colour in {"", row["colour"]}]
        assert [row["created_at"] for row in rows] == sorted(row["created_at"] for row in wanted)
        assert sorted(row["id"] for row in rows) == sorted(row["id"] for row in wanted)


@given(ACTS, st.integers(1, 16))
def test_behind_an_act_everything_is_as_it_was_and_afterwards_as_it_is(
    acts: list[tuple[str, str, str, int]], back: int
) -> None:
    shelf, history = a_shelf()
    states = [shown(shelf)]
    for act, key, colour, created in acts:
        history.begin()
        if act == "put":
            shelf.put({"id": key, "colour": colour, "created_at": created})
        elif key in shelf:
            shelf.drop(key)
        else:
            continue
        states.append(shown(shelf))
    with history.behind(back):
        assert shown(shelf) == states[max(len(states) - 1 - back, 0)]
    assert shown(shelf) == states[-1]
