"""What the official SDKs were seen to do with a request, and what is done here instead."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tenure.base.db import Db
from tenure.gate.asgi import GateMiddleware, Receive, Scope, Send
from tenure.gate.check import Gate
from tenure.gate.model import ANY_MEMBER
from tenure.identity import errors
from tests.gate.builders import a_gate
from tests.identity.clerk_scene import Scene, a_scene


@pytest.fixture(scope="module")
def shared() -> Iterator[Scene]:
    with a_scene() as scene:
        yield scene


@pytest.fixture
def scene(shared: Scene) -> Scene:
    return shared


@pytest.fixture
async def gate(db: Db, scene: Scene) -> AsyncIterator[Gate]:
    async with a_gate(db, scene.clerk.url, scene.clock) as made:
        yield made


@pytest.fixture
async def client(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    async def who(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        said = str(scope["tenure"].facts.user_id).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": said})

    transport = httpx.ASGITransport(GateMiddleware(who, gate, lambda _: ANY_MEMBER))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as made:
        yield made


def a_token(scene: Scene) -> str:
    return scene.mint(session_id=scene.a_session()["id"])


async def asked(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    return await client.get("/", headers=headers)


async def test_a_basic_header_is_refused_and_no_cookie_helps(
    client: httpx.AsyncClient, scene: Scene
) -> None:
    """B1: `Authorization: Basic` beside a valid `__session` cookie: the header is all we read."""
    answer = await asked(client, authorization="Basic YTpi", cookie=f"__session={a_token(scene)}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "identity.no_token")


async def test_two_session_cookies_cannot_make_somebody_else_of_her(
    client: httpx.AsyncClient, scene: Scene
) -> None:
    """B1: the SDK takes the first cookie that begins with `__session`; we take the header's."""
    mine, other = a_token(scene), a_token(scene)
    cookies = f"__session_abc={other}; __session={mine}"
    alone = await asked(client, cookie=cookies)
    named = await asked(client, cookie=cookies, authorization=f"Bearer {mine}")
    plain = await asked(client, authorization=f"Bearer {mine}")
    assert alone.status_code == 401
    assert (named.status_code, named.text) == (200, plain.text)


@pytest.mark.parametrize("name", ["authorization", "Authorization", "AUTHORIZATION"])
async def test_the_header_is_found_in_any_case(
    client: httpx.AsyncClient, scene: Scene, name: str
) -> None:
    """B1: a lower-case key made the SDK see nobody."""
    assert (await client.get("/", headers={name: f"bearer {a_token(scene)}"})).status_code == 200


@pytest.mark.parametrize("prefix", ["m2m_", "mt_", "ak_", "oat_"])
async def test_an_opaque_machine_token_costs_no_network(scene: Scene, prefix: str) -> None:
    """B1: the SDK asks the API about each such token, at an address without /v1."""
    async with scene.verifier() as verifier:
        before = scene.api.get("/_sandbox/requests").json()["total"]
        with pytest.raises(errors.BadToken):
            await verifier.verify(prefix + "a" * 32)
        assert scene.api.get("/_sandbox/requests").json()["total"] == before


async def test_an_audience_that_nobody_asked_about_is_no_reason_to_refuse(scene: Scene) -> None:
    """B1: a token template with `aud` made the SDK refuse every user."""
    async with scene.verifier() as verifier:
        assert await verifier.verify(scene.mint(claims={"aud": "https://other.example.com"}))


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"without": ["exp"]}, errors.BadToken),
        ({"claims": {"iss": "https://clerk.example.com"}}, errors.ForeignIssuer),
        ({"claims": {"sts": "pending"}}, errors.PendingSession),
    ],
)
async def test_what_the_sdk_accepts_by_default_is_refused(
    scene: Scene, claims: dict[str, object], error: type[errors.NotProven]
) -> None:
    """B1: no `exp`, a foreign `iss`, a pending session."""
    async with scene.verifier() as verifier:
        with pytest.raises(error):
            await verifier.verify(scene.mint(**claims))
