from tenure.sandbox.stripe.billing.dunning import next_attempt
from tenure.sandbox.stripe.model import DAY


def test_each_failure_waits_its_own_days_and_the_last_one_gives_up() -> None:
    days = (3, 5, 7)

    waits = [next_attempt(attempts, days, 1_000) for attempts in (1, 2, 3, 4)]

    assert waits == [1_000 + 3 * DAY, 1_000 + 5 * DAY, 1_000 + 7 * DAY, None]


def test_without_retries_the_first_failure_is_the_last() -> None:
    assert next_attempt(1, (), 1_000) is None
