"""People in organizations at a pretended provider, and the signed webhooks that tell of them."""

import hmac
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from svix.webhooks import Webhook

from bench import load
from bench.town import Town
from tenure.base.clock import SystemClock

Json = dict[str, Any]
Row = tuple[str, str, str, str]  # organization, user, role, status
MEMBERSHIPS = "/user_management/organization_memberships"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Memberships as the provider's events show them."""

    provider: str
    secret: str
    members: Sequence[Json]

    @property
    def rows(self) -> set[Row]:
        """Say how our rows must read."""
        return set(self.events)

    @property
    def events(self) -> list[Row]:
        """Say of whom each event tells, in their order."""
        return [self._row(member) for member in self.members]

    def requests(self, url: str, tag: str) -> list[bytes]:
        """Write and sign an event of each."""
        return [self.request(url, f"{tag}_{n}", member) for n, member in enumerate(self.members)]

    def request(self, url: str, name: str, member: Json) -> bytes:
        """Write and sign one event."""
        sign = _clerk if self.provider == "clerk" else _workos
        body, headers = sign(self.secret, name, member)
        headers |= {"Content-Type": "application/json"}
        return load.request(f"{url}/webhooks/{self.provider}", body, headers)

    def _row(self, member: Json) -> Row:
        if self.provider == "clerk":
            user = member["public_user_data"]["user_id"]
            role = member["role"].removeprefix("org:")
            return member["organization"]["id"], user, role, "active"
        org, user = member["organization_id"], member["user_id"]
        return org, user, member["role"]["slug"], member["status"]


def gather(town: Town, *, users: int, orgs: int, members: int) -> Crowd:
    """Let so many be there, without anybody being told."""
    secrets = town.plan.secrets
    who = town.plan.who.name
    secret = secrets.clerk_webhook_secret if who == "clerk" else secrets.workos_webhook_secret
    with town.identity() as http:
        made = seed(http, who, users=users, orgs=orgs, members=members)
        seen = [one for org in made["organizations"] for one in _listed(http, who, org)]
    assert len(seen) == members, len(seen)
    seen.sort(key=lambda member: member["id"])  # organizations take turns, as they do in life
    return Crowd(provider=who, secret=secret, members=seen)


def seed(
    http: httpx.Client, who: str, *, users: int, orgs: int, members: int
) -> dict[str, list[str]]:
    """Let so many be there, quietly, everybody in about as many organizations; give their ids."""
    step = max(1, users * orgs // members)
    tag = time.monotonic_ns()  # WorkOS takes no e-mail address twice
    wanted = {
        "users": [{"email": f"u{n}.{tag}@example.com"} for n in range(users)]
        if who == "workos"
        else users,
        "organizations": orgs,
        "memberships": [
            {"organization": n % orgs, "user": (n // orgs * step + n % orgs) % users}
            for n in range(members)
        ],
    }
    made: dict[str, list[str]] = http.post("/_sandbox/seed", json=wanted).raise_for_status().json()
    return made


def _listed(http: httpx.Client, who: str, org: str) -> list[Json]:
    if who == "clerk":
        asked = {"limit": 500}
        path = f"/v1/organizations/{org}/memberships"
    else:
        asked = {"limit": 100, "organization_id": org}
        path = MEMBERSHIPS
    rows: list[Json] = http.get(path, params=asked).raise_for_status().json()["data"]
    unseen = ("organization_name", "user") if who == "workos" else ()  # events have neither
    return [{k: v for k, v in row.items() if k not in unseen} for row in rows]


def _clerk(secret: str, name: str, member: Json) -> tuple[bytes, dict[str, str]]:
    event = {
        "data": member,
        "event_attributes": {"http_request": {"client_ip": "", "user_agent": ""}},
        "instance_id": "ins_bench",
        "object": "event",
        "timestamp": int(time.time() * 1000),
        "type": "organizationMembership.updated",
    }
    body, now = json.dumps(event), SystemClock().now()
    return body.encode(), {
        "svix-id": f"msg_{name}",
        "svix-timestamp": str(int(now.timestamp())),
        "svix-signature": Webhook(secret).sign(f"msg_{name}", now, body),
    }


def _workos(secret: str, name: str, member: Json) -> tuple[bytes, dict[str, str]]:
    event = {
        "object": "event",
        "id": f"event_{name}",
        "event": "organization_membership.updated",
        "data": member,
        "created_at": member["updated_at"],
        "context": {},
    }
    body, now = json.dumps(event).encode(), str(int(time.time() * 1000))
    mac = hmac.new(secret.encode(), now.encode() + b"." + body, "sha256").hexdigest()
    return body, {"WorkOS-Signature": f"t={now}, v1={mac}"}
