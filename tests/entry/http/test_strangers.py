"""What may be asked without a token, and what a gate that only observes still refuses."""

import asyncio
from typing import Any

import pytest

from tenure.base.db import Db
from tenure.sandbox.stripe.running import Box
from tests.entry.http.house import ORIGIN, House, a_house, error_of, settings_for
from tests.entry.http.test_billing import checkout, pay
from tests.identity.clerk_scene import Scene


async def test_strangers_cannot_use_up_our_share_of_stripe(
    url: str, db: Db, scene: Scene, box: Box
) -> None:
    """T5: the return page takes no token, so its calls are a small share of all."""
    found = settings_for(url, stripe=box.url, clerk=scene.clerk.url, stripe_rate=1.0)
    async with a_house(found, db, scene=scene, box=box) as house:
        paths = [f"/stripe/return?session_id=cs_test_{n}" for n in range(8)]
        answers = await asyncio.gather(*(house.http.get(path) for path in paths))

    refused = [answer for answer in answers if answer.status_code == 503]
    assert sorted(answer.status_code for answer in answers) == [404] * 4 + [503] * 4
    assert {error_of(answer)["code"] for answer in refused} == {"base.budget_spent"}
    assert all(answer.headers["retry-after"] == "2" for answer in refused)


@pytest.mark.parametrize(
    ("page", "onward"),
    [
        (f"{ORIGIN}/paid", f"{ORIGIN}/paid?state=ready"),
        (f"{ORIGIN}/paid?a=1", f"{ORIGIN}/paid?a=1&state=ready"),
        (f"{ORIGIN}/paid?a=1#top", f"{ORIGIN}/paid?a=1&state=ready#top"),
        (f"{ORIGIN}/#/paid?a=1", f"{ORIGIN}/?state=ready#/paid?a=1"),
    ],
)
async def test_the_page_that_people_go_on_to_is_told_in_its_query(
    house: House, page: str, onward: str
) -> None:
    """T5: a fragment stays the end of the address."""
    session = (await checkout(house, house.someone())).json()
    await pay(house, session["url"])
    asked = {"session_id": session["id"], "next": page}

    answer = await house.http.get("/stripe/return", params=asked)

    assert (answer.status_code, answer.headers["location"]) == (303, onward)


async def test_a_gate_that_observes_still_guards_the_till(
    url: str, db: Db, scene: Scene, box: Box
) -> None:
    """M3: nobody who is no admin spends the organization's money, or sees its invoices."""
    found = settings_for(url, stripe=box.url, clerk=scene.clerk.url, gate_mode="observe")
    doors: dict[str, dict[str, Any]] = {
        "/stripe/customer": {},
        "/stripe/checkout": {"lines": [{"price": "price_1"}], "success_url": ORIGIN},
        "/stripe/portal": {"return_url": ORIGIN},
    }
    async with a_house(found, db, scene=scene, box=box) as house:
        session = scene.a_session()
        await house.http.post("/stripe/customer", headers=house.as_session(session["id"]))
        member = house.member_of(session["org"]["id"])
        said = [
            (await house.http.post(path, json=body, headers=member)).status_code
            for path, body in doors.items()
        ]
        gate = await house.http.get("/gate/check", headers=member)

    assert said == [403, 403, 403]
    assert (gate.status_code, gate.headers["x-tenure-reason"]) == (200, "no_subscription")
