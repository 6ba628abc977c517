"""Secrets at rest: sealed with a key of ours, and each good for its own place alone."""

import hashlib
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from tenure.base.errors import TenureError
from tenure.identity.errors import NotProven


class BadSealKey(TenureError):
    """A key to seal with is missing, or is not one."""

    code = "identity.bad_seal_key"
    hint = "TENURE_SESSION_KEY takes 32 random bytes in URL-safe base64: 44 characters each."


class NotOurSeal(NotProven):
    """What is stored was sealed with a key that this process does not have, or was tampered with.

    To the person it is a session that is over. Its row stays: with the key it opens again.
    """

    code = "identity.not_our_seal"
    hint = "Sign in again. If everybody must: put the former key back behind the new one."


class Sealer:
    """Seals with the first key, opens with any of them.

    Source: Fernet (github.com/fernet/spec): AES-128-CBC, HMAC-SHA256, a random IV.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        try:
            self._keys = MultiFernet([Fernet(key) for key in keys])
        except ValueError as exc:
            raise BadSealKey("a key to seal with is missing or malformed") from exc

    def seal(self, secret: str, *, place: bytes) -> str:
        """Seal a secret so that it opens only as what it is, where it is.

        `place` is not stored; without it, somebody who can write rows could put a stranger's
        tokens under a handle of her own.
        """
        return self._keys.encrypt(_mark(place) + secret.encode()).decode("ascii")

    def open(self, sealed: str, *, place: bytes) -> str:
        """Get a secret back.

        Errors: NotOurSeal.
        """
        try:
            plain = self._keys.decrypt(sealed)
        except (InvalidToken, ValueError) as exc:  # the latter for what is not even ASCII
            raise NotOurSeal("what is stored was not sealed with a key of ours") from exc
        mark = _mark(place)
        if not plain.startswith(mark):
            raise NotOurSeal("what is stored was sealed for another place")
        return plain.removeprefix(mark).decode()


def _mark(place: bytes) -> bytes:
    return hashlib.sha256(place).digest()
