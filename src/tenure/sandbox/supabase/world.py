"""What the pretended Supabase project knows beside its database: its keys and its settings."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tenure.base.clock import Clock
from tenure.base.db import Db
from tenure.base.errors import TenureError
from tenure.base.ids import Ids
from tenure.sandbox.supabase import signing
from tenure.sandbox.supabase.signing import LEGACY, Algorithm, SigningKey, State

Json = dict[str, Any]
TEN_YEARS = 315_360_000  # seconds: how long the older API keys live


class Refused(TenureError):
    """Supabase Auth says no, in its own words."""

    code = "sandbox.supabase_refused"
    hint = "Read the `code` of the answer, as you would with Supabase Auth."

    def __init__(self, status: int, reason: str, message: str, **more: object) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.more = more


class UnreadableState(TenureError):
    """The file of a saved sandbox cannot be read as one."""

    code = "sandbox.unreadable_supabase_state"
    hint = "Remove the file to start with new keys."


@dataclass(slots=True, kw_only=True)
class Kept:
    """What survives a restart beside the database."""

    ref: str  # the project's name
    publishable_key: str
    secret_key: str
    keys: list[SigningKey]  # newest first; the shared secret is one of them


@dataclass(slots=True, kw_only=True)
class World:
    """One pretended project, as the handlers see it."""

    url: str
    clock: Clock
    ids: Ids
    kept: Kept
    open_db: Callable[[], Db]  # once the server runs
    path: Path | None = None
    autoconfirm: bool = True  # whether an e-mail address counts as soon as it is given
    anonymous: bool = True  # whether people may come without saying who they are
    lifetime: int = 3600  # seconds that an access token lives
    reuse_interval: int = 10  # seconds in which a spent refresh token may be sent again
    min_password: int = 6
    made: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def db(self) -> Db:
        """The project's database."""
        return self.open_db()

    @property
    def issuer(self) -> str:
        """The `iss` of its tokens."""
        return f"{self.url}/auth/v1"

    @property
    def current(self) -> SigningKey:
        """The key that signs now."""
        return next(key for key in self.kept.keys if key.state == "in_use")

    @property
    def secret(self) -> SigningKey:
        """The legacy shared secret."""
        return next(key for key in self.kept.keys if key.kid == LEGACY)

    def api_key(self, role: str) -> str:
        """Give the older API key of a role: a token of ten years, signed with the secret."""
        if role not in self.made:
            at = int(self.clock.now().timestamp())
            claims = {"iss": "supabase", "ref": self.kept.ref, "role": role}
            times = {"iat": at, "exp": at + TEN_YEARS}
            self.made[role] = signing.sign(claims | times, self.secret)
        return self.made[role]

    def move(self, kid: str, state: State) -> None:
        """Put one key into another state; what was in use before gives way.

        Errors: Refused where no key would be left to sign with.
        """
        if kid not in {key.kid for key in self.kept.keys}:
            raise Refused(404, "no_such_key", f"there is no key {kid}")
        if state != "in_use" and self.current.kid == kid:
            raise Refused(422, "validation_failed", "the key in use cannot be taken away; rotate")
        spent = self.current.kid if state == "in_use" else None
        self.kept.keys = [
            key.now(state) if key.kid == kid else key.now("previously_used") if key.kid == spent
            else key
            for key in self.kept.keys
        ]  # fmt: skip

    def add(self, algorithm: Algorithm) -> SigningKey:
        """Add a standby key: published, and not used yet."""
        key = signing.make(str(self.ids.uuid()), algorithm, "standby")
        self.kept.keys = [key, *self.kept.keys]
        return key

    def save(self) -> None:
        """Write the keys to the file, at once or not at all."""
        if self.path is None:
            return
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.touch(mode=0o600)  # it will hold private keys
        fresh.write_bytes(msgspec.json.encode(self.kept))
        fresh.replace(self.path)


def load(path: Path | None, ids: Ids, *, algorithm: Algorithm = "ES256") -> Kept:
    """Read a saved project, or found a new one that signs with `algorithm`.

    Errors: UnreadableState.
    """
    if path is None or not path.exists():
        return _founded(ids, algorithm)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except (msgspec.MsgspecError, UnicodeError) as exc:
        raise UnreadableState(f"{path} does not hold a saved Supabase sandbox") from exc


def _founded(ids: Ids, algorithm: Algorithm) -> Kept:
    """Make a project's keys: the shared secret signs, or signed before the first pair did."""
    legacy = algorithm == "HS256"
    text = base64.b64encode(ids.token("", 48).encode()).decode()
    state: State = "in_use" if legacy else "previously_used"
    keys = [SigningKey(kid=LEGACY, algorithm="HS256", state=state, text=text)]
    if not legacy:
        keys.insert(0, signing.make(str(ids.uuid()), algorithm, "in_use"))
    return Kept(
        ref=ids.token("", 20),
        publishable_key=ids.token("sb_publishable_", 22),
        secret_key=ids.token("sb_secret_", 22),
        keys=keys,
    )
