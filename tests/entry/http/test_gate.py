"""Forward-auth: who may pass, told in a status, in headers and in JSON."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.entry.http.house import ORIGIN, House, bearer, error_of
from tests.gate.builders import subscribe

GATE = "/gate/check"


async def paying(house: House, headers: dict[str, str], **row: Any) -> None:
    """Give the organization of a session a subscription, as the writer would have."""
    who = await house.service.gate.verifier.verify(headers["authorization"].split()[1])
    await house.service.gate.explain(who)
    org = await subscribe(house.db, who, **row)
    house.service.gate.cache.drop(org_id=org, user_id=None)


async def ask(house: House, headers: dict[str, str], path: str = GATE) -> httpx.Response:
    return await house.http.get(path, headers=headers)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"claims": {"exp": 1}}, "identity.token_expired"),
        ({"without": ["exp"]}, "identity.bad_token"),
        ({"sign": "none"}, "identity.bad_token"),
        ({"sign": "none", "headers": {"alg": "RS256"}}, "identity.bad_token"),
        ({"sign": "stranger"}, "identity.bad_token"),
        ({"sign": "hs256_with_public_pem"}, "identity.bad_token"),
        ({"claims": {"iss": "https://stranger.example.com"}}, "identity.foreign_issuer"),
        ({"claims": {"azp": "https://elsewhere.example.com"}}, "identity.wrong_party"),
        ({"claims": {"sts": "pending"}}, "identity.pending_session"),
        ({"headers": {"kid": "ins_unknown"}}, "identity.bad_token"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_token_that_proves_nothing_is_401(
    house: House, asked: dict[str, Any], code: str
) -> None:
    """T6: every kind of bad token has its own code, and none of them is let in."""
    answer = await ask(house, bearer(house.scene.mint(**asked)))

    assert (answer.status_code, error_of(answer)["code"]) == (401, code)
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "identity.no_token"),
        (b"", "identity.no_token"),
        (b"Basic YTpi", "identity.no_token"),
        (b"Bearer", "identity.no_token"),
        (b"Bearer  ", "identity.no_token"),
        (b"Bearer a.b.c", "identity.bad_token"),
        (b"Bearer \xff\xfe.\x80.\xff", "identity.bad_token"),
        (b"Bearer " + b"a" * 20_000, "identity.bad_token"),
    ],
)
async def test_a_header_without_a_token_is_401(
    house: House, header: bytes | None, code: str
) -> None:
    """T6: never a 500, whatever stands there."""
    given = {} if header is None else {b"authorization": header}
    answer = await house.http.get(GATE, headers=given)  # type: ignore[arg-type]

    assert (answer.status_code, error_of(answer)["code"]) == (401, code)


async def test_a_flood_of_unknown_keys_fetches_once(house: House) -> None:
    """T6: strangers cannot make us ask the issuer more than once in a while."""
    await ask(house, house.someone())
    before = house.scene.fetches()
    tokens = [house.scene.sign(n, kid=f"ins_{n}") for n in range(200)]

    answers = await asyncio.gather(*(ask(house, bearer(token)) for token in tokens))

    assert {answer.status_code for answer in answers} == {401}
    assert house.scene.fetches() - before <= 1


async def test_without_a_subscription_it_is_402(house: House) -> None:
    """M6, B4: the reason, and what would change it."""
    answer = await ask(house, house.someone())

    assert (answer.status_code, error_of(answer)["code"]) == (402, "gate.no_subscription")
    assert answer.json()["decision"]["change"] == "subscribe: POST /stripe/checkout"


async def test_a_canceled_subscription_is_402_with_its_own_reason(house: House) -> None:
    """M6, B4: closed, and it says why."""
    headers = house.someone()
    await paying(house, headers, status="canceled")

    answer = await ask(house, headers)

    assert (answer.status_code, error_of(answer)["code"]) == (402, "gate.subscription_ended")


async def test_who_has_no_organization_has_empty_headers(house: House) -> None:
    """B8: a proxy that copies headers overwrites what the client made up, with nothing."""
    user = house.scene.post("/v1/users", first_name="Grace")
    session = house.scene.post("/v1/sessions", user_id=user["id"])

    answer = await ask(house, house.as_session(session["id"]), "/gate/for/subscription=no")

    assert (answer.status_code, answer.headers["x-tenure-user"] != "") == (200, True)
    assert (answer.headers["x-tenure-org"], answer.headers["x-tenure-role"]) == ("", "")


async def test_who_may_pass_is_named_in_headers(house: House) -> None:
    """B8: what an application behind the proxy needs, it reads from headers."""
    headers = house.someone()
    await paying(house, headers)

    answer = await ask(house, headers)

    facts = answer.json()["decision"]["facts"]
    assert answer.status_code == 200
    assert answer.headers["x-tenure-reason"] == "open"
    assert answer.headers["x-tenure-role"] == "admin"
    assert answer.headers["x-tenure-user"] == facts["user_id"]
    assert answer.headers["x-tenure-org"] == facts["org_id"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
async def test_every_method_is_answered_alike(house: House, method: str) -> None:
    """B8: Envoy and Traefik may ask with the method of the guarded request."""
    headers = house.someone()
    assert (await house.http.request(method, GATE, headers=headers)).status_code == 402
    await paying(house, headers)

    assert (await house.http.request(method, GATE, headers=headers)).status_code == 200


async def test_a_removed_member_is_403_although_the_token_says_admin(house: House) -> None:
    """M6: the row decides."""
    headers = house.someone()
    await paying(house, headers)
    async with house.db.statement() as tx:
        await tx.execute("UPDATE tenure.memberships SET status = 'inactive', holds_seat = false")
    house.service.gate.cache.hears(news=True)

    answer = await ask(house, headers, "/gate/for/subscription=no")

    assert (answer.status_code, error_of(answer)["code"]) == (403, "gate.not_a_member")


@pytest.mark.parametrize("path", ["/gate/check?{}", "/gate/for/{}", "/gate/for/{}/api/v1?x=1"])
async def test_roles_and_features_are_asked_for_in_the_address(house: House, path: str) -> None:
    """M3, B8: rbac by the query, or by the path for proxies that use the query themselves."""
    headers = house.someone()
    await paying(house, headers, features=["reports"])

    async def status(needs: str) -> int:
        return (await ask(house, headers, path.format(needs))).status_code

    assert await status("role=admin") == 200
    assert await status("role=owner") == 403
    assert await status("role=owner&role=admin") == 200
    assert await status("feature=reports") == 200
    assert await status("feature=reports&feature=export") == 403


async def test_a_client_s_query_cannot_ask_for_less(house: House) -> None:
    """B8: Caddy and Envoy may hand the client's own query on to us."""
    headers = house.someone()

    assert (await ask(house, headers, "/gate/check?subscription=no")).status_code == 402
    assert (await ask(house, headers, "/gate/for/role=admin?subscription=no")).status_code == 402
    assert (
        await ask(house, headers, "/gate/for/role=owner&subscription=no?role=admin")
    ).status_code == 403
    assert (await ask(house, headers, "/gate/check/subscription=no")).status_code == 404


@pytest.mark.parametrize(
    "needs",
    ["", "subscription=maybe", "subscription=no&subscription=yes", "roles=admin", "role=", "x=1"],
)
async def test_a_slip_of_the_pen_closes_the_gate(house: House, needs: str) -> None:
    """B8: what the gate does not understand is refused; an empty list of needs is the usual one."""
    headers = house.someone()

    answer = await ask(house, headers, f"/gate/for/{needs}")

    assert answer.status_code == (422 if needs else 402)
    assert needs == "" or error_of(answer)["code"] == "http.unknown_need"


async def test_a_route_may_leave_the_subscription_out(house: House) -> None:
    """M3: by name."""
    answer = await ask(house, house.someone(), "/gate/for/subscription=no")

    assert (answer.status_code, answer.headers["x-tenure-reason"]) == (
        200,
        "subscription_not_asked",
    )


async def test_without_the_issuer_s_keys_it_is_503(house: House) -> None:
    headers = house.someone()
    house.scene.fail()
    try:
        answer = await ask(house, headers)
    finally:
        house.scene.heal()

    assert (answer.status_code, error_of(answer)["code"]) == (503, "identity.keys_unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_a_token_without_a_party_passes_and_a_wrong_one_does_not(house: House) -> None:
    session = house.scene.a_session()["id"]

    assert (await ask(house, house.as_session(session, without=["azp"]))).status_code == 402
    right = house.as_session(session, claims={"azp": ORIGIN})
    assert (await ask(house, right)).status_code == 402


async def test_answers_are_counted_by_reason(house: House) -> None:
    await ask(house, house.someone())

    said = (await house.http.get("/metrics")).text

    assert 'tenure_gate_decisions_total{reason="no_subscription"}' in said
    assert 'tenure_requests_total{door="/gate/check",status="402"}' in said
