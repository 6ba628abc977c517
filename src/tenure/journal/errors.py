"""What can go wrong while we take things in and keep count of them."""

from typing import ClassVar

from tenure.base.errors import TenureError
from tenure.journal.model import Claim


class StaleFence(TenureError):
    """Somebody claimed the subject after us; what we saw may be old, so it is not written."""

    code: ClassVar[str] = "journal.stale_fence"
    hint: ClassVar[str] = "Nothing to do: the newer claim looks again and writes."

    def __init__(self, claim: Claim) -> None:
        subject = claim.subject
        super().__init__(
            f"{subject.kind} {subject.id} was claimed again after fence {claim.fence}",
            kind=subject.kind,
            id=subject.id,
            fence=claim.fence,
        )


class InboxFull(TenureError):
    """More events wait to be written than we may hold in memory."""

    code: ClassVar[str] = "journal.inbox_full"
    hint: ClassVar[str] = "The provider tries again; look at the database's write latency."
