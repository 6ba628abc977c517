"""The pretended WorkOS environment as its handlers see it."""

from bisect import insort
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tenure.base.clock import Clock, SystemClock
from tenure.base.ids import Ids, RandomIds
from tenure.sandbox.courier import Courier
from tenure.sandbox.post import Letter, Schedule
from tenure.sandbox.workos import state as states
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.signing import SigningKey, webhook_headers
from tenure.sandbox.workos.state import Entry, Json, Policy, State
from tenure.sandbox.workos.table import Journal, Row, Table
from tenure.sandbox.workos.ulid import Ulids

KID = "sso_oidc_key_pair_"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Six retries over three days (the docs), with an answer due in 5 s; the spacing is ours.
SCHEDULE = Schedule(waits=(60, 600, 3_600, 21_600, 86_400, 144_000), timeout=5.0)


class World:
    """One pretended environment."""

    def __init__(
        self,
        state: State,
        *,
        url: str,
        clock: Clock | None = None,
        ids: Ids | None = None,
        path: Path | None = None,
        http: httpx.AsyncClient | None = None,
        schedule: Schedule = SCHEDULE,
    ) -> None:
        self.state = state
        self.url = url
        self.path = path
        self.pem: str | None = None  # of the first key, if it is not to be made
        self.pinned_ms: int | None = None  # everything happens in this millisecond
        self.clock = clock or SystemClock()
        self.ids = ids or RandomIds()
        self.journal = Journal()
        self._ulids = Ulids(self.ids)
        self._make_tables()
        self.event_ids = sorted(state.events)
        self.quiet = False  # while it is planted, nothing is told
        self.courier = Courier(
            webhook_headers,
            self.clock,
            self.ids,
            http=http,
            schedule=schedule,
            post=state.post,
        )

    def _make_tables(self) -> None:
        state, journal = self.state, self.journal
        by_external_id = {"external_id": _external_id}
        self.users = Table(state.users, journal, email=_email, **by_external_id)
        self.organizations = Table(state.organizations, journal, **by_external_id)
        self.memberships = Table(
            state.memberships,
            journal,
            organization=lambda row: (row["organization_id"], row["id"]),
            user=lambda row: (row["user_id"], row["id"]),
            pair=lambda row: ((row["organization_id"], row["user_id"]), row["id"]),
            users_of=lambda row: (row["organization_id"], row["user_id"]),
        )
        self.invitations = Table(
            state.invitations,
            journal,
            organization=lambda row: (row["organization_id"], row["id"]),
            email=_email,
            token=lambda row: (row["token"], row["id"]),
        )
        self.sessions = Table(state.sessions, journal, user=lambda row: (row["user_id"], row["id"]))

    @property
    def policy(self) -> Policy:
        """How it behaves at present."""
        return self.state.policy

    @property
    def issuer(self) -> str:
        """The `iss` of its tokens."""
        return self.policy.issuer or f"{self.url}/user_management/{self.state.client_id}"

    def now_ms(self) -> int:
        """Tell the time in milliseconds."""
        if self.pinned_ms is not None:
            return self.pinned_ms
        return (self.clock.now() - EPOCH) // timedelta(milliseconds=1)

    def now(self) -> str:
        """Tell the time as WorkOS writes it."""
        return iso(self.now_ms())

    def new_id(self, prefix: str) -> str:
        """Name a new object."""
        return self._ulids.make(prefix, self.now_ms())

    def pair(self, org_id: str | None, user_id: str) -> Row | None:
        """Find the membership of a user in an organization, in any state."""
        return self.memberships.first("pair", (org_id, user_id))

    def active(self, org_id: str | None, user_id: str) -> Row | None:
        """Find the membership of a user in an organization if it is active."""
        found = self.pair(org_id, user_id)
        return found if found and found["status"] == "active" else None

    def signing_keys(self) -> list[SigningKey]:
        """Give the keys; the first is made when it is first needed, because that takes a while."""
        if not self.state.keys:
            kid = self.new_id(KID)
            first = SigningKey(kid, self.pem) if self.pem else SigningKey.make(kid)
            self.state.keys.append(first)
            self.save()  # because a key set that was shown must outlive the process
        return self.state.keys

    def new_key(self) -> SigningKey:
        """Make a key."""
        return SigningKey.make(self.new_id(KID))

    def emit(self, name: str, data: Json, org: str | None) -> None:
        """Tell the world: into the log of events, and on its way as a webhook."""
        if self.quiet:
            return
        ms = self.now_ms()
        event_id = self.event_id(ms)
        shown = {
            "object": "event",
            "id": event_id,
            "event": name,
            "data": data,
            "created_at": iso(ms),
            "context": {},
        }
        self.log(Entry(id=event_id, at=ms, name=name, org=org, event=shown))

    def log(self, entry: Entry, *, webhook: bool = True) -> None:
        """Keep an event, and send it."""
        self.state.events[entry.id] = entry
        insort(self.event_ids, entry.id)
        if webhook:
            body = msgspec.json.encode(entry.event)
            self.courier.send(Letter(id=entry.id, kind=entry.name, body=body))

    def event_id(self, ms: int) -> str:
        """Name an event of that moment, which may be past."""
        loose = self.policy.shuffle_ties or ms < self.now_ms()
        return (self._ulids.loose if loose else self._ulids.make)("event_", ms)

    @contextmanager
    def change(self) -> Generator[None]:
        """Take what is done inside as one change, which a stale read does not see yet."""
        try:
            yield
        finally:
            self.journal.close()

    def save(self) -> None:
        """Write everything to the file, if there is one."""
        if self.path is not None:
            states.save(self.state, self.path)


def found(table: Table, key: str, what: str) -> Row:
    """Look an object up.

    Errors: Refused.
    """
    row = table.get(key)
    if row is None:
        raise Refused.missing(what, key)
    return row


def iso(ms: int) -> str:
    """Write a moment as WorkOS does."""
    at = EPOCH + timedelta(milliseconds=ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _email(row: Row) -> tuple[Any, str]:
    return row["email"], row["id"]


def _external_id(row: Row) -> tuple[Any, str] | None:
    return (row["external_id"], row["id"]) if row["external_id"] is not None else None
