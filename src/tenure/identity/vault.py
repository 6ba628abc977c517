"""How the tokens of a session lie in its row, and by what names."""

import hashlib
from dataclasses import dataclass

from tenure.base.clock import Clock
from tenure.identity.rotation import Pair, Session
from tenure.identity.sealed import NotOurSeal, Sealer
from tenure.identity.session_rows import Sealed

ACCESS, REFRESH = b"access", b"refresh"


def key_of(handle: str) -> bytes:
    """Name the row of a handle, which is random enough to need no salt."""
    return hashlib.sha256(handle.encode()).digest()


def name_of(key: bytes) -> str:
    """Name a session in the log: enough to find its row, too little to be its key."""
    return key.hex()[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """Puts tokens into rows, and takes them out."""

    sealer: Sealer
    clock: Clock

    def pack(self, key: bytes, pair: Pair) -> Sealed:
        """Make what is stored of a pair."""
        return Sealed(
            external_id=pair.session_id,
            user_id=pair.user_id,
            org_id=pair.org_id,
            access_token=self.sealer.seal(pair.access_token, place=ACCESS + key),
            refresh_token=self.sealer.seal(pair.refresh_token, place=REFRESH + key),
            refresh_hash=hashlib.sha256(pair.refresh_token.encode()).digest(),
            expires_at=pair.expires_at or self.clock.now(),  # unknown: never fallen back on
        )

    def access_token(self, session: Session) -> str:
        """Read the access token.

        Errors: NotOurSeal.
        """
        return self._open(session.access_token, ACCESS + session.key)

    def refresh_token(self, session: Session) -> str:
        """Read the refresh token.

        Errors: NotOurSeal.
        """
        return self._open(session.refresh_token, REFRESH + session.key)

    def _open(self, sealed: str | None, place: bytes) -> str:
        if sealed is None:
            raise NotOurSeal("the session has ended, and its tokens are gone")
        return self.sealer.open(sealed, place=place)
