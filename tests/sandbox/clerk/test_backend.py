from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest

from tenure.sandbox.clerk.app import Running


@pytest.fixture
def api(clerk: Running) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {clerk.secret_key}"}
    with httpx.Client(base_url=f"{clerk.url}/v1", headers=headers) as api:
        yield api


def ok(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def refusal(answer: httpx.Response) -> tuple[int, str]:
    (error,) = answer.json()["errors"]
    assert set(error) == {"code", "message", "long_message"}
    return answer.status_code, error["code"]


def a_user(api: httpx.Client, **given: Any) -> dict[str, Any]:
    return ok(api.post("/users", json=given))


def an_org(api: httpx.Client, **given: Any) -> dict[str, Any]:
    return ok(api.post("/organizations", json={"name": "Acme Inc"} | given))


def test_a_user_has_clerks_shape_and_times_in_milliseconds(api: httpx.Client) -> None:
    """B5"""
    user = a_user(api, email_address=["ada@example.com"], first_name="Ada")

    assert user["object"] == "user"
    assert user["id"].startswith("user_")
    (email,) = user["email_addresses"]
    assert user["primary_email_address_id"] == email["id"]
    assert email["verification"]["object"].startswith("verification_")
    assert user["created_at"] > 10**12
    assert ok(api.get(f"/users/{user['id']}")) == user
    assert user in ok(api.get("/users")), "a bare array, as the real API answers"
    assert ok(api.get("/users", params={"email_address": "ada@example.com"})) == [user]
    changed = ok(api.patch(f"/users/{user['id']}", json={"first_name": "Augusta"}))
    assert changed["first_name"] == "Augusta"
    assert changed["updated_at"] >= user["updated_at"]


def test_whoever_creates_an_organization_is_its_admin(api: httpx.Client) -> None:
    user = a_user(api)
    org = an_org(api, created_by=user["id"])

    assert org["slug"].startswith("acme-inc-")
    assert org["members_count"] == 1
    members = ok(api.get(f"/organizations/{org['id']}/memberships"))
    assert members["total_count"] == 1
    (member,) = members["data"]
    assert member["role"] == "org:admin"
    assert member["organization"]["id"] == org["id"]
    assert member["public_user_data"]["user_id"] == user["id"]
    assert ok(api.get(f"/organizations/{org['slug']}")) == org
    assert ok(api.get(f"/users/{user['id']}/organization_memberships")) == members


def test_removing_and_adding_again_gives_a_new_membership_id(api: httpx.Client) -> None:
    org, user = an_org(api), a_user(api)
    path = f"/organizations/{org['id']}/memberships"
    first = ok(api.post(path, json={"user_id": user["id"], "role": "org:member"}))
    assert first["id"].startswith("orgmem_")
    promoted = ok(api.patch(f"{path}/{user['id']}", json={"role": "org:admin"}))
    assert (promoted["id"], promoted["role"]) == (first["id"], "org:admin")
    assert ok(api.delete(f"{path}/{user['id']}"))["id"] == first["id"]
    again = ok(api.post(path, json={"user_id": user["id"], "role": "org:member"}))
    assert again["id"] != first["id"]


def test_the_membership_limit_is_kept(api: httpx.Client) -> None:
    org = an_org(api, max_allowed_memberships=1)
    path = f"/organizations/{org['id']}/memberships"
    first, second = a_user(api), a_user(api)
    ok(api.post(path, json={"user_id": first["id"], "role": "org:member"}))
    twice = api.post(path, json={"user_id": first["id"], "role": "org:member"})
    assert refusal(twice) == (400, "already_a_member_in_organization")
    over = api.post(path, json={"user_id": second["id"], "role": "org:member"})
    assert refusal(over) == (403, "organization_membership_quota_exceeded")


def test_deleting_takes_memberships_and_sessions_along(api: httpx.Client) -> None:
    user = a_user(api)
    org, other = an_org(api, created_by=user["id"]), an_org(api, created_by=user["id"])
    session = ok(api.post("/sessions", json={"user_id": user["id"]}))
    gone = ok(api.delete(f"/organizations/{org['id']}"))
    assert (gone["object"], gone["deleted"]) == ("organization", True)
    assert ok(api.get(f"/users/{user['id']}/organization_memberships"))["total_count"] == 1
    assert ok(api.delete(f"/users/{user['id']}"))["deleted"] is True
    assert ok(api.get(f"/organizations/{other['id']}"))["members_count"] == 0
    assert refusal(api.get(f"/sessions/{session['id']}")) == (404, "resource_not_found")


def test_a_session_token_carries_clerks_claims(api: httpx.Client, clerk: Running) -> None:
    """B5: version 2 by default, version 1 on request; both signed by the published key."""
    user = a_user(api)
    org = an_org(api, created_by=user["id"])
    given = {"user_id": user["id"], "organization_id": org["id"]}
    session = ok(api.post("/sessions", json=given))
    path = f"/sessions/{session['id']}/tokens"
    keys = httpx.get(f"{clerk.url}/.well-known/jwks.json").json()
    assert keys == ok(api.get("/jwks"))
    key = jwt.PyJWK(keys["keys"][0])

    two = jwt.decode(ok(api.post(path, json={}))["jwt"], key, algorithms=["RS256"])
    one = jwt.decode(ok(api.post(f"{path}?v=1"))["jwt"], key, algorithms=["RS256"])

    assert set(two) == {
        *("azp", "exp", "fea", "fva", "iat", "iss", "jti", "nbf"),
        *("o", "pla", "sid", "sts", "sub", "v"),
    }
    slug = org["slug"]
    assert two["o"] == {
        "id": org["id"], "rol": "admin", "slg": slug, "per": "read,manage", "fpm": "3,1"
    }  # fmt: skip
    assert (one["org_id"], one["org_role"], one["org_slug"]) == (org["id"], "org:admin", slug)
    assert two["exp"] - two["iat"] == one["exp"] - one["iat"] == 60
    assert two["iss"] == one["iss"] == clerk.url


def test_a_token_lives_as_long_and_names_the_origin_that_is_asked(
    api: httpx.Client, clerk: Running
) -> None:
    session = ok(api.post("/sessions", json={"user_id": a_user(api)["id"]}))
    path = f"/sessions/{session['id']}/tokens"

    def claims(url: str = path, **asked: Any) -> dict[str, Any]:
        token = ok(api.post(url, **asked))["jwt"]
        return jwt.decode(token, options={"verify_signature": False})

    long = claims(json={"expires_in_seconds": 3600})
    assert long["exp"] - long["iat"] == 3600
    assert claims()["azp"] == clerk.origin
    assert claims(headers={"origin": "https://app.example.com"})["azp"] == "https://app.example.com"
    assert "azp" not in claims(f"{path}?azp=")
    wrong = api.post(path, json={"expires_in_seconds": "long"})
    assert refusal(wrong) == (422, "form_param_value_invalid")


def test_a_revoked_session_gives_no_more_tokens(api: httpx.Client) -> None:
    session = ok(api.post("/sessions", json={"user_id": a_user(api)["id"]}))
    assert ok(api.post(f"/sessions/{session['id']}/revoke"))["status"] == "revoked"
    assert api.post(f"/sessions/{session['id']}/tokens").status_code == 404


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "authorization_header_format_invalid"),
        ("Basic abc", "authorization_header_format_invalid"),
        ("Bearer sk_test_wrong", "clerk_key_invalid"),
    ],
)
def test_the_backend_api_asks_for_the_secret_key(
    clerk: Running, authorization: str | None, code: str
) -> None:
    headers = {"authorization": authorization} if authorization else {}
    answer = httpx.get(f"{clerk.url}/v1/users", headers=headers)
    assert refusal(answer) == (401, code)


def test_mistakes_are_answered_in_clerks_words(api: httpx.Client) -> None:
    taken = {"email_address": ["taken@example.com"]}
    a_user(api, **taken)
    assert refusal(api.post("/users", json=taken)) == (422, "form_identifier_exists")
    assert refusal(api.post("/organizations", json={})) == (422, "form_param_missing")
    assert refusal(api.post("/sessions", json={"user_id": "user_0"})) == (404, "resource_not_found")
    assert refusal(api.post("/users", content=b"{not json")) == (400, "request_body_invalid")
    assert refusal(api.post("/users", content=b"[]")) == (400, "request_body_invalid")
    assert refusal(api.get("/users?limit=x")) == (422, "form_param_format_invalid")
    assert refusal(api.get("/users?limit=0")) == (422, "form_param_value_invalid")
    assert refusal(api.post("/users", json={"email_address": "a@b.c"}))[0] == 422


def test_lists_are_paged(api: httpx.Client) -> None:
    for n in range(3):
        an_org(api, name=f"Paged {n}")
    page = ok(api.get("/organizations?limit=2&offset=0"))
    rest = ok(api.get("/organizations?limit=500&offset=2"))
    assert len(page["data"]) == 2
    assert len(rest["data"]) == page["total_count"] - 2
