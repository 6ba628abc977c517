"""Members through the door: who may read and change what, with the provider behind it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tenure.base.db import Db
from tenure.entry.worker.identity import identity_reconcilers
from tenure.entry.worker.tasks import ROUTES
from tenure.identity.model import OrgId
from tenure.identity.seats import SeatDesk
from tenure.journal import relay
from tenure.journal.reconcile import Pace, drain
from tenure.sandbox.stripe.running import Box
from tests.entry.http.house import House, a_house, error_of, settings_for
from tests.identity.clerk_scene import Scene

QUICK = Pace(pause=timedelta(milliseconds=1))


@pytest.fixture
async def house(url: str, db: Db, scene: Scene, box: Box) -> AsyncIterator[House]:
    """A house that may ask Clerk."""
    found = settings_for(
        url,
        stripe=box.url,
        clerk=scene.clerk.url,
        clerk_secret_key=scene.clerk.secret_key,
        clerk_api_base=scene.clerk.url,
        clerk_rate=1000.0,
    )
    async with a_house(found, db, scene=scene, box=box) as made:
        yield made


@pytest.fixture
async def workos_house(url: str, db: Db, scene: Scene, box: Box) -> AsyncIterator[House]:
    """A house that could also tell WorkOS, and does not get to."""
    found = settings_for(
        url,
        stripe=box.url,
        clerk=scene.clerk.url,
        clerk_secret_key=scene.clerk.secret_key,
        clerk_api_base=scene.clerk.url,
        workos_api_key="sk_test_x",
        workos_api_base="http://127.0.0.1:1",
    )
    async with a_house(found, db, scene=scene, box=box) as made:
        yield made


async def work(house: House) -> None:
    """Do what a worker would do, until nothing is due."""
    world = house.service.world
    for _ in range(3):
        await relay.relay(house.db, ROUTES)
        for reconciler in identity_reconcilers(world):
            await drain(house.db, reconciler, QUICK, world.ids)


class Office:
    """An organization with an admin, and somebody's way to its doors."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.session = house.scene.a_session()
        self.org: str = self.session["org"]["id"]
        self.admin = house.as_session(self.session["id"])

    def join(self, name: str, role: str = "org:member") -> tuple[str, dict[str, str]]:
        scene = self.house.scene
        user = scene.post("/v1/users", first_name=name, email_address=[f"{name}@{self.org}.test"])
        scene.post(f"/v1/organizations/{self.org}/memberships", user_id=user["id"], role=role)
        session = scene.post("/v1/sessions", user_id=user["id"], organization_id=self.org)
        return user["id"], self.house.as_session(session["id"])

    async def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        address = f"/orgs/current/{path}"
        given = headers or self.admin
        return await self.house.http.request(method, address, headers=given, json=body or None)

    async def good(self, method: str, path: str, **body: Any) -> Any:
        answer = await self.ask(method, path, **body)
        assert answer.is_success, answer.text
        return answer.json()

    async def members(self, query: str = "") -> list[dict[str, Any]]:
        return (await self.good("GET", f"members{query}"))["data"]

    async def arrive(self, *names: str) -> list[str]:
        """Let people join at the provider, and come here."""
        users = [self.join(name) for name in names]
        self.house.scene.clock.tick(timedelta(milliseconds=1))  # whoever comes later stands later
        for _, headers in [("", self.admin), *users]:
            answer = await self.ask("GET", "members", headers)
            assert answer.status_code == 200, answer.text
        await work(self.house)
        return [user for user, _ in users]

    async def limit(self, seats: int | None = None, *, bought: int | None = None) -> None:
        """Set a limit by hand, or as if it were bought."""
        org_id = await self.key()
        world = self.house.service.world
        desk = SeatDesk(db=world.db, clock=world.clock, ids=world.ids)
        await desk.fix(org_id, seats, actor="test")
        async with world.db.statement() as tx:
            await tx.execute(
                "UPDATE tenure.seats SET bought = %s WHERE org_id = %s", (bought, org_id)
            )

    async def key(self) -> OrgId:
        async with self.house.db.statement() as tx:
            cur = await tx.execute(
                "SELECT org_id FROM tenure.identities WHERE external_id = %s", (self.org,)
            )
            row = await cur.fetchone()
        assert row is not None
        return OrgId(row["org_id"])


@pytest.fixture
async def office(house: House) -> Office:
    made = Office(house)
    await made.arrive()
    return made


async def test_members_are_listed_with_who_they_are(office: Office) -> None:
    """M6: e-mail, role, status, seat, generation and wish of each."""
    await office.arrive("grace")

    ada, grace = await office.members()

    assert (ada["role"], ada["name"], ada["status"]) == ("admin", "Ada", "active")
    assert (grace["role"], grace["email"]) == ("member", f"grace@{office.org}.test")
    assert (grace["holds_seat"], grace["over_limit"]) == (True, False)
    assert (grace["generation"], grace["wish"], grace["wished_role"]) == (1, None, None)
    assert grace["membership_id"].startswith("orgmem_")
    assert grace["provider"] == "clerk"
    assert grace["joined_at"]


async def test_pages_are_stable_while_people_join(office: Office) -> None:
    await office.arrive("b", "c", "d")

    first = await office.good("GET", "members?limit=2")
    await office.arrive("e")
    second = await office.good("GET", f"members?limit=2&after={first['next']}")
    third = await office.good("GET", f"members?limit=2&after={second['next']}")

    pages = [first["data"], second["data"], third["data"]]
    keys = [member["user_id"] for page in pages for member in page]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert len(set(keys)) == 5
    assert third["next"] is None


@pytest.mark.parametrize("after", ["x", "AAAA", "bm93IDE=", "é"])
async def test_a_place_that_no_page_gave_is_refused(office: Office, after: str) -> None:
    answer = await office.ask("GET", f"members?after={after}")

    assert (answer.status_code, error_of(answer)["code"]) == (422, "identity.bad_place")


async def test_another_organization_s_members_do_not_exist(house: House, office: Office) -> None:
    """M4: neither by our key nor by the provider's id."""
    other = Office(house)
    stranger = (await other.arrive("mallory"))[0]
    key = await other.key()

    for org in (other.org, str(key)):
        answer = await house.http.get(f"/orgs/{org}/members", headers=office.admin)
        assert answer.status_code == 404
    answer = await office.ask("DELETE", f"members/{stranger}")
    assert (answer.status_code, error_of(answer)["code"]) == (404, "identity.no_such_member")
    assert len(await other.members()) == 2


async def test_who_was_removed_reads_nothing_even_while_the_gate_only_observes(
    url: str, db: Db, scene: Scene, box: Box
) -> None:
    """Pain 14: claims of a token outlive the membership."""
    found = settings_for(
        url,
        stripe=box.url,
        clerk=scene.clerk.url,
        clerk_secret_key=scene.clerk.secret_key,
        clerk_api_base=scene.clerk.url,
        gate_mode="observe",
    )
    async with a_house(found, db, scene=scene, box=box) as house:
        office = Office(house)
        user, headers = office.join("grace")
        await office.arrive()
        assert (await office.ask("GET", "members", headers)).status_code == 200
        await office.good("DELETE", f"members/{user}")
        await work(house)

        answer = await office.ask("GET", "members", headers)

    assert answer.status_code == 403


async def test_an_admin_deactivates_nobody_at_clerk(office: Office) -> None:
    """Clerk has no inactive members, and says so."""
    (grace,) = await office.arrive("grace")

    answer = await office.ask("POST", f"members/{grace}/deactivate")

    assert (answer.status_code, error_of(answer)["code"]) == (409, "identity.not_offered")


async def test_a_removed_member_is_out_at_once_and_at_the_provider_after(office: Office) -> None:
    """M6: 202 with the row; the access is gone before Clerk is asked."""
    (grace,) = await office.arrive("grace")

    answer = await office.ask("DELETE", f"members/{grace}")
    row = answer.json()

    assert (answer.status_code, row["status"], row["wish"]) == (202, "inactive", "removed")
    assert not row["holds_seat"]
    await work(office.house)
    assert [m["name"] for m in await office.members()] == ["Ada"]
    gone = (await office.members("?status=removed"))[0]
    assert (gone["status"], gone["wish"]) == ("removed", None)
    there = office.house.scene.api.get(f"/v1/organizations/{office.org}/memberships").json()
    assert len(there["data"]) == 1


async def test_a_member_leaves_by_herself_and_removes_nobody_else(office: Office) -> None:
    users = [office.join(name) for name in ("grace", "bob")]
    await office.arrive()
    for _, headers in users:
        await office.ask("GET", "members", headers)
    (grace, as_grace), (bob, _) = users

    refused = await office.ask("DELETE", f"members/{bob}", as_grace)
    left = await office.ask("DELETE", "members/me", as_grace)

    assert (refused.status_code, error_of(refused)["code"]) == (403, "gate.role_missing")
    assert (left.status_code, left.json()["wish"]) == (202, "removed")
    assert grace != bob


async def test_the_last_admin_stays(office: Office) -> None:
    for method, path, body in (
        ("DELETE", "members/me", {}),
        ("POST", "members/me/role", {"role": "member"}),
    ):
        answer = await office.ask(method, path, **body)
        assert (answer.status_code, error_of(answer)["code"]) == (409, "identity.last_admin")


async def test_a_new_role_counts_when_the_provider_has_it(office: Office) -> None:
    (grace,) = await office.arrive("grace")

    asked = await office.ask("POST", f"members/{grace}/role", role="org:admin")
    assert (asked.status_code, asked.json()["role"]) == (202, "member")
    assert asked.json()["wished_role"] == "admin"
    await work(office.house)
    again = await office.ask("POST", f"members/{grace}/role", role="admin")

    assert (again.status_code, again.json()["role"]) == (200, "admin")
    assert again.json()["wished_role"] is None


@pytest.mark.parametrize("role", ["", "a b", "org:", "x" * 200])
async def test_a_role_that_is_none_is_named(office: Office, role: str) -> None:
    answer = await office.ask("POST", "members/me/role", role=role)

    assert answer.status_code == 422
    assert error_of(answer)["fields"][0]["field"] == "role"


async def test_members_read_and_do_not_change(office: Office) -> None:
    _, as_grace = office.join("grace")

    for method, path, body in (
        ("POST", "members/invite", {"email": "x@example.com"}),
        ("POST", "members/me/role", {"role": "admin"}),
        ("POST", "members/me/deactivate", {}),
        ("POST", "members/me/reactivate", {}),
    ):
        answer = await office.ask(method, path, as_grace, **body)
        assert (answer.status_code, error_of(answer)["code"]) == (403, "gate.role_missing"), path
    for path in ("members", "seats", "members/me/history"):
        assert (await office.ask("GET", path, as_grace)).status_code == 200


async def test_history_tells_when_somebody_joined_and_left(office: Office) -> None:
    """M7: membership history is kept, and shown."""
    (grace,) = await office.arrive("grace")
    await office.good("DELETE", f"members/{grace}")
    await work(office.house)

    told = await office.good("GET", f"members/{grace}/history?limit=2")
    rest = await office.good("GET", f"members/{grace}/history?after={told['next']}")

    states = [line["status_to"] for line in told["data"] + rest["data"]]
    assert states[0] == "active"
    assert states[-2:] == ["inactive", "removed"]
    assert rest["next"] is None


async def test_an_invitation_is_sent_by_the_provider(office: Office) -> None:
    answer = await office.ask("POST", "members/invite", email="new@example.com", role="member")

    assert answer.status_code == 201, answer.text
    assert (answer.json()["email"], answer.json()["role"]) == ("new@example.com", "member")
    lines = (await office.good("GET", "audit"))["data"]
    assert lines[-1]["action"] == "member.invited"
    assert "new@example.com" not in str(lines), "the log is for ever, the address is not"


async def test_the_provider_s_refusal_comes_in_its_words(office: Office) -> None:
    await office.good("POST", "members/invite", email="new@example.com")

    answer = await office.ask("POST", "members/invite", email="new@example.com")

    assert (answer.status_code, error_of(answer)["code"]) == (409, "identity.refused")
    assert "Clerk refuses" in error_of(answer)["message"]


def seats_of(answer: httpx.Response) -> dict[str, Any]:
    return answer.json()["error"]["seats"]


async def test_open_invitations_count_against_a_limit_set_by_hand(office: Office) -> None:
    """M7: the seat-limit race: an invitation is a seat that somebody will want."""
    await office.limit(3)
    for name in ("b", "c"):
        await office.good("POST", "members/invite", email=f"{name}@example.com")

    full = await office.ask("POST", "members/invite", email="d@example.com")

    assert full.status_code == 409
    assert full.json()["error"]["code"] == "identity.no_free_seat"
    assert seats_of(full) == {"used": 1, "limit": 3, "invited": 2}


async def test_bought_seats_that_are_taken_ask_for_payment(office: Office) -> None:
    """M6: 402, because buying more would help."""
    await office.limit(bought=1)

    full = await office.ask("POST", "members/invite", email="d@example.com")

    assert full.status_code == 402
    assert seats_of(full) == {"used": 1, "limit": 1, "invited": 0}
    told = await office.good("GET", "seats")
    assert (told["used"], told["limit"], told["bought"], told["free"]) == (1, 1, 1, 0)


async def test_twenty_invitations_at_once_take_no_more_than_the_seats_left(office: Office) -> None:
    """Pain 9: a limit that is checked and then used, by many at once."""
    await office.limit(4)

    answers = await asyncio.gather(
        *(office.ask("POST", "members/invite", email=f"p{n}@example.com") for n in range(20))
    )

    assert sorted(a.status_code for a in answers) == [201] * 3 + [409] * 17


async def test_whom_the_provider_shows_as_pending_already_is_counted_once(office: Office) -> None:
    """WorkOS makes a pending member of an invited user: one person, one seat."""
    await office.limit(3)
    (bob,) = await office.arrive("bob")
    await office.good("POST", "members/invite", email="b@example.com")
    async with office.house.db.statement() as tx:
        await tx.execute(
            """
            WITH her AS (SELECT user_id FROM tenure.identities WHERE external_id = %s),
                 named AS (UPDATE tenure.users SET email = 'B@example.com'
                            WHERE id IN (SELECT user_id FROM her))
            UPDATE tenure.memberships SET status = 'pending'
             WHERE user_id IN (SELECT user_id FROM her)
            """,
            (bob,),
        )

    answers = [
        await office.ask("POST", "members/invite", email=f"{name}@example.com") for name in "cd"
    ]

    assert [a.status_code for a in answers] == [201, 409]
    assert seats_of(answers[1]) == {"used": 2, "limit": 3, "invited": 1}


async def at_workos(office: Office, *names: str) -> list[str]:
    """Let people join, and pretend that WorkOS keeps them: it has inactive members."""
    users = await office.arrive(*names)
    async with office.house.db.statement() as tx:
        await tx.execute("UPDATE tenure.memberships SET provider = 'workos'")
    return users


async def test_deactivating_and_reactivating_hold_at_once(workos_house: House) -> None:
    """M6: lifecycle with WorkOS activate and deactivate: the seat goes and comes back."""
    office = Office(workos_house)
    (grace,) = await at_workos(office, "grace")

    for _ in range(2):
        off = await office.ask("POST", f"members/{grace}/deactivate")
        assert off.status_code == 202, off.text
        assert [off.json()[n] for n in ("status", "holds_seat", "wish", "role")] == [
            "inactive",
            False,
            "inactive",
            "member",
        ]
    assert (await office.good("GET", "seats"))["used"] == 1
    on = await office.ask("POST", f"members/{grace}/reactivate")

    assert on.status_code == 202
    assert [on.json()[n] for n in ("status", "holds_seat", "wish")] == ["active", True, "active"]


@pytest.mark.parametrize(("limit", "status"), [({"seats": 1}, 409), ({"bought": 1}, 402)])
async def test_nobody_is_reactivated_without_a_seat(
    workos_house: House, limit: dict[str, int], status: int
) -> None:
    """M7: the figures, and whether buying would help."""
    office = Office(workos_house)
    (grace,) = await at_workos(office, "grace")
    await office.good("POST", f"members/{grace}/deactivate")
    await office.limit(**limit)

    full = await office.ask("POST", f"members/{grace}/reactivate")

    assert (full.status_code, seats_of(full)["limit"], seats_of(full)["used"]) == (status, 1, 1)


async def test_members_beyond_the_limit_are_shown(office: Office) -> None:
    await office.limit(1)
    await office.arrive("grace")

    _, grace = await office.members()

    assert (grace["holds_seat"], grace["over_limit"], grace["status"]) == (False, True, "active")
    assert (await office.good("GET", "seats"))["over_limit"] == 1


async def test_without_a_key_nothing_is_promised(url: str, db: Db, scene: Scene, box: Box) -> None:
    found = settings_for(url, stripe=box.url, clerk=scene.clerk.url)
    async with a_house(found, db, scene=scene, box=box) as house:
        office = Office(house)
        answers = [
            await office.ask("POST", "members/invite", email="d@example.com"),
            await office.ask("DELETE", "members/me"),
        ]

    for answer in answers:
        assert (answer.status_code, error_of(answer)["code"]) == (409, "http.no_provider_key")


async def test_a_page_of_another_origin_may_delete(office: Office) -> None:
    """T2: CORS lets browsers of ours remove members."""
    asked = {"origin": "http://localhost:3000", "access-control-request-method": "DELETE"}

    answer = await office.house.http.options("/orgs/current/members/me", headers=asked)

    assert answer.status_code == 200
