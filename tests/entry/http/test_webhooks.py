"""Stripe's door: what is signed is kept once, everything else changes nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tenure.base.db import Db
from tenure.sandbox.stripe.running import Box
from tenure.schema import apply, changes
from tests.conftest import Frail, recreate
from tests.entry.http.house import House, a_house, error_of, settings_for
from tests.identity.clerk_scene import Scene

PATH = "/webhooks/stripe"


async def test_a_signed_event_is_kept_and_marks_its_customer(house: House) -> None:
    """T8: verify, dedupe, answer 200 once it is durable."""
    answer = await house.knock(house.event())

    assert (answer.status_code, answer.json()) == (200, {"received": True})
    (kept,) = await house.kept()
    assert (kept["event_id"], kept["subject_id"], kept["note"]) == ("evt_1", "cus_1", None)
    assert bytes(kept["body"]) == house.event()


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        "t=,v1=",
        "t=abc,v1=00",
        "t=1700000000",
        "v1=00",
        "t=1700000000,v1=zz",
        "t=99999999999999999999,v1=00",
        "t=-1,v1=00",
        "t=²,v1=00",
        "ÿþ=\x80",
        "t=1700000000,v1=ÿþ",
        ",".join(["v1=00"] * 5000),
    ],
)
async def test_a_signature_that_is_none_is_refused(house: House, header: str | None) -> None:
    """T8: 400, never a 500, and nothing is stored."""
    given = {} if header is None else {b"stripe-signature": header.encode("latin-1")}

    answer = await house.http.post(PATH, content=house.event(), headers=given)

    assert answer.status_code == 400
    assert error_of(answer)["code"] == "billing.bad_signature"
    assert await house.kept() == []


@pytest.mark.parametrize(
    ("signed", "changed"),
    [
        ({"secret": "whsec_other"}, b""),
        ({"ago": 301}, b""),
        ({"ago": -301}, b""),
        ({}, b" "),
    ],
    ids=["wrong secret", "old", "from the future", "another body"],
)
async def test_a_signature_of_another_secret_time_or_body_is_refused(
    house: House, signed: dict[str, Any], changed: bytes
) -> None:
    """T8: within five minutes, with our secret, over these bytes."""
    raw = house.event()

    answer = await house.knock(raw + changed, **house.signed(raw, **signed))

    assert answer.status_code == 400
    assert error_of(answer)["code"] == "billing.bad_signature"
    assert await house.kept() == []


async def test_both_secrets_hold_while_one_is_rolled(
    url: str, db: Db, scene: Scene, box: Box
) -> None:
    """T8: two secrets at once."""
    found = settings_for(url, stripe=box.url, clerk=scene.clerk.url)
    both = replace(found, stripe_webhook_secrets=("whsec_new", "whsec_old"))
    async with a_house(both, db, scene=scene, box=box) as house:
        for number, secret in enumerate(("whsec_new", "whsec_old")):
            raw = house.event(number)
            assert (await house.knock(raw, **house.signed(raw, secret=secret))).status_code == 200

        assert len(await house.kept()) == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{}",
        b'{"id": 5, "type": "x"}',
        b'{"id": "", "type": "x"}',
        b'{"id": "evt_\\u0000", "type": "x"}',
        b"[" * 5000,
    ],
)
async def test_what_is_signed_but_no_event_is_refused(house: House, raw: bytes) -> None:
    """T8: a body that is not an event is 400, and nothing is stored."""
    answer = await house.knock(raw, **house.signed(raw))

    assert answer.status_code == 400
    assert error_of(answer)["code"] == "billing.bad_event"
    assert await house.kept() == []


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"type": "brand.new.kind"}, None),
        ({"type": "product.updated", "data": {"object": {"id": "prod_1"}}}, "names no customer"),
        ({"livemode": True}, "of the other mode: livemode is true"),
        ({"account": "acct_other"}, "of another account: acct_other"),
        ({"data": {"object": None}}, "names no customer"),
        ({"created": "2026-03-01T12:00:00Z"}, None),
    ],
)
async def test_what_is_not_for_us_is_kept_with_a_note(
    house: House, change: dict[str, Any], note: str | None
) -> None:
    """T8: unknown kinds, the other mode, another account: 200, so that Stripe sends no more."""
    answer = await house.knock(house.event(**change))

    assert answer.status_code == 200
    (kept,) = await house.kept()
    assert kept["note"] == note
    assert (kept["subject_id"] is None) is (note is not None)


async def test_the_same_event_fifty_times_at_once_is_one_row(house: House) -> None:
    """T8: idempotent, and every one of the fifty is answered."""
    raw = house.event()

    answers = await asyncio.gather(*(house.knock(raw) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {200}
    assert len(await house.kept()) == 1


async def test_a_body_that_is_too_large_is_refused_by_its_length(house: House) -> None:
    raw = b" " * (64 * 1024 + 1)

    answer = await house.knock(raw)

    assert (answer.status_code, error_of(answer)["code"]) == (413, "http.body_too_large")
    assert await house.kept() == []


async def test_a_body_that_is_too_large_is_refused_while_it_comes(house: House) -> None:
    """Nobody holds more of a stranger's body in memory than the limit and one part."""
    sent: list[int] = []

    async def parts() -> AsyncIterator[bytes]:
        for number in range(1000):
            sent.append(number)
            yield b" " * 1024

    answer = await house.http.post(PATH, content=parts())

    assert (answer.status_code, error_of(answer)["code"]) == (413, "http.body_too_large")
    assert len(sent) < 100


async def test_the_largest_body_that_is_allowed_is_taken(house: House) -> None:
    raw = house.event()
    padded = raw + b" " * (64 * 1024 - len(raw))

    assert (await house.knock(padded)).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_only_post_is_answered(house: House, method: str) -> None:
    answer = await house.http.request(method, PATH)

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert error_of(answer)["code"] == "http.method_not_allowed"


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(house: House) -> None:
    raw = house.event()
    messages = [
        {"type": "http.request", "body": raw[:50], "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in house.signed(raw).items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "query_string": b"",
        "headers": headers,
    }
    await house.app(scope, receive, send)

    assert (sent[0]["status"], json.loads(sent[1]["body"])["error"]["code"]) == (
        400,
        "http.body_cut_off",
    )
    assert await house.kept() == []


async def test_while_the_database_is_away_stripe_is_told_to_come_again(
    frail: Frail, scene: Scene, box: Box
) -> None:
    """T8: 503, and what Stripe sends again is kept: nothing is lost."""
    address = recreate(frail.on(), "tenure_away", "template0")
    apply.apply(address, changes.load())
    found = settings_for(address, stripe=box.url, clerk=scene.clerk.url)
    async with a_house(found, None, scene=scene, box=box) as made:  # type: ignore[arg-type]
        house = replace(made, db=made.service.world.db)
        assert (await house.knock(house.event(1))).status_code == 200
        frail.off()
        refused = await asyncio.gather(*(house.knock(house.event(n)) for n in range(2, 12)))
        frail.on()
        for number, answer in enumerate(refused, 2):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert error_of(answer)["code"] == "base.database_away"
            await _again(house, number)

        assert {row["event_id"] for row in await house.kept()} == {f"evt_{n}" for n in range(1, 12)}


async def _again(house: House, number: int) -> None:
    """Send an event as Stripe does: until it is taken."""
    for _ in range(20):
        if (await house.knock(house.event(number))).status_code == 200:
            return
    pytest.fail("the database is back, and the event is not taken")
