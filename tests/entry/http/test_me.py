"""Who am I: rows, never claims."""

from typing import Any

from tests.entry.http.house import House, bearer, error_of


async def me(house: House, headers: dict[str, str], query: str = "") -> dict[str, Any]:
    answer = await house.http.get(f"/me{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_it_says_who_is_asking_and_for_whom(house: House) -> None:
    session = house.scene.a_session()

    told = await me(house, house.as_session(session["id"]))

    assert told["user"]["external_id"] == session["user_id"]
    assert told["active"]["external_id"] == session["org"]["id"]
    assert told["active"]["role"] == "admin"
    assert [org["id"] for org in told["organizations"]] == [told["active"]["id"]]
    assert (told["decision"]["allowed"], told["decision"]["reason"]) == (False, "no_subscription")


async def test_the_role_is_the_row_s_not_the_token_s(house: House) -> None:
    """B1: a token proposes, the row decides."""
    headers = house.someone()
    await me(house, headers)
    async with house.db.statement() as tx:
        await tx.execute("UPDATE tenure.memberships SET role = 'viewer'")

    told = await me(house, headers)

    assert told["active"]["role"] == "viewer"


async def test_all_her_organizations_are_there_page_by_page(house: House) -> None:
    scene, user = house.scene, house.scene.post("/v1/users", first_name="Ada")["id"]
    for number in range(3):
        org = scene.post("/v1/organizations", name=f"Org {number}", created_by=user)
        session = scene.post("/v1/sessions", user_id=user, organization_id=org["id"])
        headers = house.as_session(session["id"])
        await me(house, headers)
    await me(house, house.someone())

    first = await me(house, headers, "?limit=2")
    rest = await me(house, headers, f"?limit=2&after={first['next']}")

    assert len({org["id"] for org in first["organizations"] + rest["organizations"]}) == 3
    assert rest["next"] is None


async def test_who_was_removed_is_somebody_still_and_sees_why(house: House) -> None:
    """Pain 14: the token names an organization that she is not in any more."""
    headers = house.someone()
    await me(house, headers)
    async with house.db.statement() as tx:
        await tx.execute(
            "UPDATE tenure.memberships SET status = 'inactive', removed_at = now(),"
            " holds_seat = false"
        )

    told = await me(house, headers)

    assert (told["active"], told["organizations"]) == (None, [])
    assert told["decision"]["reason"] == "not_a_member"


async def test_who_acts_for_herself_has_no_active_organization(house: House) -> None:
    user = house.scene.post("/v1/users", first_name="Grace")
    session = house.scene.post("/v1/sessions", user_id=user["id"])

    told = await me(house, house.as_session(session["id"]))

    assert (told["active"], told["organizations"]) == (None, [])
    assert told["user"]["external_id"] == user["id"]


async def test_who_is_not_signed_in_is_nobody(house: House) -> None:
    for headers in ({}, bearer("x.y.z")):
        answer = await house.http.get("/me", headers=headers)
        assert answer.status_code == 401
        assert error_of({"x": answer}["x"])["code"].startswith("identity.")
