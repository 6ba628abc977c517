import base64
import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.base.budget import BudgetSpent
from tenure.base.http import Answer, HttpAway, HttpBusy, HttpFailed
from tenure.identity.rotation import Denied, Failed, Pair
from tenure.identity.workos_tokens import Door, failure, read_answer
from tests.identity.refresh_scene import at_once

GOOD = {"user": {"id": "user_1"}, "access_token": "a", "refresh_token": "r"}
SECONDS = timedelta(seconds=1)


def answer(said: object, status: int = 200) -> Answer:
    return Answer(status=status, body=json.dumps(said).encode())


def a_token(**claims: object) -> str:
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "RS256"}, claims, "signature")
    )


def a_door(url: str) -> Door:
    return Door(api_base=url, client_id="client_1", api_key="sk_" + "x", spend=at_once)


def test_a_pair_is_read_with_what_its_token_says() -> None:
    token = a_token(sid="session_1", exp=1_772_366_400, anything={"else": 1})
    said = GOOD | {"access_token": token, "organization_id": "org_1", "new_field": [1]}

    assert read_answer(answer(said)) == Pair(
        access_token=token,
        refresh_token="r",
        user_id="user_1",
        org_id="org_1",
        session_id="session_1",
        expires_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    )


@pytest.mark.parametrize("token", ["opaque", "a.b.c", a_token(exp="x"), a_token(sid=7), "a.ä.c"])
def test_a_token_that_we_cannot_read_is_kept_all_the_same(token: str) -> None:
    """M8: whatever is wrong with it, the refresh token beside it is the only one there is."""
    said = read_answer(answer(GOOD | {"access_token": token}))

    assert isinstance(said, Pair)
    assert (said.session_id, said.expires_at) == (None, None)


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (400, {"error": "invalid_grant", "error_description": "used"}, "invalid_grant"),
        (403, {"code": "mfa_enrollment", "message": "enroll"}, "mfa_enrollment"),
        (401, {"error": "invalid_client"}, "invalid_client"),
    ],
)
def test_a_refusal_is_read_in_both_of_the_provider_s_shapes(
    status: int, said: object, code: str
) -> None:
    denied = read_answer(answer(said, status))

    assert isinstance(denied, Denied)
    assert denied.code == code


@given(st.integers(200, 499), st.binary() | st.just(b'{"error": ""}') | st.just(b"[]"))
def test_whatever_else_is_said_leaves_the_token_in_doubt(status: int, body: bytes) -> None:
    said = read_answer(Answer(status=status, body=body))

    assert isinstance(said, Failed)
    assert said.is_spent


def test_only_what_never_left_this_machine_surely_did_not_spend_the_token() -> None:
    """M8: a time-out says nothing of what the provider did."""
    busy = HttpBusy("later", retry_after=SECONDS)
    unsent, lost = HttpAway("unsent"), HttpAway("lost")
    unsent.__cause__, lost.__cause__ = httpx.ConnectError(""), httpx.ReadError("")

    sure, unsure = (busy, unsent), (lost, HttpAway("late"), HttpFailed("500"))

    assert not any(failure(exc).is_spent for exc in sure)
    assert all(failure(exc).is_spent for exc in unsure)
    assert failure(busy).retry_after == SECONDS


async def test_nobody_there_spends_no_token() -> None:
    said = await a_door("http://127.0.0.1:9").refresh("t", org_id=None, within=SECONDS)

    assert isinstance(said, Failed)
    assert not said.is_spent


async def test_a_call_that_gets_no_turn_spends_no_token() -> None:
    async def never() -> None:
        raise BudgetSpent("workos:sessions", SECONDS)

    door = Door(api_base="http://127.0.0.1:9", client_id="c", api_key="k", spend=never)
    said = await door.refresh("t", org_id=None, within=SECONDS)

    assert said == Failed(why="base.budget_spent", is_spent=False, retry_after=SECONDS)
    assert not await door.revoke("session_1", within=SECONDS)


def test_the_door_does_not_show_its_key() -> None:
    assert "sk_x" not in repr(a_door("http://127.0.0.1:9"))
