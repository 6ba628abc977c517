import stripe

from tenure.sandbox.stripe.running import Box
from tests.sandbox.stripe.shop import DAY, bought, price_id, types


def opened(client: stripe.StripeClient, **fields: object) -> stripe.checkout.Session:
    return client.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "line_items": [{"price": price_id(client), "quantity": 2}],
            "success_url": "http://shop.test/done?session={CHECKOUT_SESSION_ID}",
            "cancel_url": "http://shop.test/cart?<x>",
            **fields,  # type: ignore[typeddict-item]
        }
    )


def test_a_paid_checkout_makes_a_subscription_and_sends_the_customer_back(
    box: Box, client: stripe.StripeClient
) -> None:
    session = opened(
        client, client_reference_id="org_1", subscription_data={"metadata": {"a": "b"}}
    )
    page = box.client.get(str(session.url)).text
    assert "Team" in page
    assert "$24.00" in page
    assert "<x>" not in page

    answer = box.pay(str(session.url), email="new@example.com")

    assert answer.status_code == 303
    assert answer.headers["location"] == f"http://shop.test/done?session={session.id}"
    paid = client.v1.checkout.sessions.retrieve(
        session.id, {"expand": ["subscription.latest_invoice", "line_items", "customer"]}
    )
    assert (paid.status, paid.payment_status, paid.client_reference_id) == (
        "complete",
        "paid",
        "org_1",
    )
    assert paid.subscription["metadata"].to_dict() == {"a": "b"}  # type: ignore[index]
    assert paid.subscription["latest_invoice"]["status"] == "paid"  # type: ignore[index]
    assert paid.customer["email"] == "new@example.com"  # type: ignore[index]
    told = types(client)
    order = [
        "customer.subscription.created",
        "invoice.paid",
        "customer.subscription.updated",
        "checkout.session.completed",
    ]
    assert [t for t in told if t in order] == order
    made = client.v1.events.list({"type": "customer.subscription.created"}).data[0]
    assert made.data.object["status"] == "incomplete"


def test_a_session_is_paid_once(box: Box, client: stripe.StripeClient) -> None:
    session = opened(client)
    assert box.pay(str(session.url)).status_code == 303

    again = box.pay(str(session.url))

    assert again.status_code == 410
    assert "already paid" in again.text
    assert len(client.v1.subscriptions.list().data) == 1


def test_a_declined_card_leaves_the_session_open(box: Box, client: stripe.StripeClient) -> None:
    session = opened(client)

    refused = box.pay(str(session.url), card="declined")

    assert refused.status_code == 402
    assert "Your card was declined." in refused.text
    assert client.v1.checkout.sessions.retrieve(session.id).status == "open"
    assert client.v1.subscriptions.list({"status": "all"}).data == []
    assert box.pay(str(session.url)).status_code == 303


def test_a_session_expires_by_itself_or_on_request(box: Box, client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create({}).id
    first, second = opened(client, customer=customer), opened(client)
    client.v1.checkout.sessions.expire(first.id)

    box.advance(DAY + 60)

    for session in (first, second):
        assert client.v1.checkout.sessions.retrieve(session.id).status == "expired"
        assert box.pay(str(session.url)).status_code == 410
    assert types(client).count("checkout.session.expired") == 2


def test_sessions_are_listed_by_customer_and_status(box: Box, client: stripe.StripeClient) -> None:
    paid = bought(box, client)
    still_open = opened(client, customer=str(paid.customer))

    def ids(**filters: str) -> list[str]:
        found = client.v1.checkout.sessions.list(filters)  # type: ignore[arg-type]
        return [s.id for s in found.data]

    assert ids(customer=str(paid.customer)) == [still_open.id, paid.id]
    assert ids(customer=str(paid.customer), status="open") == [still_open.id]


def test_a_setup_session_saves_a_card(box: Box, client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create({}).id
    session = client.v1.checkout.sessions.create(
        {"mode": "setup", "customer": customer, "success_url": "http://shop.test/ok"}
    )

    assert box.pay(str(session.url)).status_code == 303

    done = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent"]})
    assert done.setup_intent["payment_method"].startswith("pm_")  # type: ignore[index]
    assert len(client.v1.payment_methods.list({"customer": customer}).data) == 1


def test_a_page_that_does_not_exist_says_so(box: Box) -> None:
    assert box.client.get(f"{box.url}/c/pay/cs_test_none").status_code == 404
    assert box.client.get(f"{box.url}/p/session/none").status_code == 404
