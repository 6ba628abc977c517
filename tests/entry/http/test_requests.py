"""What holds for every request: an id, one error shape, a bound on bodies, CORS."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import structlog
from fastapi import FastAPI

from tests.entry.http.house import ORIGIN, House, error_of


async def test_a_request_id_is_given_back(house: House) -> None:
    answer = await house.http.get("/health", headers={"x-request-id": "mine-1.a_B"})

    assert answer.headers.get_list("x-request-id") == ["mine-1.a_B"]


@pytest.mark.parametrize("given", [None, b"", b"a b", b"a" * 65, b"\xff", b"a\tb", b"<script>"])
async def test_a_request_without_a_fit_id_gets_one(house: House, given: bytes | None) -> None:
    headers = {} if given is None else {b"x-request-id": given}

    answer = await house.http.get("/health", headers=headers)  # type: ignore[arg-type]

    (name,) = answer.headers.get_list("x-request-id")
    assert name.startswith("req_")
    assert len(name) == 20


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "http.not_found"),
        ("GET", "/gate/", 404, "http.not_found"),
        ("DELETE", "/health", 405, "http.method_not_allowed"),
        ("GET", "/stripe/customer", 405, "http.method_not_allowed"),
        ("GET", "/stripe/products", 401, "identity.no_token"),
        ("POST", "/stripe/checkout", 401, "identity.no_token"),
        ("GET", "/stripe/return?session_id=x", 422, "http.invalid"),
    ],
)
async def test_every_error_has_the_one_shape(
    house: House, method: str, path: str, status: int, code: str
) -> None:
    """T2, T5: JSON, a code, a message, a hint and the request's id, everywhere."""
    answer = await house.http.request(method, path)

    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["hint"]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b'{"lines": [', "application/json", "body: is not JSON"),
        (b'{"lines": []}', "text/plain", "sent with Content-Type: application/json"),
    ],
)
async def test_a_body_that_is_no_json_object_is_told_so(
    house: House, body: bytes, kind: str, said: str
) -> None:
    """T5: what is wrong, and what to send instead."""
    headers = house.someone() | {"content-type": kind}

    answer = await house.http.post("/stripe/checkout", content=body, headers=headers)

    assert answer.status_code == 422
    assert said in error_of(answer)["message"]


async def test_a_wrong_method_says_which_is_right(house: House) -> None:
    assert (await house.http.put("/health")).headers["allow"] == "GET"


@pytest.mark.parametrize("origin", [None, ORIGIN])
async def test_a_bug_is_answered_without_its_insides(house: House, origin: str | None) -> None:
    """T5: 500 with the request's id, which finds the traceback in the log; a page can read it."""

    async def broken() -> None:
        raise RuntimeError("the secret inside")

    _rest(house).add_api_route("/broken", broken)
    with structlog.testing.capture_logs() as lines:
        answer = await house.http.get("/broken", headers={"origin": origin} if origin else {})

    assert (answer.status_code, error_of(answer)["code"]) == (500, "http.broke")
    assert "secret" not in answer.text
    assert answer.headers.get("access-control-allow-origin") == origin
    assert [line["path"] for line in lines if line["event"] == "http.broke"] == ["/broken"]
    assert (
        'tenure_requests_total{door="/broken",status="500"}'
        in (await house.http.get("/metrics")).text
    )


async def test_a_bug_in_a_bare_door_is_answered_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T5: webhooks too; Stripe sends it again."""

    async def broken(*_: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(type(house.service.inbox), "keep", broken)
    answer = await house.knock(house.event())

    assert (answer.status_code, error_of(answer)["code"]) == (500, "http.broke")
    assert "secret" not in answer.text


async def test_a_page_of_ours_may_call(house: House) -> None:
    """T2: CORS from settings."""
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }

    answer = await house.http.options("/stripe/checkout", headers=asked)
    plain = await house.http.get("/health", headers={"origin": ORIGIN})

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert plain.headers["access-control-allow-origin"] == ORIGIN
    assert "X-Request-Id" in plain.headers["access-control-expose-headers"]


async def test_a_page_of_a_stranger_may_not(house: House) -> None:
    """T2: an origin that the settings do not name is told nothing."""
    asked = {"origin": "https://evil.example.com", "access-control-request-method": "POST"}

    refused = await house.http.options("/stripe/checkout", headers=asked)
    plain = await house.http.get("/health", headers=asked)

    assert refused.status_code == 400
    assert "access-control-allow-origin" not in plain.headers


@pytest.mark.parametrize("chunked", [False, True])
async def test_no_door_takes_more_than_the_limit(*, house: House, chunked: bool) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b" " * 1024

    content: Any = parts() if chunked else b" " * (64 * 1024 + 1)
    answer = await house.http.post("/stripe/customer", content=content, headers=house.someone())

    assert (answer.status_code, error_of(answer)["code"]) == (413, "http.body_too_large")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"emial": "a@b.c"}', "emial"),
        (b'{"email": "x"}', "email"),
    ],
)
async def test_a_body_that_is_wrong_names_the_field(house: House, raw: bytes, field: str) -> None:
    """T5: 422, and unknown fields are not shrugged off."""
    headers = house.someone() | {"content-type": "application/json"}
    answer = await house.http.post("/stripe/customer", content=raw, headers=headers)

    assert answer.status_code == 422
    assert [problem["field"] for problem in error_of(answer)["fields"]] == [field]


def _rest(house: House) -> FastAPI:
    rest: Any = house.app._rest  # noqa: SLF001 (to add a route that breaks)
    return rest.app if not isinstance(rest, FastAPI) else rest


def test_the_transport_raises_what_an_application_lets_out() -> None:
    """So a test that gets an answer proves that nothing was let out."""
    assert httpx.ASGITransport(lambda *_: None).raise_app_exceptions  # type: ignore[arg-type]
