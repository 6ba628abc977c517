import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.base import http
from tenure.base.budget import BudgetSpent
from tenure.base.http import Api, HttpAway, HttpBusy, HttpFailed, HttpUnreadable, path_of
from tenure.sandbox.postgres import free_port

Act = Callable[[Any, Any], Awaitable[None]]


def says(status: int, body: bytes = b"{}", **headers: str) -> Act:
    async def act(_receive: Any, send: Any) -> None:
        named = [(name.replace("_", "-").encode(), v.encode()) for name, v in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": named})
        await send({"type": "http.response.body", "body": body})

    return act


async def breaks(_receive: Any, _send: Any) -> None:
    raise httpx.ReadError("the line was cut")


async def hangs(_receive: Any, _send: Any) -> None:
    await asyncio.Event().wait()


async def drips(_receive: Any, send: Any) -> None:
    """Begin an answer, and never end it."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
        await asyncio.sleep(0.01)


@dataclass
class Provider:
    """Somebody's API that answers by a script, the last act for ever."""

    acts: list[Act] = field(default_factory=lambda: [says(200)])
    asked: list[dict[str, Any]] = field(default_factory=list)
    spent: int = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = (await receive()).get("body", b"")
        self.asked.append(
            {
                "method": scope["method"],
                "path": scope["raw_path"].decode().partition("?")[0],
                "query": scope["query_string"].decode(),
                "headers": {k.decode(): v.decode() for k, v in scope["headers"]},
                "body": body,
            }
        )
        act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
        await act(receive, send)

    async def spend(self) -> None:
        self.spent += 1


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    monkeypatch.setattr(http, "FIRST_WAIT", 0.001)
    return Provider()


@pytest.fixture
async def api(provider: Provider) -> AsyncIterator[Api]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(provider)) as client:
        yield an_api(provider, client)


def an_api(provider: Provider, client: httpx.AsyncClient, **terms: Any) -> Api:
    headers = {"authorization": "Bearer key"}
    base = "http://api.test/"
    return Api(base, headers=headers, http=client, spend=provider.spend, **terms)


async def test_a_call_says_who_asks_and_what_for(provider: Provider, api: Api) -> None:
    provider.acts = [says(201, b'{"id": "x"}')]

    answer = await api.call("POST", "/v1/things", params={"limit": 5}, json={"name": "Ada"})

    assert (answer.status, answer.good, answer.body) == (201, True, b'{"id": "x"}')
    (asked,) = provider.asked
    assert (asked["method"], asked["path"], asked["query"]) == ("POST", "/v1/things", "limit=5")
    assert asked["headers"]["authorization"] == "Bearer key"
    assert asked["headers"]["content-type"] == "application/json"
    assert json.loads(asked["body"]) == {"name": "Ada"}
    assert provider.spent == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("failure", [says(500), says(503), breaks])
async def test_what_may_be_asked_twice_is_tried_three_times_and_every_try_is_paid_for(
    provider: Provider, api: Api, method: str, failure: Act
) -> None:
    provider.acts = [failure, failure, says(200, b"1")]

    assert (await api.call(method, "/x")).body == b"1"
    assert (len(provider.asked), provider.spent) == (3, 3)


@pytest.mark.parametrize(("failure", "error"), [(says(502), HttpFailed), (breaks, HttpAway)])
async def test_after_three_tries_it_is_the_callers_turn(
    provider: Provider, api: Api, failure: Act, error: type[Exception]
) -> None:
    provider.acts = [failure]

    with pytest.raises(error):
        await api.call("GET", "/x")
    assert len(provider.asked) == 3


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(("failure", "error"), [(says(500), HttpFailed), (breaks, HttpAway)])
async def test_what_may_not_be_asked_twice_is_tried_once(
    provider: Provider, api: Api, method: str, failure: Act, error: type[Exception]
) -> None:
    provider.acts = [failure]

    with pytest.raises(error):
        await api.call(method, "/x", json={})
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ({"retry_after": "7"}, timedelta(seconds=7)),
        ({"retry_after": "0"}, timedelta(0)),
        ({"retry_after": "99999999999999999999"}, http.LONGEST_WAIT),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, http.PATIENCE),
        ({"retry_after": "-3"}, http.PATIENCE),
        ({}, http.PATIENCE),
    ],
)
async def test_a_429_is_never_tried_again_on_the_spot(
    provider: Provider, api: Api, header: dict[str, str], wait: timedelta
) -> None:
    provider.acts = [says(429, **header)]

    with pytest.raises(HttpBusy) as caught:
        await api.call("GET", "/x")

    assert caught.value.retry_after == wait
    assert len(provider.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_what_the_api_says_of_the_request_is_an_answer(
    provider: Provider, api: Api, status: int
) -> None:
    provider.acts = [says(status, b'{"code": "no"}')]

    answer = await api.call("GET", "/x")

    assert (answer.status, answer.good, answer.body) == (status, False, b'{"code": "no"}')
    assert len(provider.asked) == 1


async def test_a_key_is_not_carried_to_another_address(provider: Provider, api: Api) -> None:
    provider.acts = [says(302, location="http://elsewhere.test/")]

    with pytest.raises(HttpUnreadable, match="302"):
        await api.call("GET", "/x")
    assert len(provider.asked) == 1


@pytest.mark.parametrize("act", [hangs, drips])
async def test_a_call_ends_at_its_deadline_however_slowly_the_answer_drips(
    provider: Provider, act: Act
) -> None:
    provider.acts = [act]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(provider)) as client:
        with pytest.raises(HttpAway, match=r"0\.05 s"):
            await an_api(provider, client, timeout=0.05).call("GET", "/x")


async def test_an_answer_without_an_end_is_not_kept(
    provider: Provider, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LARGEST", 10)
    provider.acts = [says(200, b" " * 11)]

    with pytest.raises(HttpUnreadable):
        await api.call("GET", "/x")
    assert len(provider.asked) == 1, "what is too large is not asked for again"


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b'"text"', b"[" * 100_000])
async def test_an_answer_of_another_shape_is_an_error_of_ours(
    provider: Provider, api: Api, body: bytes
) -> None:
    provider.acts = [says(200, body)]
    answer = await api.call("GET", "/x")

    with pytest.raises(HttpUnreadable):
        answer.read(msgspec.json.Decoder(dict[str, Any]))


async def test_nothing_is_asked_while_the_allowance_is_spent(provider: Provider) -> None:
    async def spend() -> None:
        raise BudgetSpent("clerk:test", timedelta(seconds=10))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(provider)) as client:
        with pytest.raises(BudgetSpent):
            await Api("http://api.test", headers={}, http=client, spend=spend).call("GET", "/x")
    assert provider.asked == []


async def test_nobody_at_the_address_is_away(provider: Provider) -> None:
    """Over a real socket, with the client's own timeouts out of the way."""
    async with httpx.AsyncClient(trust_env=False) as client:
        api = Api(f"http://127.0.0.1:{free_port()}", headers={}, http=client, spend=provider.spend)
        with pytest.raises(HttpAway, match="ConnectError"):
            await api.call("GET", "/x")
    assert provider.spent == 3


async def test_an_id_keeps_its_place_in_the_address(provider: Provider, api: Api) -> None:
    await api.call("GET", path_of("v1", "users", "a/../b?c=d#e"))

    assert provider.asked[0]["path"] == "/v1/users/a%2F..%2Fb%3Fc%3Dd%23e"
    assert provider.asked[0]["query"] == ""


@given(st.lists(st.text(min_size=1).filter(lambda part: part not in {".", ".."}), min_size=1))
def test_a_path_can_be_taken_apart_again(parts: list[str]) -> None:
    path = path_of(*parts)

    assert [unquote(part) for part in path.split("/")[1:]] == parts
    assert path.isascii()


@pytest.mark.parametrize("part", ["", ".", ".."])
def test_what_no_quoting_keeps_in_its_place_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match="no id"):
        path_of("v1", "users", part)
