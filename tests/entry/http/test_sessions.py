"""The doors of kept sessions, with WorkOS beside Clerk."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography.fernet import Fernet

from tenure.base.db import Db
from tenure.gate.cache import DEAF
from tenure.gate.model import Needs
from tenure.journal import news
from tenure.sandbox.stripe.running import Box
from tests.entry.http.house import ORIGIN, House, a_house, bearer, error_of, settings_for
from tests.gate.builders import some_facts
from tests.identity.clerk_scene import Scene
from tests.identity.refresh_scene import SHIFT, Cloud, a_cloud
from tests.journal.builders import until

KEY = Fernet.generate_key().decode()
APP, SHOP = "https://app.example.com", "https://shop.example.com"
GATE = "/gate/for/subscription=no"
AGES = timedelta(hours=1)  # no test lives to see facts dropped for their age


@pytest.fixture(scope="module")
def cloud(scene: Scene) -> Iterator[Cloud]:
    with a_cloud(scene.clock) as made:
        yield made


@pytest.fixture
async def keeping(
    url: str, db: Db, scene: Scene, box: Box, cloud: Cloud
) -> AsyncIterator[Callable[..., AbstractAsyncContextManager[House]]]:
    """Open a house that keeps sessions, with other settings if need be."""
    given: dict[str, Any] = {
        "workos_api_key": cloud.workos.api_key,
        "workos_client_id": cloud.workos.client_id,
        "workos_api_base": cloud.workos.url,
        "session_keys": (KEY,),
        "cors_origins": (ORIGIN, APP),
        "return_origins": (SHOP,),
        "facts_max_age": AGES,
    }

    def open_house(**other: Any) -> AbstractAsyncContextManager[House]:
        found = settings_for(url, stripe=box.url, clerk=scene.clerk.url, **(given | other))
        return a_house(found, db, scene=scene, box=box)

    yield open_house
    cloud.heal()


@pytest.fixture
async def house(keeping: Callable[..., AbstractAsyncContextManager[House]]) -> AsyncIterator[House]:
    async with keeping() as made:
        yield made


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
    assert fresh.headers["cache-control"] == "no-store"
    assert fresh.json()["access_token"] != told["access_token"]
    assert "handle" not in fresh.json()

    ended = await house.http.delete("/sessions/current", headers=handle)
    assert (ended.status_code, ended.json()) == (200, {"revoked": True})
    assert ended.headers["cache-control"] == "no-store"
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
    assert "secure" in ended.headers["set-cookie"].lower()


@pytest.mark.parametrize("host", ["tenure.test", "127.0.0.1:8000", "app.example.com", "["])
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (ORIGIN, 200),
        (APP, 200),
        (SHOP, 200),
        ("https://evil.example", 401),
        ("http://app.example.com", 401),
        ("https://app.example.com.evil.example", 401),
        ("null", 401),
        ("", 401),
        ("http://[", 401),
        ("//[", 401),
        ("http://a:b", 401),
    ],
)
async def test_another_site_s_page_cannot_use_the_cookie(
    *, house: House, cloud: Cloud, origin: str, status: int, host: str
) -> None:
    """M8: Lax stops most of it, the origin the rest, whatever a proxy or a stranger writes."""
    begun = await a_session(house, cloud, cookie=True)
    headers = {"cookie": begun.headers["set-cookie"].split(";")[0], "origin": origin, "host": host}
    house.http.cookies.clear()

    answer = await house.http.post("/sessions/refresh", headers=headers)

    assert answer.status_code == status, answer.text
    if status != 200:
        assert error_of(answer)["code"] == "identity.wrong_party"


@pytest.mark.parametrize(("scheme", "status"), [("https", 200), ("http", 401)])
async def test_a_page_of_the_very_host_that_is_asked_needs_tls(
    house: House, cloud: Cloud, scheme: str, status: int
) -> None:
    begun = await a_session(house, cloud, cookie=True)
    cookie = begun.headers["set-cookie"].split(";")[0]
    house.http.cookies.clear()

    headers = {"cookie": cookie, "origin": f"{scheme}://tenure.test"}
    assert (await house.http.post("/sessions/refresh", headers=headers)).status_code == status


async def test_another_site_s_page_cannot_plant_a_cookie(house: House, cloud: Cloud) -> None:
    """M8: nor sign somebody in as somebody else; and nothing is asked for it."""
    asked, body = cloud.asked(), {"code": cloud.a_code(), "cookie": True}
    refused = await house.http.post("/sessions", json=body, headers={"origin": "https://e.example"})

    assert (refused.status_code, error_of(refused)["code"]) == (401, "identity.wrong_party")
    assert "set-cookie" not in refused.headers
    assert cloud.asked() == asked
    own = await house.http.post("/sessions", json=body, headers={"origin": APP})
    assert own.status_code == 201


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "app.example.com", "["])
@pytest.mark.parametrize(
    ("origins", "secure"),
    [
        ((), True),
        ((APP,), True),
        ((ORIGIN, APP), True),
        (("https://localhost:3000",), True),
        ((ORIGIN,), False),
        ((ORIGIN, "http://[::1]:3000"), False),
    ],
)
async def test_settings_and_no_header_decide_whether_the_cookie_needs_tls(
    *, keeping: Any, cloud: Cloud, host: str, origins: tuple[str, ...], secure: bool
) -> None:
    """M8: behind nginx's plain proxy_pass, Host is that of the loopback address."""
    async with keeping(cors_origins=origins, return_origins=origins) as house:
        body = {"code": cloud.a_code(), "cookie": True}
        begun = await house.http.post("/sessions", json=body, headers={"host": host})

    assert begun.status_code == 201, begun.text
    assert ("secure" in begun.headers["set-cookie"].lower()) is secure


async def test_who_signs_out_is_refused_at_once_where_facts_are_remembered(
    house: House, cloud: Cloud
) -> None:
    """M6, M8: the access token would be good for minutes yet, the facts for an hour."""
    user = cloud.a_user()
    told = (await a_session(house, cloud, code=cloud.a_code(user, cloud.an_org(user)))).json()
    token, gate = bearer(told["access_token"]), house.service.gate

    async def is_refused() -> bool:
        return (await house.http.get(GATE, headers=token)).status_code == 401

    for _ in range(2):  # the first time she arrives, which is news in itself
        assert (await house.http.get(GATE, headers=token)).status_code == 200
        await all_heard(house)
    assert (await house.http.get(GATE, headers=token)).status_code == 200
    assert gate.recall(told["access_token"], Needs(subscription=False)) is not None
    await house.http.delete("/sessions/current", headers=bearer(told["handle"]))

    await until(is_refused, within=5)
    refused = await house.http.get("/orgs/current/audit", headers=token)
    assert (refused.status_code, error_of(refused)["code"]) == (401, "identity.session_ended")


async def all_heard(house: House) -> None:
    """Wait until the process listens, and has heard whatever was told before."""
    cache, mark = house.service.gate.cache, ("workos", "user_mark", None)

    async def hears() -> bool:
        return cache._good_for > DEAF.total_seconds()  # noqa: SLF001 (there is no other sign)

    async def is_dropped() -> bool:
        return cache.get(mark) is None

    await until(hears)
    cache.put(mark, some_facts(), epoch=cache.epoch, began=time.monotonic())
    async with house.db.transaction() as tx:
        await news.append(tx, "billing.changed", org_id=some_facts().org_id)
    await until(is_dropped)


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
    answer = await house.http.post("/sessions", json={"code": "wrong" * 5})

    assert answer.status_code == 401
    assert error_of(answer)["code"] == "identity.code_refused"
    assert (await house.http.post("/sessions", json={"code": ""})).status_code == 422


@pytest.mark.parametrize("code", ["x" * 19, "wrong", "<script>alert(document.cookie)</script>"])
async def test_what_cannot_be_a_code_costs_nobody_a_sign_in(
    keeping: Any, cloud: Cloud, code: str
) -> None:
    """M8: strangers without an idea neither ask WorkOS through us nor spend what sign-ins need."""
    asked = cloud.asked()
    async with keeping(workos_rate=1.0) as house:
        answers = await asyncio.gather(
            *(house.http.post("/sessions", json={"code": code}) for _ in range(40))
        )
        assert {answer.status_code for answer in answers} == {401}
        assert {error_of(answer)["code"] for answer in answers} == {"identity.code_refused"}
        assert cloud.asked() == asked
        await a_session(house, cloud)


async def test_strangers_who_spend_the_sign_ins_spend_no_refresh(
    keeping: Any, cloud: Cloud
) -> None:
    """M8: made-up codes have a share of their own, and whoever finds it spent may come again."""
    async with keeping(workos_rate=1.0) as house:
        handle = bearer((await a_session(house, cloud)).json()["handle"])
        answers = await asyncio.gather(
            *(house.http.post("/sessions", json={"code": "x" * 26}) for _ in range(12))
        )
        spent = [answer for answer in answers if answer.status_code == 503]
        await later(house, 400)
        fresh = await house.http.post("/sessions/refresh", headers=handle)

    assert {error_of(answer)["code"] for answer in spent} == {"base.budget_spent"}
    assert all(answer.headers["retry-after"] == "2" for answer in spent)
    assert (fresh.status_code, fresh.json()["refreshed"]) == (200, True)


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
