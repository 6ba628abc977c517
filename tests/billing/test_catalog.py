"""What can be bought is read through, page by page, and never stored."""

import pytest

from tenure.billing import catalog
from tenure.billing.errors import Refused, StripeAway, StripeTrouble
from tenure.billing.stripe import Stripe

from .shop import Shop, merchant_of, stripe_of


async def test_pages_follow_each_other_and_hold_everything_once(shop: Shop) -> None:
    """T3: paging passes through."""
    for n in range(5):
        shop.merchant.v1.products.create({"name": f"Product {n}"})
    seen: list[str] = []
    after = None
    while True:
        page = await catalog.list_products(shop.stripe, limit=3, starting_after=after)
        seen += [item["id"] for item in page.data]
        assert page.has_more == (page.next is not None)
        if page.next is None:
            break
        after = page.next

    listed = shop.merchant.v1.products.list({"limit": 100}).data
    assert seen == [product.id for product in listed]


async def test_filters_pass_through(shop: Shop) -> None:
    """T3: query parameters."""
    product = shop.merchant.v1.products.create({"name": "Old"}).id
    recurring = {"interval": "month"}
    base = {"product": product, "currency": "eur", "unit_amount": 5}
    monthly = shop.merchant.v1.prices.create({**base, "recurring": recurring}).id  # type: ignore[typeddict-item]
    once = shop.merchant.v1.prices.create(base).id  # type: ignore[arg-type]
    shop.merchant.v1.products.update(product, {"active": False})

    archived = await catalog.list_products(shop.stripe, active=False)
    active = await catalog.list_products(shop.stripe, active=True)
    single = await catalog.list_prices(shop.stripe, product=product, type="one_time")
    euros = await catalog.list_prices(shop.stripe, currency="eur", active=None)

    assert [p["id"] for p in archived.data] == [product]
    assert product not in {p["id"] for p in active.data}
    assert [p["id"] for p in single.data] == [once]
    assert [p["id"] for p in euros.data] == [once, monthly]


async def test_only_what_a_shop_window_needs_leaves_the_house(shop: Shop) -> None:
    products = await catalog.list_products(shop.stripe)
    prices = await catalog.list_prices(shop.stripe)

    assert {"id", "name", "metadata"} <= set(products.data[0]) <= set(catalog.PRODUCT)
    assert {"id", "unit_amount", "recurring"} <= set(prices.data[0]) <= set(catalog.PRICE)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"starting_after": "prod_none"}, "starting_after"),
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_stripe_refuses_names_the_field(
    stripe: Stripe, asked: dict[str, str | int], param: str
) -> None:
    """T3: 422 with the field, and not 502."""
    with pytest.raises(Refused) as refused:
        await catalog.list_products(stripe, **asked)

    assert refused.value.facts["param"] == param


async def test_each_request_reads_stripe_as_it_is_now_and_nothing_is_stored(shop: Shop) -> None:
    """T3: built at request time, never mirrored into a table."""
    before = await catalog.list_products(shop.stripe)
    new = shop.merchant.v1.products.create({"name": "Fresh"}).id

    after = await catalog.list_products(shop.stripe)

    assert [p["id"] for p in after.data] == [new, *(p["id"] for p in before.data)]
    tables = await shop.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'tenure'")
    for table in (row["tablename"] for row in tables):
        assert not table.startswith(("product", "price", "plan")), table
    for table in ("inbox", "subjects", "news", "audit_log"):
        assert await shop.count(table) == 0


@pytest.mark.parametrize("fault", ["429", "500"])
async def test_trouble_at_stripe_is_told_without_its_inside(shop: Shop, fault: str) -> None:
    """T5: answered with 502 or 503, the detail only in our log."""
    shop.box.fault(fault, match="GET /v1/products", count=-1)

    with pytest.raises(StripeTrouble) as trouble:
        await catalog.list_products(shop.stripe)

    assert not any(word in str(trouble.value) for word in ("req_", "http", "sk_", "/v1"))


async def test_a_slow_stripe_is_away(shop: Shop) -> None:
    """T5: slower than we wait."""
    shop.box.fault("latency", match="GET /v1/products", count=-1, seconds=5)

    async with shop.other() as hasty:
        with pytest.raises(StripeAway):
            await catalog.list_products(hasty.stripe)


async def test_live_and_test_mode_have_their_own_catalog(shop: Shop) -> None:
    live = stripe_of(shop.box, secret_key="sk_live_sandbox")
    made = merchant_of(shop.box, "sk_live_sandbox").v1.products.create({"name": "Live"}).id

    here, there = await catalog.list_products(shop.stripe), await catalog.list_products(live)

    assert [p["id"] for p in there.data] == [made]
    assert made not in {p["id"] for p in here.data}
    assert (live.livemode, shop.stripe.livemode) == (True, False)
    await live.close()
