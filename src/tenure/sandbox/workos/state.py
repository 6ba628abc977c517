"""What a pretended WorkOS environment remembers, and what it was told to be like."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tenure.base.errors import TenureError
from tenure.base.ids import Ids
from tenure.sandbox.post import Post
from tenure.sandbox.workos.signing import SigningKey

Json = dict[str, Any]


class UnreadableState(TenureError):
    """The file of a saved sandbox cannot be read as one."""

    code = "sandbox.unreadable_state"
    hint = "Remove the file to start with an empty sandbox."


class Policy(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """How the environment behaves where WorkOS leaves it open, or where a test wants less.

    Units: seconds.
    """

    hold_back: float = 3.0  # ascending reads of events hide younger ones
    retention: float = 30 * 86_400.0  # of events
    replay_grace: float = 30.0  # of a spent refresh token
    token_lifetime: float = 300.0
    session_lifetime: float = 30 * 86_400.0
    code_lifetime: float = 600.0
    cascade_events: bool = False  # tell of each membership that goes with its organization or user
    ignore_order: bool = False  # `GET /events` is always ascending (workos-node#1610)
    shuffle_ties: bool = False  # ids of events of one millisecond are not in the order of making
    issuer: str | None = None  # `iss`; none: <url>/user_management/<client id>
    default_role: str = "member"
    roles: dict[str, list[str]] = msgspec.field(  # slug: permissions
        default_factory=lambda: {
            "admin": ["members:manage", "reports:read"],
            "member": ["reports:read"],
        }
    )


class Entry(msgspec.Struct, kw_only=True, frozen=True):
    """One event as the log keeps it; `event` is what is shown, whatever that is."""

    id: str
    at: int  # milliseconds
    name: str  # what the `events` parameter finds it by
    org: str | None
    event: Any


@dataclass(slots=True, kw_only=True)
class State:
    """What survives a restart: WorkOS's objects by id, in WorkOS's JSON shapes, and the keys.

    Names that begin with `_` are ours and are never shown.
    """

    api_key: str
    client_id: str
    webhook_secret: str
    policy: Policy = field(default_factory=Policy)
    users: dict[str, Json] = field(default_factory=dict[str, Json])
    organizations: dict[str, Json] = field(default_factory=dict[str, Json])
    memberships: dict[str, Json] = field(default_factory=dict[str, Json])
    invitations: dict[str, Json] = field(default_factory=dict[str, Json])
    sessions: dict[str, Json] = field(default_factory=dict[str, Json])
    codes: dict[str, Json] = field(default_factory=dict[str, Json])
    refresh_tokens: dict[str, Json] = field(default_factory=dict[str, Json])
    webhook_endpoints: dict[str, Json] = field(default_factory=dict[str, Json])
    events: dict[str, Entry] = field(default_factory=dict[str, Entry])
    keys: list[SigningKey] = field(default_factory=list[SigningKey])  # the first one signs
    post: Post = field(default_factory=Post)


def found_state(ids: Ids) -> State:
    """Found a new environment."""
    return State(
        api_key=ids.token("sk_test_", 32),
        client_id="client_" + ids.token("", 26).upper(),
        webhook_secret=ids.token("", 25),
    )


def load(path: Path) -> State:
    """Read a saved environment.

    Errors: UnreadableState.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except (msgspec.MsgspecError, UnicodeError) as exc:
        raise UnreadableState(f"{path} does not hold a saved WorkOS sandbox") from exc


def save(state: State, path: Path) -> None:
    """Write everything, at once or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600)  # it will hold a private key
    fresh.write_bytes(msgspec.json.encode(state))
    fresh.replace(path)
