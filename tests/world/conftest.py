"""The worlds use the shop of the billing tests."""

from tests.billing.conftest import SDKS_OWN, box, shop, started, stripe

__all__ = ["SDKS_OWN", "box", "shop", "started", "stripe"]
