"""Asking a provider: what HTTP said, in the words of this step. Every Directory stands on it."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from msgspec.json import Decoder

from tenure.base.errors import TenureError
from tenure.base.http import Answer, Api, HttpAway, HttpBusy, HttpTrouble, Params
from tenure.base.log import log
from tenure.identity.errors import (
    ProviderAway,
    ProviderBusy,
    ProviderFailed,
    ProviderKeyRefused,
    ProviderTrouble,
    Refused,
)

T = TypeVar("T")

LONGEST = 300  # characters of the provider's own words


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """How a provider says no."""

    code: str  # the provider's; empty: these are not its words
    words: str


class Asking:
    """One provider's API; every failure becomes an error of ours.

    `problem`: reads the body of a 4xx; it gives an empty code for a body that is not the
    provider's kind (a proxy's, say), so that only the provider itself can say "there is none".
    """

    def __init__(self, name: str, api: Api, problem: Callable[[bytes], Problem]) -> None:
        self._name = name
        self._api = api
        self._problem = problem

    async def get(self, path: str, decoder: Decoder[T], params: Params | None = None) -> T | None:
        """Read something; None when the provider says that it does not have it.

        Errors: ProviderAway, ProviderBusy, ProviderKeyRefused, ProviderFailed.
        """
        try:
            answer = await self._api.call("GET", path, params=params)
            if answer.good:
                return answer.read(decoder)
        except HttpTrouble as exc:
            raise self._translated(exc, "GET", path) from exc
        problem = self._problem(answer.body)
        if answer.status == HTTPStatus.NOT_FOUND and problem.code:
            return None
        raise self._failed(answer, problem, path)

    async def wish(self, method: str, path: str, json: object = None) -> bytes | None:
        """Change something; give the answer's body, or None where there is nothing to change.

        Errors: Refused, with the provider's words; those of `get`.
        """
        try:
            answer = await self._api.call(method, path, json=json)
        except HttpTrouble as exc:
            raise self._translated(exc, method, path) from exc
        if answer.good:
            return answer.body
        problem = self._problem(answer.body)
        if answer.status == HTTPStatus.UNAUTHORIZED or not problem.code:
            raise self._failed(answer, problem, path)
        log.info("identity.provider.refused", provider=self._name, path=path, why=problem.code)
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        raise Refused(f"{self._name} refuses: {problem.words}", reason=problem.code)

    def _translated(self, exc: HttpTrouble, method: str, path: str) -> TenureError:
        log.warning(
            "identity.provider.failed", provider=self._name, call=f"{method} {path}", error=str(exc)
        )
        if isinstance(exc, HttpAway):
            return ProviderAway(f"{self._name} did not answer")
        if isinstance(exc, HttpBusy):
            wait = exc.retry_after
            return ProviderBusy(f"{self._name} asks us to slow down", retry_after=wait)
        return ProviderFailed(f"{self._name} failed: {exc}")

    def _failed(self, answer: Answer, problem: Problem, path: str) -> ProviderTrouble:
        """Say what a 4xx means that is not about what was asked for."""
        log.warning(
            "identity.provider.failed",
            provider=self._name,
            path=path,
            status=answer.status,
            why=problem.code,
        )
        why = problem.code or "no reason given"
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            text = f"{self._name} does not accept our key ({why})"
            return ProviderKeyRefused(text, reason=problem.code)
        return ProviderFailed(f"{self._name} answered with status {answer.status} ({why})")


def told_by(code: object, words: object) -> Problem:
    """Make a problem of what a body held, whatever that was."""
    if not isinstance(code, str) or not code:
        return Problem(code="", words="")
    text = words if isinstance(words, str) and words else code
    return Problem(code=code[:LONGEST], words=text[:LONGEST])
