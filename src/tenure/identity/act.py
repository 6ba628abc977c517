"""One act of writing down what a provider shows: whose word, when, why."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from tenure.base.db import Tx
from tenure.base.ids import Ids
from tenure.identity.model import Decision, Verdict
from tenure.identity.rules import Fate, Grave
from tenure.journal import audit
from tenure.journal.model import Entry

Cause = Literal["look", "event", "walk", "token", "api", "seats", "org_deleted", "user_deleted"]
OverLimit = Literal["tolerate", "deactivate"]
Deletion = Literal["anonymise", "keep", "cascade"]


UNLIMITED = sys.maxsize  # as `absence_limit`: where nobody can be missing by mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What this company decided; settings say so."""

    over_limit: OverLimit = "tolerate"
    deletion: Deletion = "anonymise"
    absence_limit: int = 50  # missing ones in a day, that no event told of


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A transaction, and what everything written in it has in common."""

    tx: Tx
    ids: Ids
    provider: str
    now: datetime
    cause: Cause
    asked: bool  # the provider answered just now; False: an event of any age told us
    policy: Policy = field(default_factory=Policy)
    actor: str = ""  # of the audit log; empty: the provider

    def grave(self, at: datetime | None = None) -> Grave:
        """Make a tombstone: with the provider's moment for a signed event, with ours otherwise."""
        if at is not None:
            return Grave(deleted_at=at, proof="event", written_at=self.now)
        return Grave(deleted_at=self.now, proof="asked", written_at=self.now)

    def entry(
        self,
        action: str,
        subject: str,
        *,
        org_id: UUID | None = None,
        user_id: UUID | None = None,
        details: Mapping[str, object] | None = None,
    ) -> Entry:
        """Make a line for the audit log."""
        return Entry(
            org_id=org_id,
            user_id=user_id,
            at=self.now,
            actor=self.actor or self.provider,
            action=action,
            subject=subject,
            details=details or {},
        )

    async def tell(self, *entries: Entry) -> None:
        """Write lines in the audit log."""
        if entries:
            await audit.append(self.tx, *entries)


def decided(
    fate: Fate | str,
    *,
    verdict: Verdict | None = None,
    org_id: UUID | None = None,
    user_id: UUID | None = None,
    details: Mapping[str, object] | None = None,
) -> Decision:
    """Make a decision of a fate, which says itself whether anything is written."""
    if verdict is None:
        verdict = _verdict(Fate(fate))
    return Decision(
        verdict=verdict, reason=str(fate), org_id=org_id, user_id=user_id, details=details or {}
    )


def _verdict(fate: Fate) -> Verdict:
    if fate.writes:
        return "applied"
    return "unchanged" if fate is Fate.SAME else "ignored"
