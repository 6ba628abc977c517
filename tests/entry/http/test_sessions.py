"""The doors of kept sessions, with WorkOS beside Clerk."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import httpx
import pytest
from cryptography.fernet import Fernet

from tenure.base.db import Db
from tenure.sandbox.stripe.running import Box
from tests.entry.http.house import ORIGIN, House, a_house, bearer, error_of, settings_for
from tests.identity.clerk_scene import Scene
from tests.identity.refresh_scene import SHIFT, Cloud, a_cloud

KEY = Fernet.generate_key().decode()


@pytest.fixture(scope="module")
def cloud(scene: Scene) -> Iterator[Cloud]:
    with a_cloud(scene.clock) as made:
        yield made


@pytest.fixture
async def house(url: str, db: Db, scene: Scene, box: Box, cloud: Cloud) -> AsyncIterator[House]:
    found = settings_for(
        url,
        stripe=box.url,
        clerk=scene.clerk.url,
        workos_api_key=cloud.workos.api_key,
        workos_client_id=cloud.workos.client_id,
        workos_api_base=cloud.workos.url,
        session_keys=(KEY,),
    )
    async with a_house(found, db, scene=scene, box=box) as made:
        yield made
    cloud.heal()


async def a_session(house: House, cloud: Cloud, **body: object) -> httpx.Response:
    answer = await house.http.post("/sessions", json={"code": cloud.a_code()} | body)
    assert answer.status_code == 201, answer.text
    return answer


async def later(house: House, seconds: float) -> None:
    house.scene.clock.tick(timedelta(seconds=seconds))
    async with house.db.statement() as tx:
        await tx.execute(SHIFT, {"by": timedelta(seconds=seconds)})


async def test_from_a_code_to_an_open_door(house: House, cloud: Cloud) -> None:
    """M8: sign in, use the token, refresh it, sign out."""
    user = cloud.a_user()
    org = cloud.an_org(user)
    begun = await a_session(house, cloud, code=cloud.a_code(user, org))
    told = begun.json()
    assert (told["user_id"], told["organization_id"]) == (user, org)
    assert (told["refreshed"], told["verified"]) == (True, True)
    assert begun.headers["cache-control"] == "no-store"
    assert "set-cookie" not in begun.headers

    me = await house.http.get("/orgs/current/audit", headers=bearer(told["access_token"]))
    assert me.status_code == 200, me.text
    await later(house, 400)
    handle = bearer(told["handle"])
    fresh = await house.http.post("/sessions/refresh", headers=handle)
    assert fresh.status_code == 200, fresh.text
    assert fresh.json()["access_token"] != told["access_token"]
    assert "handle" not in fresh.json()

    ended = await house.http.delete("/sessions/current", headers=handle)
    assert (ended.status_code, ended.json()) == (200, {"revoked": True})
    over = await house.http.post("/sessions/refresh", headers=handle)
    assert over.status_code == 401
    assert error_of(over)["code"] == "identity.session_over"


async def test_many_tabs_at_once_get_one_token(house: House, cloud: Cloud) -> None:
    """M8: authkit-nextjs#28, through the door."""
    handle = bearer((await a_session(house, cloud)).json()["handle"])
    await later(house, 400)

    answers = await asyncio.gather(
        *(house.http.post("/sessions/refresh", headers=handle) for _ in range(20))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["access_token"] for answer in answers}) == 1


async def test_an_outage_is_503_and_never_401(house: House, cloud: Cloud) -> None:
    """M8: authkit-nextjs#461: a browser that is told 401 forgets its session."""
    handle = bearer((await a_session(house, cloud)).json()["handle"])
    await later(house, 60)
    cloud.fail("429", seconds=9, count=-1)
    held = await house.http.post("/sessions/refresh", headers=handle)
    assert (held.status_code, held.json()["refreshed"]) == (200, False)

    await later(house, 400)
    delayed = await house.http.post("/sessions/refresh", headers=handle)
    assert delayed.status_code == 503
    assert delayed.headers["retry-after"] == "9"
    assert error_of(delayed)["code"] == "identity.refresh_delayed"

    cloud.heal()
    await later(house, 10)
    assert (await house.http.post("/sessions/refresh", headers=handle)).json()["refreshed"]


async def test_another_organization_is_a_wish_and_a_refusal_says_so(
    house: House, cloud: Cloud
) -> None:
    user = cloud.a_user()
    org, foreign = cloud.an_org(user), cloud.an_org()
    handle = bearer((await a_session(house, cloud, code=cloud.a_code(user))).json()["handle"])

    into = await house.http.post("/sessions/refresh", headers=handle, json={"organization_id": org})
    refused = await house.http.post(
        "/sessions/refresh", headers=handle, json={"organization_id": foreign}
    )

    assert into.json()["organization_id"] == org
    assert refused.status_code == 409
    assert error_of(refused)["code"] == "identity.organization_refused"
    assert (await house.http.post("/sessions/refresh", headers=handle)).status_code == 200


async def test_a_cookie_takes_the_place_of_the_handle(house: House, cloud: Cloud) -> None:
    begun = await a_session(house, cloud, cookie=True)
    assert begun.json()["handle"] is None
    put = begun.headers["set-cookie"].lower()
    for part in ("httponly", "samesite=lax", "path=/sessions", "secure", "max-age=2592000"):
        assert part in put
    cookie = {"cookie": begun.headers["set-cookie"].split(";")[0]}
    house.http.cookies.clear()

    refreshed = await house.http.post("/sessions/refresh", headers=cookie)
    assert refreshed.status_code == 200
    assert refreshed.headers["set-cookie"].lower().startswith("tenure_session=tns_")
    house.http.cookies.clear()
    ended = await house.http.delete("/sessions/current", headers=cookie)
    assert ended.status_code == 200
    assert 'tenure_session=""' in ended.headers["set-cookie"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [(ORIGIN, 200), ("http://tenure.test", 200), ("https://evil.example", 401), ("null", 401)],
)
async def test_another_site_s_page_cannot_use_the_cookie(
    house: House, cloud: Cloud, origin: str, status: int
) -> None:
    """M8: Lax stops most of it; the origin stops the rest."""
    begun = await a_session(house, cloud, cookie=True)
    headers = {"cookie": begun.headers["set-cookie"].split(";")[0], "origin": origin}
    house.http.cookies.clear()

    assert (await house.http.post("/sessions/refresh", headers=headers)).status_code == status


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer nobody"}, {"authorization": "x"}]
)
async def test_without_a_handle_there_is_no_session(house: House, headers: dict[str, str]) -> None:
    for answer in (
        await house.http.post("/sessions/refresh", headers=headers),
        await house.http.delete("/sessions/current", headers=headers),
    ):
        assert answer.status_code == 401
        assert error_of(answer)["code"] in {"identity.no_token", "identity.unknown_session"}


async def test_a_wrong_code_signs_nobody_in(house: House) -> None:
    answer = await house.http.post("/sessions", json={"code": "wrong"})

    assert answer.status_code == 401
    assert error_of(answer)["code"] == "identity.code_refused"
    assert (await house.http.post("/sessions", json={"code": ""})).status_code == 422


async def test_no_log_line_holds_a_secret(
    house: House, cloud: Cloud, capfd: pytest.CaptureFixture[str]
) -> None:
    told = (await a_session(house, cloud)).json()
    await later(house, 60)
    cloud.fail("lost")
    fresh = await house.http.post("/sessions/refresh", headers=bearer(told["handle"]))
    await house.http.delete("/sessions/current", headers=bearer(told["handle"]))

    out, err = capfd.readouterr()
    secrets = [told["handle"], told["access_token"], fresh.json()["access_token"], KEY]
    secrets += [*cloud.workos.world.state.refresh_tokens, cloud.workos.api_key]
    assert "identity.session.rotated" in out + err
    assert not [secret for secret in secrets if secret in out + err]


@pytest.mark.parametrize("missing", ["session_keys", "workos_api_key", "workos_client_id"])
async def test_without_the_settings_the_doors_say_what_is_missing(
    *, url: str, db: Db, scene: Scene, box: Box, cloud: Cloud, missing: str
) -> None:
    given = {
        "workos_api_key": cloud.workos.api_key,
        "workos_client_id": cloud.workos.client_id,
        "workos_api_base": cloud.workos.url,
        "session_keys": (KEY,),
    }
    given[missing] = () if missing == "session_keys" else ""
    found = settings_for(url, stripe=box.url, clerk=scene.clerk.url, **given)
    async with a_house(found, db, scene=scene, box=box) as house:
        for answer in (
            await house.http.post("/sessions", json={"code": "any"}),
            await house.http.post("/sessions/refresh", headers=bearer("tns_any")),
            await house.http.delete("/sessions/current", headers=bearer("tns_any")),
        ):
            assert answer.status_code == 404
            error = error_of(answer)
            assert error["code"] == "http.sessions_off"
            assert "TENURE_SESSION_KEY" in error["hint"]
