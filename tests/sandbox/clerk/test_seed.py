from typing import Any

import pytest

from .inside import Room


async def seed(room: Room, **wish: Any) -> dict[str, list[str]]:
    return await room.post("/_sandbox/seed", **wish)


async def test_many_are_made_at_once_without_a_webhook(room: Room) -> None:
    made = await seed(room, users=30, organizations=7, memberships=100)
    assert [len(made[name]) for name in ("users", "organizations", "memberships")] == [30, 7, 100]
    assert await room.kinds() == []
    everybody = await room.get("/v1/organization_memberships", limit=500)
    pairs = {
        (row["organization"]["id"], row["public_user_data"]["user_id"]) for row in everybody["data"]
    }
    assert len(pairs) == everybody["total_count"] == 100
    sizes = [
        (await room.get(f"/v1/organizations/{org}/memberships"))["total_count"]
        for org in made["organizations"]
    ]
    assert set(sizes) == {14, 15}


async def test_what_is_given_is_kept(room: Room) -> None:
    await seed(
        room,
        users=[{"id": "user_a", "email_address": ["a@example.com"], "created_at": 5}, {}],
        organizations=[{"id": "org_a", "name": "Acme", "max_allowed_memberships": 1}],
        memberships=[{"organization": 0, "user": "user_a", "role": "org:admin", "id": "orgmem_a"}],
    )
    (member,) = (await room.get("/v1/users/user_a/organization_memberships"))["data"]
    assert (member["id"], member["role"], member["organization"]["name"]) == (
        *("orgmem_a", "org:admin", "Acme"),
    )
    oldest = (await room.get("/v1/users", order_by="+created_at"))[0]
    assert (oldest["id"], oldest["created_at"]) == ("user_a", 5)


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"users": 2, "organizations": 2, "memberships": 5}, 422),
        ({"memberships": [{"organization": 0, "user": 0}]}, 404),
        ({"typo": 1}, 400),
        (
            {"users": 1, "organizations": 1, "memberships": [{"organization": 0, "user": 0}] * 2},
            400,
        ),
    ],
)
async def test_a_senseless_seed_is_refused(room: Room, wish: dict[str, Any], status: int) -> None:
    answer = await room.clerk.http.post("/_sandbox/seed", json=wish)
    assert answer.status_code == status
