import stripe

from tests.sandbox.stripe.shop import customer_with_card, price_id, subscribed, types


def test_fifteen_entitlements_take_two_pages_and_all_arrive(client: stripe.StripeClient) -> None:
    """P6: more entitlements than one page."""
    product = client.v1.products.create({"name": "Everything"})
    for n in range(15):
        feature = client.v1.entitlements.features.create(
            {"name": f"Feature {n}", "lookup_key": f"feature-{n}"}
        )
        client.v1.products.features.create(product.id, {"entitlement_feature": feature.id})
    price = client.v1.prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 100,
            "recurring": {"interval": "month"},
        }
    )
    customer = customer_with_card(client).id
    client.v1.subscriptions.create({"customer": customer, "items": [{"price": price.id}]})

    first = client.v1.entitlements.active_entitlements.list({"customer": customer})
    assert (len(first.data), first.has_more) == (10, True)
    keys = {e.lookup_key for e in first.auto_paging_iter()}
    assert keys == {f"feature-{n}" for n in range(15)}
    event = client.v1.events.list({"type": "entitlements.*"}).data[0]
    summary = event.data.object
    assert "id" not in summary
    assert summary["customer"] == customer
    assert (len(summary["entitlements"]["data"]), summary["entitlements"]["has_more"]) == (10, True)


def test_entitlements_end_with_the_subscription(client: stripe.StripeClient) -> None:
    sub = subscribed(client)
    of = {"customer": str(sub.customer)}
    found = client.v1.entitlements.active_entitlements.list(of).data
    assert [e.lookup_key for e in found] == ["reports"]

    client.v1.subscriptions.cancel(sub.id)

    assert client.v1.entitlements.active_entitlements.list(of).data == []
    kind = "entitlements.active_entitlement_summary.updated"
    assert types(client, kind) == [kind, kind]


def test_a_feature_given_to_a_product_reaches_its_customers(client: stripe.StripeClient) -> None:
    sub = subscribed(client)
    feature = client.v1.entitlements.features.create({"name": "New", "lookup_key": "new"})
    price = client.v1.prices.retrieve(price_id(client))
    attached = client.v1.products.features.create(
        str(price.product), {"entitlement_feature": feature.id}
    )

    of = {"customer": str(sub.customer)}
    assert len(client.v1.entitlements.active_entitlements.list(of).data) == 2

    client.v1.products.features.delete(str(price.product), attached.id)
    assert len(client.v1.entitlements.active_entitlements.list(of).data) == 1
