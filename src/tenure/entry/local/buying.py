"""The first half of the story: from a sign-up to an open gate."""

import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from tenure.entry.local.errors import NotAsTold
from tenure.entry.local.scene import Json, Scene, Seen, bought, click, decision, expect

AT_ONCE = 20
PLAN = "team_monthly"
DELAY = 0.7  # seconds
FAULTS: tuple[Json, ...] = (
    {"name": "double", "match": "invoice.paid"},
    {"name": "double", "match": "checkout.session.completed"},
    # `created` is kept back until `updated` comes, and then goes out behind it.
    {"name": "reorder", "match": "customer.subscription.*", "count": 2, "seconds": 5.0},
    {"name": "delay", "match": "invoice.payment_succeeded", "seconds": DELAY},
)


def sign_up(scene: Scene) -> Seen:
    """Sign a user up, let her found an organization, and take a session token."""
    email = scene.ids.token("ada-", 6) + "@example.com"
    who, http = scene.who, scene.identity
    scene.user = who.sign_up(http, email, "Ada")
    scene.org = who.found(http, "Ada Ltd", scene.user)
    scene.token = who.token(http, scene.user, scene.org, "admin")
    scene.service.headers["Authorization"] = f"Bearer {scene.token}"
    facts = {"user": scene.user, "organization": scene.org, "email": email}
    founded = " and founded Ada Ltd" if scene.org else ", for herself"
    return Seen(text=f"{email} signed up at {who.title}{founded}", facts=facts)


def read_products(scene: Scene) -> Seen:
    """See what can be bought; without a token there is nothing to see."""
    anonymous = scene.service.get("/stripe/products", headers={"Authorization": ""})
    expect(anonymous.status_code == HTTPStatus.UNAUTHORIZED, wanted="401", came=anonymous)
    answer = scene.service.get("/stripe/products")
    expect(answer.is_success, wanted="200", came=answer)
    names = sorted(product["name"] for product in answer.json()["data"])
    expect({"Business", "Team"} <= set(names), wanted="Business and Team", came=names)
    return Seen(text=", ".join(names), facts={"products": names})


def read_prices(scene: Scene) -> Seen:
    """See what it costs."""
    answer = scene.service.get("/stripe/prices", params={"limit": 100})
    expect(answer.is_success, wanted="200", came=answer)
    prices = [price for price in answer.json()["data"] if price["lookup_key"]]
    scene.prices = {price["lookup_key"]: price["id"] for price in prices}
    expect(PLAN in scene.prices, wanted=f"a price called {PLAN}", came=answer)
    cents = {price["lookup_key"]: price["unit_amount"] for price in prices}
    text = ", ".join(f"{name} {amount / 100:.2f}" for name, amount in sorted(cents.items()))
    return Seen(text=text, facts={"cents": cents})


def find_gate_closed(scene: Scene) -> Seen:
    """Be refused, and be told why."""
    answer = scene.gate()
    closed = answer.status_code == HTTPStatus.PAYMENT_REQUIRED
    reason = decision(answer).get("reason")
    expect(closed and reason == "no_subscription", wanted="402, no_subscription", came=answer)
    error = answer.json()["error"]
    text = f"402 {error['code']}: {error['message']}; {error['hint']}"
    return Seen(text=text, facts={"status": 402, "reason": reason})


def ask_for_customer(scene: Scene) -> Seen:
    """Click twenty times at once: one customer, in the answers and in Stripe."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [pool.submit(scene.service.post, "/stripe/customer") for _ in range(AT_ONCE)]
    answers = [one.result() for one in asked]
    statuses = sorted(answer.status_code for answer in answers)
    expect(statuses == [200] * (AT_ONCE - 1) + [201], wanted="one 201 and 200s", came=statuses)
    made = {answer.json()["stripe_customer_id"] for answer in answers}
    expect(len(made) == 1, wanted="one customer in the answers", came=made)
    scene.customer = made.pop()
    owner = answers[0].json()["owner"]
    listed = scene.stripe.get("/v1/customers", params={"limit": 100}).json()["data"]
    owned = [c["id"] for c in listed if c["metadata"].get("tenure_owner") == owner]
    expect(owned == [scene.customer], wanted=f"one customer of {owner} in Stripe", came=owned)
    text = f"{AT_ONCE} calls at once, one customer: {scene.customer}"
    return Seen(text=text, facts={"calls": AT_ONCE, "customers": len(owned), "owner": owner})


def open_checkout(scene: Scene) -> Seen:
    """Get the address of a page to pay on."""
    order = {"lines": [{"price": scene.prices[PLAN]}], "success_url": scene.return_url}
    answer = scene.service.post("/stripe/checkout", json=order)
    expect(answer.status_code == HTTPStatus.CREATED, wanted="201, a session", came=answer)
    session = answer.json()
    same = session["stripe_customer_id"] == scene.customer
    expect(same, wanted=f"a session of {scene.customer}", came=session)
    scene.checkout = session["url"]
    return Seen(text=f"a page to pay {PLAN} on", facts={"session": session["id"]})


def pay(scene: Scene) -> Seen:
    """Pay on the hosted page, while the news of it is going to be doubled, late and disordered."""
    for fault in FAULTS:
        planned = scene.stripe.post("/_sandbox/faults", json=fault)
        expect(planned.is_success, wanted="a planned fault", came=planned)
    scene.old_deliveries = frozenset(d["id"] for d in _deliveries(scene))
    scene.paid_at = time.perf_counter()
    paid = click(scene.stripe, scene.checkout, card="fails_later")
    back = paid.headers.get("location", "")
    sent_back = paid.status_code == HTTPStatus.SEE_OTHER and back.startswith("http")
    expect(sent_back, wanted="303 back to the application", came=paid)
    return Seen(text="paid with a card that will fail at the renewal", facts={"back": back})


def find_gate_open(scene: Scene) -> Seen:
    """Wait for the gate to open: by webhooks alone, nobody visits the return page."""
    answer = scene.until(lambda a: a.is_success, "200, an open gate")
    took = round((time.perf_counter() - scene.paid_at) * 1000, 1)
    scene.subscription = bought(answer)
    status = scene.subscription.get("status")
    expect(status == "active", wanted="an active subscription", came=answer)
    text = f"open {took:.0f} ms after the payment, until {scene.subscription['current_period_end']}"
    return Seen(text=text, facts={"payment_to_gate_ms": took, "status": status})


def count_webhooks(scene: Scene) -> Seen:
    """See that every event was taken: some came twice, some out of order, one late; none forged."""
    sent = _wait_for_deliveries(scene)
    answers = [answer for one in sent for answer in one["answers"]]
    expect(set(answers) == {200}, wanted="200 for every delivery", came=answers)
    events = [one["event"] for one in sent]
    twice = len(events) - len(set(events))
    arrived = {one["type"]: one["delivered_at"] for one in sent}
    swapped = arrived["customer.subscription.created"] > arrived["customer.subscription.updated"]
    late = [o["type"] for o in sent if o["delivered_at"] - o["planned_at"] >= DELAY]
    expect(twice == 2, wanted="two events twice", came=events)  # noqa: PLR2004 (as FAULTS says)
    expect(swapped, wanted="`created` behind `updated`", came=arrived)
    expect("invoice.payment_succeeded" in late, wanted="one late", came=late)
    forged = scene.service.post(
        "/webhooks/stripe", json={"type": "invoice.paid"}, headers={"Stripe-Signature": "t=1,v1=0"}
    )
    expect(forged.status_code == HTTPStatus.BAD_REQUEST, wanted="400 for a forgery", came=forged)
    still = scene.gate()
    expect(bought(still).get("id") == scene.subscription["id"], wanted="an open gate", came=still)
    text = f"{len(sent)} came: {twice} twice, 2 out of order, {len(late)} late; a forged one: 400"
    facts = {"deliveries": len(sent), "twice": twice, "late": len(late), "forged": 400}
    return Seen(text=text, facts=facts | {"out_of_order": swapped})


def _wait_for_deliveries(scene: Scene) -> list[Json]:
    """Wait until nothing is under way, the late one included."""
    deadline = time.monotonic() + 10.0
    while True:
        sent = [d for d in _deliveries(scene) if d["id"] not in scene.old_deliveries]
        waiting = [d for d in sent if d["status"] != "delivered"]
        if sent and not waiting:
            return sent
        scene.check()
        if time.monotonic() > deadline:
            raise NotAsTold(f"expected every event delivered; came {waiting}")
        time.sleep(0.02)


def _deliveries(scene: Scene) -> list[Json]:
    return scene.stripe.get("/_sandbox/deliveries").json()["data"]
