"""What an organization may read about itself, and nobody else about it."""

from typing import Any

import pytest

from tests.entry.http.house import House, error_of


async def lines(house: House, headers: dict[str, str], query: str = "") -> dict[str, Any]:
    answer = await house.http.get(f"/orgs/current/audit{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_audit_log_reads_like_a_story(house: House) -> None:
    """A4: who did what and when, in order."""
    headers = house.someone()
    await house.http.post("/stripe/customer", headers=headers)

    told = (await lines(house, headers))["data"]

    assert [line["action"] for line in told] == [
        "organization.created",
        "member.joined",
        "customer.created",
    ]
    assert [line["seq"] for line in told] == [1, 2, 3]
    assert told[2]["actor"].startswith("user:")


async def test_the_audit_log_is_paged(house: House) -> None:
    headers = house.someone()
    await house.http.post("/stripe/customer", headers=headers)

    first = await lines(house, headers, "?limit=2")
    rest = await lines(house, headers, f"?limit=2&after={first['next']}")

    assert [line["seq"] for line in first["data"] + rest["data"]] == [1, 2, 3]
    assert rest["next"] is None


@pytest.mark.parametrize("what", ["audit", "subscription"])
async def test_another_organization_does_not_exist(house: House, what: str) -> None:
    """M4: its key, its provider's id, a made-up one: 404 for each, and no hint which."""
    mine, theirs = house.scene.a_session(), house.scene.a_session()
    headers = house.as_session(mine["id"])
    await house.http.get("/orgs/current/audit", headers=headers)
    await house.http.get("/orgs/current/audit", headers=house.as_session(theirs["id"]))
    async with house.db.statement() as tx:
        cur = await tx.execute(
            "SELECT org_id FROM tenure.identities WHERE external_id = %s", (theirs["org"]["id"],)
        )
        row = await cur.fetchone()
    assert row is not None

    for name in (theirs["org"]["id"], str(row["org_id"]), "org_unknown"):
        answer = await house.http.get(f"/orgs/{name}/{what}", headers=headers)
        assert (answer.status_code, error_of(answer)["code"]) == (404, "http.not_yours")
    for name in ("current", mine["org"]["id"]):
        assert (await house.http.get(f"/orgs/{name}/{what}", headers=headers)).status_code == 200


async def test_the_subscription_is_explained_to_a_member(house: House) -> None:
    """B4: the page that says why the gate is closed is open."""
    session = house.scene.a_session()
    answer = await house.http.get(
        "/orgs/current/subscription", headers=house.member_of(session["org"]["id"])
    )

    decision = answer.json()["decision"]
    assert (decision["allowed"], decision["reason"]) == (False, "no_subscription")
    assert decision["facts"]["role"] == "member"


async def test_who_acts_for_herself_has_no_organization_to_read(house: House) -> None:
    user = house.scene.post("/v1/users", first_name="Grace")
    alone = house.as_session(house.scene.post("/v1/sessions", user_id=user["id"])["id"])

    assert (await house.http.get("/orgs/current/audit", headers=alone)).status_code == 404
    made = await house.http.post("/stripe/customer", headers=alone)
    assert made.json()["owner"].startswith("user:")


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "after=-1", "after=x"])
async def test_a_wrong_page_is_named(house: House, query: str) -> None:
    answer = await house.http.get(f"/orgs/current/audit?{query}", headers=house.someone())

    assert answer.status_code == 422
    assert error_of(answer)["fields"][0]["field"] == query.partition("=")[0]
