"""Everything the pretended Clerk instance knows, kept in memory, saved to a file if asked."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec

from tenure.base.clock import Clock
from tenure.base.errors import TenureError
from tenure.base.ids import Ids
from tenure.sandbox.clerk import svix
from tenure.sandbox.clerk.shelf import History, Json, Keys, Shelf
from tenure.sandbox.clerk.signing import SigningKey
from tenure.sandbox.courier import Courier
from tenure.sandbox.post import Letter, Post, Schedule


class Refused(TenureError):
    """Clerk says no, in Clerk's own words."""

    code = "sandbox.clerk_refused"
    hint = "Read the `errors` of the answer, as you would with Clerk."

    def __init__(self, status: int, code: str, message: str, long_message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {
            "errors": [{"code": code, "message": message, "long_message": long_message or message}]
        }


class UnreadableState(TenureError):
    """The file of a saved sandbox cannot be read as one."""

    code = "sandbox.unreadable_state"
    hint = "Remove the file to start with an empty sandbox."


@dataclass(slots=True, kw_only=True)
class State:
    """What survives a restart: Clerk's objects by id, in Clerk's JSON shapes, keys and post."""

    instance_id: str
    secret_key: str
    users: dict[str, Json] = field(default_factory=dict[str, Json])
    organizations: dict[str, Json] = field(default_factory=dict[str, Json])
    memberships: dict[str, Json] = field(default_factory=dict[str, Json])
    invitations: dict[str, Json] = field(default_factory=dict[str, Json])
    sessions: dict[str, Json] = field(default_factory=dict[str, Json])
    keys: list[SigningKey] = field(default_factory=list[SigningKey])  # newest first
    post: Post = field(default_factory=Post)


def _addresses(user: Json) -> Iterable[str]:
    return (email["email_address"].lower() for email in user["email_addresses"])


def _waiting(invitation: Json) -> Iterable[str]:
    return (invitation["organization_id"],) if invitation["status"] == "pending" else ()


USERS: dict[str, Keys] = {
    "email_address": _addresses,
    "external_id": lambda user: filter(None, (user["external_id"],)),
    "username": lambda user: filter(None, (user["username"],)),
}
ORGANIZATIONS: dict[str, Keys] = {"slug": lambda org: (org["slug"],)}
MEMBERSHIPS: dict[str, Keys] = {
    "org": lambda member: (member["org_id"],),
    "user": lambda member: (member["user_id"],),
    "pair": lambda member: (pair(member["org_id"], member["user_id"]),),
}
INVITATIONS: dict[str, Keys] = {
    "org": lambda invitation: (invitation["organization_id"],),
    "email_address": lambda invitation: (invitation["email_address"].lower(),),
    "waiting": _waiting,
}
SESSIONS: dict[str, Keys] = {"user": lambda session: (session["user_id"],)}


@dataclass(slots=True, kw_only=True)
class World:
    """One pretended instance, as the handlers see it."""

    url: str  # the Frontend API URL (`iss`) and the base of the Backend API
    origin: str  # the application that signs in: `azp`, when the request names none
    clock: Clock
    ids: Ids
    state: State
    path: Path | None = None
    has_organizations: bool = True
    http: httpx.AsyncClient | None = None  # carries the webhooks; a server brings its own
    schedule: Schedule = svix.SCHEDULE
    features: dict[str, dict[str, list[str]]] = field(
        default_factory=lambda: {  # by role, then by feature; Clerk's system permissions stay out
            "org:admin": {"dashboard": ["read", "manage"], "reports": ["read"]},
            "org:member": {"dashboard": ["read"]},
        }
    )
    pinned_ms: int | None = None  # the time that new things get, when it was asked to stand still
    history: History = field(init=False)
    users: Shelf = field(init=False)
    organizations: Shelf = field(init=False)
    memberships: Shelf = field(init=False)
    invitations: Shelf = field(init=False)
    sessions: Shelf = field(init=False)
    courier: Courier = field(init=False)

    def __post_init__(self) -> None:
        state, past = self.state, History()
        self.history = past
        self.users = Shelf(state.users, past, USERS)
        self.organizations = Shelf(state.organizations, past, ORGANIZATIONS)
        self.memberships = Shelf(state.memberships, past, MEMBERSHIPS)
        self.invitations = Shelf(state.invitations, past, INVITATIONS)
        self.sessions = Shelf(state.sessions, past, SESSIONS)
        self.courier = Courier(
            svix.sign,
            self.clock,
            self.ids,
            http=self.http,
            schedule=self.schedule,
            post=state.post,
        )

    @property
    def publishable_key(self) -> str:
        """The key a browser would use; it spells the Frontend API's host."""
        host = self.url.partition("://")[2]
        return "pk_test_" + base64.b64encode(f"{host}$".encode()).decode().rstrip("=")

    def now_ms(self) -> int:
        """Tell the time as Clerk writes it."""
        if self.pinned_ms is not None:
            return self.pinned_ms
        return int(self.clock.now().timestamp() * 1000)

    def tell(self, kind: str, data: Json) -> None:
        """Send an event to whoever asked for its kind, and keep it."""
        event = {
            "data": data,
            "event_attributes": {"http_request": {"client_ip": "", "user_agent": ""}},
            "instance_id": self.state.instance_id,
            "object": "event",
            "timestamp": self.now_ms(),
            "type": kind,
        }
        name = self.ids.token("msg_", 27)
        self.courier.send(Letter(id=name, kind=kind, body=msgspec.json.encode(event)))

    def save(self) -> None:
        """Write everything to the file, at once or not at all."""
        if self.path is None:
            return
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.touch(mode=0o600)  # it will hold a private key
        fresh.write_bytes(msgspec.json.encode(self.state))
        fresh.replace(self.path)


def pair(org_id: str, user_id: str) -> str:
    """Name who is in what, as `MEMBERSHIPS` looks it up."""
    return f"{org_id}/{user_id}"


def load(
    path: Path | None,
    ids: Ids,
    *,
    secret_key: str | None = None,
    pem: str | None = None,
) -> State:
    """Read a saved instance, or found a new one; `pem` spares it the making of a key.

    Errors: UnreadableState.
    """
    if path is None or not path.exists():
        instance = ids.token("ins_")
        founded = secret_key or ids.token("sk_test_", 40)
        key = SigningKey(kid=instance, pem=pem) if pem else SigningKey.make(instance)
        return State(instance_id=instance, secret_key=founded, keys=[key])
    try:
        state = msgspec.json.decode(path.read_bytes(), type=State)
    except (msgspec.MsgspecError, UnicodeError) as exc:
        raise UnreadableState(f"{path} does not hold a saved Clerk sandbox") from exc
    state.secret_key = secret_key or state.secret_key
    return state
