from hypothesis import given
from hypothesis import strategies as st

from tenure.sandbox.stripe.billing.proration import prorated, share, with_balance

amounts = st.integers(min_value=0, max_value=10_000_000)
periods = st.tuples(
    st.integers(min_value=0, max_value=2_000_000_000),
    st.integers(min_value=1, max_value=31_622_400),
).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(amounts, periods, st.data())
def test_changing_to_the_same_price_costs_nothing(
    amount: int, period: tuple[int, int], data: st.DataObject
) -> None:
    at = data.draw(st.integers(*period))

    assert sum(prorated(amount, amount, period, at)) == 0


@given(amounts, amounts, periods, st.data())
def test_a_credit_never_exceeds_what_was_paid_nor_a_debit_the_new_price(
    before: int, after: int, period: tuple[int, int], data: st.DataObject
) -> None:
    credit, debit = prorated(before, after, period, data.draw(st.integers(*period)))

    assert -before <= credit <= 0 <= debit <= after


@given(amounts, amounts, periods)
def test_a_change_at_the_start_costs_the_difference_and_at_the_end_nothing(
    before: int, after: int, period: tuple[int, int]
) -> None:
    assert sum(prorated(before, after, period, period[0])) == after - before
    assert prorated(before, after, period, period[1]) == (0, 0)


@given(amounts, periods, st.data())
def test_what_is_left_shrinks_as_time_passes(
    amount: int, period: tuple[int, int], data: st.DataObject
) -> None:
    early = data.draw(st.integers(*period))
    late = data.draw(st.integers(early, period[1]))

    assert share(amount, *period, late) <= share(amount, *period, early)


@given(st.integers(-10_000, 10_000), st.integers(-10_000, 0))
def test_no_money_is_lost_between_an_invoice_and_a_balance(total: int, balance: int) -> None:
    due, after = with_balance(total, balance)

    assert due >= 0
    assert after <= 0
    assert due + after == total + balance
