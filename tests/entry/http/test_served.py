"""The door as a real process: what only a real server and real sockets can show."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tenure.sandbox.postgres import free_port
from tenure.sandbox.stripe.running import Box
from tests.billing.shop import Shop
from tests.entry.http.house import error_of
from tests.entry.worker.street import Street, a_shop, a_street, event
from tests.identity.clerk_scene import Scene


@pytest.fixture
async def served(tmp_path: Path, url: str, box: Box, scene: Scene) -> AsyncIterator[Street]:
    with a_street(tmp_path, url, box, scene.clerk, free_port()) as street:
        street.extra = {"TENURE_MAX_BODY_KB": "64"}
        await street.serve()
        yield street


@pytest.fixture
async def shop(url: str, box: Box) -> AsyncIterator[Shop]:
    async with a_shop(url, box) as made:
        yield made


@pytest.fixture
async def client(served: Street) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.service, timeout=30) as made:
        yield made


async def raw(street: Street, sent: bytes, *, hang_up: bool = False) -> bytes:
    """Say something to the server in bytes of our own, and hear the first line of its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", street.port)
    try:
        writer.write(sent)
        await writer.drain()
        return b"" if hang_up else await asyncio.wait_for(reader.readline(), 20)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_real_server_answers_as_the_application_does(
    served: Street, client: httpx.AsyncClient, shop: Shop
) -> None:
    """T2, T5, T8: one process, every kind of trouble, and it goes on."""
    body, headers = event(1)
    many = [client.post("/webhooks/stripe", content=body, headers=headers) for _ in range(50)]
    assert {answer.status_code for answer in await asyncio.gather(*many)} == {200}
    assert await shop.count("inbox") == 1

    unsigned = await client.post("/webhooks/stripe", content=body)
    wrong = await client.get("/webhooks/stripe")
    nowhere = await client.get("/nowhere")
    assert [a.status_code for a in (unsigned, wrong, nowhere)] == [400, 405, 404]
    assert {len(error_of(a)["request_id"]) for a in (unsigned, wrong, nowhere)} == {20}
    head = await client.head("/gate/check")
    assert (head.status_code, head.content) == (401, b"")

    await _is_bounded(client)
    await _survives_bad_bytes(served)
    assert (await client.get("/ready")).status_code == 200
    assert await shop.count("inbox") == 1


async def _is_bounded(client: httpx.AsyncClient) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 1024

    for path in ("/webhooks/stripe", "/stripe/customer"):
        for content in (b" " * 70_000, parts()):
            try:
                answer = await client.post(path, content=content)
            except httpx.NetworkError:  # closed while we were still sending: refused all the same
                continue
            assert (answer.status_code, error_of(answer)["code"]) == (413, "http.body_too_large")


async def _survives_bad_bytes(served: Street) -> None:
    post = b"POST /webhooks/stripe HTTP/1.1\r\nhost: x\r\n"
    bad = await raw(served, post + b"stripe-signature: \xff\xfe\x80\r\ncontent-length: 2\r\n\r\n{}")
    assert b" 400 " in bad
    gate = b"GET /gate/check HTTP/1.1\r\nhost: x\r\nauthorization: Bearer \xff.\xfe.\x80\r\n\r\n"
    assert b" 401 " in await raw(served, gate)
    await raw(served, post + b"content-length: 5000\r\n\r\n{", hang_up=True)
    await raw(served, post + b'transfer-encoding: chunked\r\n\r\n5\r\n{"id"', hang_up=True)
