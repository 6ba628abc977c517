"""People and directories that do things at a WorkOS at random."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import msgspec

from tenure.base.clock import StoppedClock
from tenure.base.ids import CountedIds
from tenure.identity.claims import Principal
from tenure.identity.directory import Directory, Reader
from tenure.identity.workos import WorkosDirectory
from tenure.identity.workos_events import WorkosReader
from tenure.journal.model import Knock
from tenure.sandbox.workos import sessions
from tenure.sandbox.workos.app import workos_inside
from tenure.sandbox.workos.state import Policy
from tenure.sandbox.workos.world import World

from .provider import Act, Acting, Json, Member, Pair, Person, Truth

USERS, ORGS = "/user_management/users", "/organizations"
MEMBERS, DIRECTORY = "/user_management/organization_memberships", "/_sandbox/directory"
INVITATIONS = "/user_management/invitations"
FAULTS: list[Json] = [
    {"name": "429"},
    {"name": "500", "count": 3},
    {"name": "refuse", "count": 2},
    {"name": "lost"},
    {"name": "done_500"},
    {"name": "stale", "back": 1},
    {"name": "stale", "back": 3, "count": 2},
]
PLACES = ["/", USERS, ORGS, MEMBERS, "/events"]


@dataclass(kw_only=True)
class Workos(Acting):
    world: World
    reader: Reader
    directory: Directory | None
    name: str = "workos"

    def weights(self) -> dict[Act, float]:
        return {
            self.create_user: 4 if len(self.world.users.rows) < 5 else 0.5,
            self.rename_user: 1.5,
            self.change_address: 1,
            self.delete_user: 0.8,
            self.create_org: 3 if len(self.world.organizations.rows) < 2 else 0.3,
            self.rename_org: 1,
            self.delete_org: 0.4,
            self.join: 6,
            self.change_role: 2,
            self.remove: 1,
            self.rejoin: 2,
            self.deactivate: 2,
            self.reactivate: 2,
            self.provision: 1,
            self.deprovision: 1,
            self.invite: 1,
            self.accept: 1,
            self.withdraw: 0.5,
            self.sign_in: 1,
            self.revoke: 0.7,
        }

    def faults(self) -> list[Json]:
        return [fault | {"match": self.chance.choice(PLACES)} for fault in FAULTS]

    async def create_user(self) -> str | None:
        made = await self.ask("POST", USERS, email=self.address(), first_name=self.word())
        return made["id"] if made else None

    async def rename_user(self) -> str | None:
        return await self._user("PUT", last_name=self.word())

    async def change_address(self) -> str | None:
        return await self._user("PUT", email=self.address())

    async def delete_user(self) -> str | None:
        user = self._somebody()
        return await self._gone("DELETE", USERS, None if user == self.founder else user)

    async def create_org(self) -> str | None:
        made = await self.ask("POST", ORGS, name=self.word())
        return made["id"] if made else None

    async def rename_org(self) -> str | None:
        org = self._org()
        return org if org and await self.ask("PUT", f"{ORGS}/{org}", name=self.word()) else None

    async def delete_org(self) -> str | None:
        return await self._gone("DELETE", ORGS, self._org())

    async def join(self) -> str | None:
        return await self._bring(MEMBERS)

    async def bring(self, pair: Pair) -> bool:
        asked = {"organization_id": pair[0], "user_id": pair[1], "role_slug": self.role()}
        return await self.ask("POST", MEMBERS, **asked) is not None

    async def rejoin(self) -> str | None:
        row = self._member()
        if row is None:
            return None
        await self.ask("DELETE", f"{MEMBERS}/{row['id']}")
        self.clock.tick(self.a_moment())
        await self.bring((row["organization_id"], row["user_id"]))
        return row["id"]

    async def provision(self) -> str | None:
        return await self._bring(f"{DIRECTORY}/provision")

    async def deprovision(self) -> str | None:
        row = self._member()
        asked = {"membership_id": row["id"]} if row else {}
        done = await self.ask("POST", f"{DIRECTORY}/deprovision", **asked) if row else None
        return row["id"] if row and done else None

    async def change_role(self) -> str | None:
        return await self._change("", role_slug=self.role())

    async def deactivate(self) -> str | None:
        return await self._change("/deactivate")

    async def reactivate(self) -> str | None:
        return await self._change("/reactivate")

    async def remove(self) -> str | None:
        row = self._member()
        return await self._gone("DELETE", MEMBERS, row["id"] if row else None)

    async def invite(self) -> str | None:
        org = self._org()
        if org is None:
            return None
        asked = {"email": self.address(), "organization_id": org, "role_slug": self.role()}
        made = await self.ask("POST", INVITATIONS, **asked)
        return f"{org} {asked['email']}" if made else None

    async def accept(self) -> str | None:
        return await self._answer("/_sandbox/invitations", "accept")

    async def withdraw(self) -> str | None:
        return await self._answer(INVITATIONS, "revoke")

    async def sign_in(self) -> str | None:
        user, org = self._somebody(), self._org()
        if user is None:
            return None
        with self.world.change():
            here = org if self.world.active(org, user) else None
            return sessions.begin(self.world, user, here, {})["id"]

    async def revoke(self) -> str | None:
        session = self.some(list(self.world.sessions.rows))
        asked = {"session_id": session}
        path = "/user_management/sessions/revoke"
        return session if session and await self.ask("POST", path, **asked) is not None else None

    def _somebody(self) -> str | None:
        return self.some(list(self.world.users.rows))

    def _org(self) -> str | None:
        return self.some(list(self.world.organizations.rows))

    def _member(self) -> Json | None:
        return self.some(list(self.world.memberships.rows.values()))

    async def _gone(self, method: str, path: str, key: str | None) -> str | None:
        if key is None:
            return None
        answer = await self.http.request(method, f"{path}/{key}")
        return key if answer.is_success else None

    async def _user(self, method: str, **body: str) -> str | None:
        user = self._somebody()
        return user if user and await self.ask(method, f"{USERS}/{user}", **body) else None

    async def _bring(self, path: str) -> str | None:
        org, user = self._org(), self._somebody()
        if org is None or user is None:
            return None
        asked = {"organization_id": org, "user_id": user, "role_slug": self.role()}
        return f"{org}/{user}" if await self.ask("POST", path, **asked) else None

    async def _change(self, act: str, **body: str) -> str | None:
        row = self._member()
        done = await self.ask("PUT", f"{MEMBERS}/{row['id']}{act}", **body) if row else None
        return row["id"] if row and done else None

    async def _answer(self, path: str, act: str) -> str | None:
        open_ = [i for i, row in self.world.invitations.rows.items() if row["state"] == "pending"]
        invited = self.some(open_)
        done = await self.ask("POST", f"{path}/{invited}/{act}") if invited else None
        return invited if done else None

    def knocks(self, after: int = 0) -> Sequence[Knock]:
        letters = self.world.courier.letters()[after:]
        return [self.reader.knock_of(letter.body) for letter in letters]

    def truth(self) -> Truth:
        world = self.world
        return Truth(
            people={key: _person(user) for key, user in world.users.rows.items()},
            organizations={key: (o["name"], None) for key, o in world.organizations.rows.items()},
            members={
                (m["organization_id"], m["user_id"]): Member(
                    id=m["id"], role=m["role"]["slug"], status=m["status"]
                )
                for m in world.memberships.rows.values()
            },
        )

    def token(self) -> Principal | None:
        user = self._somebody()
        if user is None:
            return None
        rows = self.world.memberships.rows.values()
        mine = [m for m in rows if (m["user_id"], m["status"]) == (user, "active")]
        member = self.chance.choice([None, *mine][-3:])
        if member is None:
            return self.principal("workos", user, None, slug=None, role=None)
        org, role = member["organization_id"], member["role"]["slug"]
        return self.principal("workos", user, org, slug=None, role=role)

    def generations(self) -> Mapping[str, Pair]:
        return {
            data["id"]: (data["organization_id"], data["user_id"])
            for data in self._told("organization_membership.created").values()
        }

    def ended(self) -> Mapping[str, set[str]]:
        found: dict[str, set[str]] = {}
        for event_id, data in self._told("session.revoked").items():
            found.setdefault(data["id"], set()).add(event_id)
        return found

    def _told(self, kind: str) -> dict[str, Json]:
        letters = [one for one in self.world.courier.letters() if one.kind == kind]
        return {one.id: msgspec.json.decode(one.body)["data"] for one in letters}


def _person(user: Json) -> Person:
    both = " ".join(name for name in (user["first_name"], user["last_name"]) if name)
    return Person(email=user["email"], name=user["name"] or both or None)


@asynccontextmanager
async def a_workos(seed: int, *, key: bool, **acting: object) -> AsyncIterator[Workos]:
    """Open an environment; `key`: whether we may ask it."""
    clock = acting["clock"]
    assert isinstance(clock, StoppedClock)
    policy = Policy(cascade_events=seed % 2 == 0)  # WorkOS does not say whether it tells of these
    async with (
        workos_inside(clock=clock, ids=CountedIds(seed), policy=policy) as inside,
        httpx.AsyncClient(transport=inside.transport) as ours,
    ):
        directory = WorkosDirectory(inside.api_key, api_base=inside.url, http=ours, spend=at_once)
        yield Workos(
            world=inside.world,
            reader=directory if key else WorkosReader(),
            directory=directory if key else None,
            http=inside.http,
            **acting,  # type: ignore[arg-type]
        )


async def at_once() -> None:
    """Take a call's turn without waiting."""
