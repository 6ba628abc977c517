"""The worlds use the shop of the billing tests."""

from tests.billing.conftest import box, shop, started, stripe

__all__ = ["box", "shop", "started", "stripe"]
