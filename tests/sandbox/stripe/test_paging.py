import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from tenure.sandbox.stripe.errors import StripeRefusal
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.paging import page

counts = st.integers(min_value=0, max_value=30)
limits = st.integers(min_value=1, max_value=12)


def rows(count: int) -> list[Obj]:
    return [{"id": f"x_{n}", "created": n} for n in range(count)][::-1]


def walk(count: int, limit: int, cursor: str, keep: object = None) -> list[str]:
    """Read all pages in one direction."""
    found: list[str] = []
    params: Obj = {"limit": limit}
    wanted = keep or (lambda _row: True)
    if cursor == "ending_before":
        if not count:
            return []
        params[cursor] = "x_0"
    while True:
        got = page(rows(count), params, "/", keep=wanted, kind="x")  # type: ignore[arg-type]
        ids = [row["id"] for row in got["data"]]
        found = ids + found if cursor == "ending_before" else found + ids
        if not got["has_more"]:
            return found
        params[cursor] = ids[0] if cursor == "ending_before" else ids[-1]


@given(counts, limits)
def test_paging_forwards_gives_every_row_once_newest_first(count: int, limit: int) -> None:
    assert walk(count, limit, "starting_after") == [row["id"] for row in rows(count)]


@given(counts, limits)
def test_paging_backwards_gives_every_row_before_the_cursor(count: int, limit: int) -> None:
    assert walk(count, limit, "ending_before") == [row["id"] for row in rows(count)][:-1]


@given(counts, limits)
def test_a_filter_hides_rows_but_loses_none(count: int, limit: int) -> None:
    even = [row["id"] for row in rows(count) if row["created"] % 2 == 0]

    assert walk(count, limit, "starting_after", lambda row: row["created"] % 2 == 0) == even


@pytest.mark.parametrize("limit", [0, -1, 101])
def test_a_limit_is_between_1_and_100(limit: int) -> None:
    with pytest.raises(StripeRefusal):
        page(rows(3), {"limit": limit}, "/", keep=lambda _row: True, kind="x")


def test_the_usual_limit_is_ten(client: stripe.StripeClient) -> None:
    for n in range(12):
        client.v1.customers.create({"name": str(n)})

    first = client.v1.customers.list()

    assert (len(first.data), first.has_more, first.url) == (10, True, "/v1/customers")
    assert [c.name for c in first.auto_paging_iter()] == [str(n) for n in range(11, -1, -1)]


def test_a_deleted_cursor_is_an_error(client: stripe.StripeClient) -> None:
    customers = [client.v1.customers.create({}) for _ in range(3)]
    client.v1.customers.delete(customers[1].id)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.customers.list({"starting_after": customers[1].id})

    assert (refused.value.code, refused.value.param) == ("resource_missing", "starting_after")
    assert [c.id for c in client.v1.customers.list().data] == [customers[2].id, customers[0].id]


def test_rows_made_while_paging_do_not_shift_the_pages(client: stripe.StripeClient) -> None:
    old = [client.v1.customers.create({}).id for _ in range(4)][::-1]
    first = client.v1.customers.list({"limit": 2})

    client.v1.customers.create({})
    second = client.v1.customers.list({"limit": 2, "starting_after": first.data[-1].id})

    assert [c.id for c in [*first.data, *second.data]] == old


def test_events_are_filtered_by_type_and_types(client: stripe.StripeClient) -> None:
    client.v1.customers.create({})

    one = client.v1.events.list({"type": "customer.created"}).data
    many = client.v1.events.list({"types": ["customer.created", "product.created"]}).data

    assert {e.type for e in one} == {"customer.created"}
    assert {e.type for e in many} == {"customer.created", "product.created"}
