"""The part of the story that is about who belongs where."""

import time
from http import HTTPStatus

import httpx

from tenure.entry.local.scene import LOOK_AGAIN, PATIENCE, Json, Scene, Seen, expect


def bring_colleague(scene: Scene) -> Seen:
    """Let a colleague join at the provider, who never comes to us with a token."""
    email = scene.ids.token("bob-", 6) + "@example.com"
    began = time.perf_counter()
    scene.colleague = scene.who.sign_up(scene.identity, email, "Bob")
    scene.who.join(scene.identity, scene.org, scene.colleague)
    member = _until_member(scene, email)
    took = round((time.perf_counter() - began) * 1000, 1)
    is_right = (member["status"], member["role"], member["holds_seat"]) == (
        "active",
        "member",
        True,
    )
    expect(is_right, wanted="an active member with a seat", came=member)
    history = scene.service.get(f"/orgs/current/members/{scene.colleague}/history").json()["data"]
    causes = [line["cause"] for line in history]
    expect(set(causes) == {"look"}, wanted="rows that a look at the provider made", came=history)
    text = f"{email} is a member {took:.0f} ms after {scene.who.title} was told"
    return Seen(text=text, facts={"join_to_row_ms": took, "causes": causes})


def _until_member(scene: Scene, email: str) -> Json:
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = scene.service.get("/orgs/current/members")
        found = [m for m in answer.json().get("data", ()) if m["email"] == email]
        if found:
            return found[0]
        scene.check()
        expect(time.monotonic() < deadline, wanted=f"{email} among the members", came=answer)
        time.sleep(LOOK_AGAIN)


def remove_colleague(scene: Scene) -> Seen:
    """Remove him at the provider: his token is good for hours, and refused at once."""
    token = scene.who.token(scene.identity, scene.colleague, scene.org, "member")
    his = {"Authorization": f"Bearer {token}"}
    before = _asks(scene, his)
    expect(before.is_success, wanted="200 for a member", came=before)
    began = time.perf_counter()
    scene.who.remove(scene.identity, scene.org, scene.colleague)
    deadline = time.monotonic() + PATIENCE
    while (answer := _asks(scene, his)).is_success:
        scene.check()
        expect(time.monotonic() < deadline, wanted="a refusal", came=answer)
        time.sleep(LOOK_AGAIN)
    took = round((time.perf_counter() - began) * 1000, 1)
    refused = answer.status_code == HTTPStatus.FORBIDDEN
    expect(refused, wanted="403, no member", came=answer)
    text = f"refused {took:.0f} ms after {scene.who.title} removed him; his seat is free again"
    return Seen(text=text, facts={"removal_to_refusal_ms": took, "status": answer.status_code})


def _asks(scene: Scene, headers: dict[str, str]) -> httpx.Response:
    return scene.service.get("/gate/for/subscription=no", headers=headers)


def find_herself(scene: Scene) -> Seen:
    """Read who she is: what no token says, her e-mail address, came with her sign-up."""
    deadline = time.monotonic() + PATIENCE
    while not (user := _herself(scene))["email"]:
        scene.check()
        expect(time.monotonic() < deadline, wanted="a row with her e-mail address", came=user)
        time.sleep(LOOK_AGAIN)
    text = f"{user['email']}, known here as {user['id']}"
    return Seen(text=text, facts={"user": user["external_id"], "email": user["email"]})


def _herself(scene: Scene) -> Json:
    answer = scene.service.get("/me")
    expect(answer.is_success, wanted="200, who she is", came=answer)
    return answer.json()["user"]


TOGETHER = frozenset({bring_colleague, remove_colleague})
