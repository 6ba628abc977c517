"""People who do things at a Clerk at random."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from tenure.base.clock import StoppedClock
from tenure.base.ids import CountedIds
from tenure.identity.claims import Principal
from tenure.identity.clerk import ClerkDirectory, ClerkReader
from tenure.identity.directory import Directory, Reader
from tenure.journal.model import Knock
from tenure.sandbox.clerk.app import clerk_inside
from tenure.sandbox.clerk.world import World

from .provider import Act, Acting, Json, Member, Pair, Person, Truth

USERS, ORGS = "/v1/users", "/v1/organizations"
FAULTS: list[Json] = [
    {"name": "429"},
    {"name": "500", "count": 3},
    {"name": "refuse", "count": 2},
    {"name": "done_500"},
    {"name": "stale", "back": 1},
    {"name": "stale", "back": 3, "count": 2},
]
PLACES = ["/", "/v1/users", "/v1/organizations", "/v1/organizations/*/memberships*"]


@dataclass(kw_only=True)
class Clerk(Acting):
    world: World
    reader: Reader
    directory: Directory | None
    name: str = "clerk"

    def weights(self) -> dict[Act, float]:
        return {
            self.create_user: 4 if len(self.world.users) < 5 else 0.5,
            self.rename_user: 1.5,
            self.add_address: 1,
            self.ban: 0.7,
            self.unban: 0.7,
            self.delete_user: 0.8,
            self.create_org: 3 if len(self.world.organizations) < 2 else 0.3,
            self.rename_org: 1,
            self.delete_org: 0.4,
            self.join: 7,
            self.change_role: 3,
            self.remove: 2,
            self.rejoin: 2,
            self.invite_and_accept: 0.7,
            self.sign_in: 1,
            self.revoke: 1,
        }

    def faults(self) -> list[Json]:
        return [fault | {"match": self.chance.choice(PLACES)} for fault in FAULTS]

    async def create_user(self) -> str | None:
        first = self.word()
        made = await self.ask("POST", USERS, first_name=first, email_address=[self.address()])
        return made["id"] if made else None

    async def rename_user(self) -> str | None:
        return await self._user("PATCH", "", first_name=self.word(), last_name="Lovelace")

    async def add_address(self) -> str | None:
        user = self.some(list(self.world.state.users))
        asked = {"user_id": user, "email_address": self.address(), "primary": True}
        return user if user and await self.ask("POST", "/v1/email_addresses", **asked) else None

    async def ban(self) -> str | None:
        return await self._user("POST", "/ban")

    async def unban(self) -> str | None:
        return await self._user("POST", "/unban")

    async def delete_user(self) -> str | None:
        user = self._somebody()
        gone = user not in {None, self.founder} and await self.ask("DELETE", f"{USERS}/{user}")
        return user if gone else None

    async def create_org(self) -> str | None:
        creator = self.some([None, *self.world.state.users])
        asked: Json = {"name": self.word(), "max_allowed_memberships": 0}
        made = await self.ask("POST", ORGS, **asked, **({"created_by": creator} if creator else {}))
        return made["id"] if made else None

    async def rename_org(self) -> str | None:
        return await self._org("PATCH", "", name=self.word())

    async def delete_org(self) -> str | None:
        return await self._org("DELETE", "")

    async def join(self) -> str | None:
        org, user = self.some(list(self.world.state.organizations)), self._somebody()
        joined = org is not None and user is not None and await self.bring((org, user))
        return f"{org}/{user}" if joined else None

    async def bring(self, pair: Pair) -> bool:
        asked = {"user_id": pair[1], "role": f"org:{self.role()}"}
        return await self.ask("POST", f"{ORGS}/{pair[0]}/memberships", **asked) is not None

    async def rejoin(self) -> str | None:
        row = self.some(list(self.world.state.memberships.values()))
        if row is None:
            return None
        await self.ask("DELETE", f"{ORGS}/{row['org_id']}/memberships/{row['user_id']}")
        self.clock.tick(self.a_moment())
        await self.bring((row["org_id"], row["user_id"]))
        return row["id"]

    async def change_role(self) -> str | None:
        return await self._member("PATCH", role=f"org:{self.role()}")

    async def remove(self) -> str | None:
        return await self._member("DELETE")

    async def invite_and_accept(self) -> str | None:
        org = self.some(list(self.world.state.organizations))
        asked = {"email_address": self.address(), "role": f"org:{self.role()}"}
        made = await self.ask("POST", f"{ORGS}/{org}/invitations", **asked) if org else None
        if made is None:
            return None
        await self.ask("POST", f"/_sandbox/invitations/{made['id']}/accept")
        return f"{org} {asked['email_address']}"

    async def sign_in(self) -> str | None:
        user = self._somebody()
        made = await self.ask("POST", "/v1/sessions", user_id=user) if user else None
        return made["id"] if made else None

    async def revoke(self) -> str | None:
        session = self.some(list(self.world.state.sessions))
        done = await self.ask("POST", f"/v1/sessions/{session}/revoke") if session else None
        return session if done else None

    def _somebody(self) -> str | None:
        return self.some(list(self.world.state.users))

    async def _user(self, method: str, act: str, **body: str) -> str | None:
        user = self._somebody()
        return user if user and await self.ask(method, f"{USERS}/{user}{act}", **body) else None

    async def _org(self, method: str, act: str, **body: str) -> str | None:
        org = self.some(list(self.world.state.organizations))
        return org if org and await self.ask(method, f"{ORGS}/{org}{act}", **body) else None

    async def _member(self, method: str, **body: str) -> str | None:
        row = self.some(list(self.world.state.memberships.values()))
        if row is None:
            return None
        path = f"{ORGS}/{row['org_id']}/memberships/{row['user_id']}"
        return path if await self.ask(method, path, **body) else None

    def knocks(self, after: int = 0) -> Sequence[Knock]:
        letters = self.world.courier.letters()[after:]
        return [self.reader.knock_of(one.body, event_id=one.id) for one in letters]

    def truth(self) -> Truth:
        state = self.world.state
        return Truth(
            people={key: _person(user) for key, user in state.users.items()},
            organizations={k: (o["name"], o["slug"]) for k, o in state.organizations.items()},
            members={
                (m["org_id"], m["user_id"]): Member(
                    id=m["id"], role=m["role"].removeprefix("org:"), status="active"
                )
                for m in state.memberships.values()
            },
        )

    def token(self) -> Principal | None:
        user, state = self._somebody(), self.world.state
        if user is None:
            return None
        mine = [None, *(m for m in state.memberships.values() if m["user_id"] == user)]
        member = self.chance.choice(mine[-3:])
        if member is None:
            return self.principal("clerk", user, None, slug=None, role=None)
        org = state.organizations[member["org_id"]]
        role = member["role"].removeprefix("org:")
        return self.principal("clerk", user, org["id"], slug=org["slug"], role=role)

    def generations(self) -> Mapping[str, Pair]:
        found: dict[str, Pair] = {}
        for letter in self.world.courier.letters():
            if letter.kind == "organizationMembership.created":
                data = json.loads(letter.body)["data"]
                pair = data["organization"]["id"], data["public_user_data"]["user_id"]
                found[data["id"]] = pair
        return found

    def ended(self) -> Mapping[str, set[str]]:
        found: dict[str, set[str]] = {}
        for letter in self.world.courier.letters():
            if letter.kind in {"session.ended", "session.removed", "session.revoked"}:
                found.setdefault(json.loads(letter.body)["data"]["id"], set()).add(letter.id)
        return found


def _person(user: Json) -> Person:
    primary = user["primary_email_address_id"]
    emails = [e["email_address"] for e in user["email_addresses"] if e["id"] == primary]
    names = [name for name in (user["first_name"], user["last_name"]) if name]
    return Person(
        email=emails[0] if emails else None, name=" ".join(names) or None, blocked=user["banned"]
    )


@asynccontextmanager
async def a_clerk(seed: int, *, key: bool, **acting: object) -> AsyncIterator[Clerk]:
    """Open an instance; `key`: whether we may ask it."""
    clock = acting["clock"]
    assert isinstance(clock, StoppedClock)
    async with (
        clerk_inside(clock=clock, ids=CountedIds(seed)) as inside,
        httpx.AsyncClient(transport=inside.transport) as ours,
    ):
        directory = ClerkDirectory(
            inside.secret_key, livemode=False, api_base=inside.url, http=ours, spend=at_once
        )
        yield Clerk(
            world=inside.world,
            reader=directory if key else ClerkReader(livemode=False),
            directory=directory if key else None,
            http=inside.http,
            **acting,  # type: ignore[arg-type]
        )


async def at_once() -> None:
    """Take a call's turn without waiting."""
