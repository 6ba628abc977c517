"""Everything the pretended Clerk instance knows, kept in memory, saved to a file if asked."""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tenure.base.clock import Clock
from tenure.base.errors import TenureError
from tenure.base.ids import Ids
from tenure.sandbox.clerk.signing import SigningKey

Json = dict[str, Any]


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
    """What survives a restart: Clerk's objects by id, in Clerk's JSON shapes, and the keys."""

    instance_id: str
    secret_key: str
    users: dict[str, Json] = field(default_factory=dict[str, Json])
    organizations: dict[str, Json] = field(default_factory=dict[str, Json])
    memberships: dict[str, Json] = field(default_factory=dict[str, Json])
    sessions: dict[str, Json] = field(default_factory=dict[str, Json])
    keys: list[SigningKey] = field(default_factory=list[SigningKey])  # newest first


@dataclass(slots=True, kw_only=True)
class World:
    """One pretended instance, as the handlers see it."""

    url: str  # the Frontend API URL (`iss`) and the base of the Backend API
    origin: str  # the application that signs in: `azp`, when the request names none
    clock: Clock
    ids: Ids
    state: State
    path: Path | None = None
    features: dict[str, dict[str, list[str]]] = field(
        default_factory=lambda: {  # by role, then by feature; Clerk's system permissions stay out
            "org:admin": {"dashboard": ["read", "manage"], "reports": ["read"]},
            "org:member": {"dashboard": ["read"]},
        }
    )

    @property
    def publishable_key(self) -> str:
        """The key a browser would use; it spells the Frontend API's host."""
        host = self.url.partition("://")[2]
        return "pk_test_" + base64.b64encode(f"{host}$".encode()).decode().rstrip("=")

    def now_ms(self) -> int:
        """Tell the time as Clerk writes it."""
        return int(self.clock.now().timestamp() * 1000)

    def save(self) -> None:
        """Write everything to the file, at once or not at all."""
        if self.path is None:
            return
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.touch(mode=0o600)  # it will hold a private key
        fresh.write_bytes(msgspec.json.encode(self.state))
        fresh.replace(self.path)


def load(path: Path | None, ids: Ids, *, secret_key: str | None = None) -> State:
    """Read a saved instance, or found a new one.

    Errors: UnreadableState.
    """
    if path is None or not path.exists():
        instance = ids.token("ins_")
        founded = secret_key or ids.token("sk_test_", 40)
        keys = [SigningKey.make(instance)]
        return State(instance_id=instance, secret_key=founded, keys=keys)
    try:
        state = msgspec.json.decode(path.read_bytes(), type=State)
    except (msgspec.MsgspecError, UnicodeError) as exc:
        raise UnreadableState(f"{path} does not hold a saved Clerk sandbox") from exc
    state.secret_key = secret_key or state.secret_key
    return state
