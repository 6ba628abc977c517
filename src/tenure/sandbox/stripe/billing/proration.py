"""What is still worth something when a price or quantity changes inside a period."""


def share(amount: int, start: int, end: int, at: int) -> int:
    """Give the part of `amount` that belongs to the time from `at` to `end`, by the second.

    Units: cents and UNIX seconds. Halves go away from zero.
    """
    left = min(max(end - at, 0), end - start)
    whole, rest = divmod(abs(amount) * left, end - start)
    rounded = whole + (1 if rest * 2 >= end - start else 0)
    return rounded if amount >= 0 else -rounded


def prorated(before: int, after: int, period: tuple[int, int], at: int) -> tuple[int, int]:
    """Give the credit (never positive) and the debit (never negative) of one change."""
    start, end = period
    return -share(before, start, end, at), share(after, start, end, at)


def with_balance(total: int, balance: int) -> tuple[int, int]:
    """Settle a total against a customer's balance: what is due, and the balance afterwards.

    A negative balance is credit. A negative total becomes credit.
    """
    if total <= 0:
        return 0, balance + total
    due = max(total + balance, 0)
    return due, min(total + balance, 0)
