"""What can be bought and buying it, with a Stripe that works and with one that does not."""

import asyncio
from typing import Any

import httpx
import pytest
import structlog

from tests.entry.http.house import ORIGIN, House, error_of

BACK = f"{ORIGIN}/paid?session_id={{CHECKOUT_SESSION_ID}}"


async def price_of(house: House, headers: dict[str, str], lookup_key: str = "team_monthly") -> str:
    prices = (await house.http.get("/stripe/prices?limit=100", headers=headers)).json()["data"]
    return next(p["id"] for p in prices if p["lookup_key"] == lookup_key)


async def checkout(house: House, headers: dict[str, str], **changes: Any) -> httpx.Response:
    price = await price_of(house, headers)
    order = {"lines": [{"price": price}], "success_url": BACK} | changes
    return await house.http.post("/stripe/checkout", json=order, headers=headers)


async def pay(house: House, url: str) -> None:
    """Pay on the hosted page; away from our loop, as a browser is."""
    assert (await asyncio.to_thread(house.box.pay, url)).status_code == 303


@pytest.mark.parametrize("what", ["products", "prices"])
async def test_the_catalog_pages_through_and_is_never_stored(house: House, what: str) -> None:
    """T3: built from Stripe's API at request time, paging passes through."""
    headers = house.someone()
    whole = (await house.http.get(f"/stripe/{what}", headers=headers)).json()
    found, after = [], ""
    while True:
        path = f"/stripe/{what}?limit=1{after}"
        page = (await house.http.get(path, headers=headers)).json()
        assert len(page["data"]) == 1
        found += page["data"]
        if not page["has_more"]:
            break
        after = f"&starting_after={page['next']}"

    assert found == whole["data"]
    assert page["next"] is None
    assert len(found) >= 2
    async with house.db.statement() as tx:
        tables = await (await tx.execute("SELECT relname FROM pg_class")).fetchall()
    assert not {"products", "prices"} & {row["relname"] for row in tables}


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/stripe/products?limit=0", "limit"),
        ("/stripe/products?limit=101", "limit"),
        ("/stripe/products?limit=many", "limit"),
        ("/stripe/products?active=perhaps", "active"),
        ("/stripe/products?starting_after=%20", "starting_after"),
        ("/stripe/prices?currency=EURO", "currency"),
        ("/stripe/prices?type=forever", "type"),
        ("/stripe/prices?product=a/b", "product"),
    ],
)
async def test_a_wrong_parameter_is_named(house: House, path: str, field: str) -> None:
    """T3: 422 with the field."""
    answer = await house.http.get(path, headers=house.someone())

    assert answer.status_code == 422
    assert [problem["field"] for problem in error_of(answer)["fields"]] == [field]


async def test_a_cursor_that_stripe_does_not_know_is_refused(house: House) -> None:
    path = "/stripe/products?starting_after=prod_unknown"
    answer = await house.http.get(path, headers=house.someone())

    assert 400 <= answer.status_code < 503
    assert "Traceback" not in answer.text
    assert error_of(answer)["code"].startswith("billing.")


async def test_prices_are_filtered(house: House) -> None:
    headers = house.someone()
    product = (await house.http.get("/stripe/products", headers=headers)).json()["data"][0]["id"]

    answer = await house.http.get(f"/stripe/prices?product={product}", headers=headers)

    assert {price["product"] for price in answer.json()["data"]} == {product}


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("500", 502, "billing.stripe_failed"),
        ("429", 503, "billing.stripe_busy"),
        ("lock_timeout", 503, "billing.stripe_busy"),
    ],
)
async def test_stripe_s_trouble_is_told_without_its_insides(
    house: House, fault: str, status: int, code: str
) -> None:
    """T5: 502 or 503 for the client, the detail for the log."""
    headers = house.someone()
    house.box.fault(fault, count=-1, match="/v1/products")

    with structlog.testing.capture_logs() as lines:
        answer = await house.http.get("/stripe/products", headers=headers)

    assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    assert ("retry-after" in answer.headers) is (status == 503)
    told = [line for line in lines if line["event"] == "billing.stripe.failed"]
    assert told
    assert told[-1]["call"] == "get /v1/products"
    assert "req_" not in error_of(answer)["message"]


async def test_a_stripe_that_does_not_answer_is_503(house: House) -> None:
    """T5: away; here nobody listens where Stripe should be."""
    headers = house.someone()
    stripe: Any = house.service.world.stripe
    base = stripe._client._requestor._options.base_addresses  # noqa: SLF001 (to move Stripe away)
    before, base["api"] = base["api"], "http://127.0.0.1:9"
    try:
        answer = await house.http.get("/stripe/products", headers=headers)
    finally:
        base["api"] = before

    assert (answer.status_code, error_of(answer)["code"]) == (503, "billing.stripe_away")
    assert "127.0.0.1" not in answer.text


async def test_one_customer_whatever_is_clicked(house: House) -> None:
    """T4: twenty clicks at once are one customer, in Stripe and with us."""
    headers = house.someone()
    house.box.control("DELETE", "/requests")

    answers = await asyncio.gather(
        *(house.http.post("/stripe/customer", headers=headers) for _ in range(20))
    )

    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["stripe_customer_id"] for answer in answers}) == 1
    assert house.box.requests()["POST /v1/customers"] == 1
    async with house.db.statement() as tx:
        cur = await tx.execute("SELECT org_id FROM tenure.stripe_customers")
        rows = await cur.fetchall()
    assert [f"org:{row['org_id']}" for row in rows] == [answers[0].json()["owner"]]


async def test_a_customer_is_made_with_what_was_told_of_it(house: House) -> None:
    """T4: name and address reach Stripe; the second call changes nothing."""
    headers, told = house.someone(), {"email": "ada@example.com", "name": "Ada"}

    first = await house.http.post("/stripe/customer", json=told, headers=headers)
    second = await house.http.post("/stripe/customer", json={"name": "Eve"}, headers=headers)

    assert (first.json()["created"], second.json()["created"]) == (True, False)
    raw = await house.service.world.stripe.call(
        "get", f"/v1/customers/{first.json()['stripe_customer_id']}"
    )
    assert (raw["email"], raw["name"]) == ("ada@example.com", "Ada")


async def test_stripe_failing_while_a_customer_is_made_leaves_no_second_one(house: House) -> None:
    """T4, T5: 502 now, one customer later."""
    headers = house.someone()
    house.box.fault("500", count=-1, match="POST /v1/customers")
    refused = await house.http.post("/stripe/customer", headers=headers)
    house.box.control("DELETE", "/faults")

    made = await house.http.post("/stripe/customer", headers=headers)

    assert (refused.status_code, error_of(refused)["code"]) == (502, "billing.stripe_failed")
    assert made.status_code == 201


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/stripe/customer", None),
        ("/stripe/checkout", {"lines": [{"price": "price_1"}], "success_url": BACK}),
        ("/stripe/portal", {"return_url": ORIGIN}),
    ],
)
async def test_a_member_may_not_spend_the_organization_s_money(
    house: House, path: str, body: dict[str, Any] | None
) -> None:
    """M3: buying asks for a role, and not for a subscription."""
    session = house.scene.a_session()
    member = house.member_of(session["org"]["id"])
    house.box.control("DELETE", "/requests")

    answer = await house.http.post(path, json=body, headers=member)

    assert (answer.status_code, error_of(answer)["code"]) == (403, "gate.role_missing")
    assert house.box.requests() == {}


async def test_a_purchase_opens_the_gate_on_the_way_back(house: House) -> None:
    """T8, M6: paid, returned, open; and a second subscription is refused."""
    headers = house.someone()
    opened = await checkout(house, headers)
    assert (opened.status_code, opened.json()["reused"]) == (201, False)
    again = await checkout(house, headers)
    assert (again.json()["id"], again.json()["reused"]) == (opened.json()["id"], True)
    session = f"session_id={opened.json()['id']}"
    waiting = await house.http.get(f"/stripe/return?{session}")
    assert waiting.json() == {"state": "open", "subscription_status": None}
    await pay(house, opened.json()["url"])

    back = await house.http.get(f"/stripe/return?{session}&next={ORIGIN}/welcome")

    assert (back.status_code, back.headers["location"]) == (303, f"{ORIGIN}/welcome?state=ready")
    assert (await house.http.get(f"/stripe/return?{session}")).json() == {
        "state": "ready",
        "subscription_status": "active",
    }
    house.service.gate.cache.hears(news=True)
    assert (await house.http.get("/gate/check", headers=headers)).status_code == 200
    second = await checkout(house, headers)
    assert (second.status_code, error_of(second)["code"]) == (409, "billing.already_subscribed")


@pytest.mark.parametrize(
    ("order", "status", "what"),
    [
        ({"success_url": "https://evil.example.com"}, 422, "billing.address_not_allowed"),
        ({"success_url": "javascript:alert(1)"}, 422, "billing.address_not_allowed"),
        ({"cancel_url": f"{ORIGIN}.evil.example.com"}, 422, "billing.address_not_allowed"),
        ({"lines": []}, 422, "http.invalid"),
        ({"lines": [{"price": "price_1", "quantity": 0}]}, 422, "http.invalid"),
        ({"lines": [{"price": "price_1", "colour": "red"}]}, 422, "http.invalid"),
        ({"discount": "all"}, 422, "http.invalid"),
        ({"trial_days": 0}, 422, "http.invalid"),
    ],
)
async def test_an_order_that_is_wrong_is_refused(
    house: House, order: dict[str, Any], status: int, what: str
) -> None:
    """T5: and what is refused by its shape names the field."""
    answer = await checkout(house, house.someone(), **order)

    assert (answer.status_code, error_of(answer)["code"]) == (status, what)
    assert (what == "http.invalid") is ("fields" in error_of(answer))


async def test_a_price_that_stripe_does_not_know_is_refused(house: House) -> None:
    answer = await checkout(house, house.someone(), lines=[{"price": "price_unknown"}])

    assert 400 <= answer.status_code < 503
    assert error_of(answer)["code"].startswith("billing.")


async def test_the_portal_opens_for_a_customer_only(house: House) -> None:
    headers, where = house.someone(), {"return_url": f"{ORIGIN}/settings"}

    nobody = await house.http.post("/stripe/portal", json=where, headers=headers)
    await house.http.post("/stripe/customer", headers=headers)
    opened = await house.http.post("/stripe/portal", json=where, headers=headers)
    elsewhere = await house.http.post(
        "/stripe/portal", json={"return_url": "https://evil.example.com"}, headers=headers
    )

    assert (nobody.status_code, error_of(nobody)["code"]) == (404, "billing.no_customer")
    assert opened.status_code == 201
    assert opened.json()["url"].startswith(house.box.url)
    assert error_of(elsewhere)["code"] == "billing.address_not_allowed"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 422, "http.invalid"),
        ("session_id=x", 422, "http.invalid"),
        ("session_id=cs_test_unknown", 404, "billing.unknown_session"),
        (
            "session_id=cs_test_unknown&next=https://evil.example.com",
            422,
            "billing.address_not_allowed",
        ),
    ],
)
async def test_a_return_that_is_none_of_ours_is_refused(
    house: House, query: str, status: int, code: str
) -> None:
    answer = await house.http.get(f"/stripe/return?{query}")

    assert (answer.status_code, error_of(answer)["code"]) == (status, code)


@pytest.mark.parametrize(
    ("given", "field"),
    [({"name": "a\x00b"}, "name"), ({"name": "a\nb"}, "name"), ({"email": "a\x00@b.c"}, "email")],
)
async def test_a_name_with_control_characters_is_refused(
    house: House, given: dict[str, str], field: str
) -> None:
    """T5: never a 500; Postgres holds no NUL."""
    answer = await house.http.post("/stripe/customer", json=given, headers=house.someone())

    assert answer.status_code == 422
    assert [problem["field"] for problem in error_of(answer)["fields"]] == [field]
