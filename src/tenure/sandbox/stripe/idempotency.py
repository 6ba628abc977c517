"""Idempotency keys: a saved answer is given again, a saved 500 too."""

import json
from hashlib import sha256

from tenure.sandbox.stripe.errors import key_in_flight, reused_key
from tenure.sandbox.stripe.model import DAY, Answer, Obj
from tenure.sandbox.stripe.state import State

KEPT_FOR = DAY


class SavedAnswers:
    """Answers by key and mode; those still being made are only in memory."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._running: dict[str, str] = {}

    def begin(self, key: str, print_: str, now: int) -> Answer | None:
        """Give the saved answer, or mark the key as running.

        Errors: 400 when the key was used for another request, 409 while it still runs.
        """
        kept = self._state.saved_answers.get(key)
        if kept is not None and now - kept["at"] > KEPT_FOR:
            del self._state.saved_answers[key]
            kept = None
        shown = key.split(":", 1)[1]
        known = kept["print"] if kept else self._running.get(key)
        if known is not None and known != print_:
            raise reused_key(shown)
        if kept is not None:
            headers = {**kept["headers"], "Idempotent-Replayed": "true"}
            return Answer(status=kept["status"], body=kept["body"], headers=headers)
        if known is not None:
            raise key_in_flight(shown)
        self._running[key] = print_
        return None

    def end(self, key: str, now: int, answer: Answer | None) -> None:
        """Keep the answer; with none, forget that the key was ever used."""
        print_ = self._running.pop(key, None)
        if print_ is not None and answer is not None:
            self._state.saved_answers[key] = {
                "at": now,
                "print": print_,
                "status": answer.status,
                "body": answer.body,
                "headers": answer.headers,
            }


def fingerprint(method: str, path: str, params: Obj) -> str:
    """Sum up a request, to tell it from others."""
    written = json.dumps([method, path, params], sort_keys=True)
    return sha256(written.encode()).hexdigest()
