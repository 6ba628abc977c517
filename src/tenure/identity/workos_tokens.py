"""The two calls to WorkOS that concern sessions: get tokens, revoke a session."""

import base64
import binascii
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Annotated

import httpx
import msgspec

from tenure.base.budget import BudgetSpent
from tenure.base.clock import moment
from tenure.base.http import Answer as HttpAnswer
from tenure.base.http import Api, HttpAway, HttpBusy, HttpTrouble
from tenure.identity.claims import Id, Seconds
from tenure.identity.rotation import Answer, Denied, Failed, Pair

AUTHENTICATE = "/user_management/authenticate"
REVOKE = "/user_management/sessions/revoke"
# These errors come before a request is sent, so nothing can have been done by it.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where WorkOS is, and who we are to it.

    `spend`: waits for a call's turn among all processes.
    """

    api_base: str
    client_id: str
    api_key: str = field(repr=False)
    spend: Callable[[], Awaitable[None]]

    async def redeem(self, code: str, *, within: timedelta, **more: str | None) -> Answer:
        """Exchange the code that a sign-in ended with.

        `more`: `code_verifier` of PKCE, `user_agent`.
        """
        given = {name: value for name, value in more.items() if value is not None}
        return await self._authenticate("authorization_code", within, code=code, **given)

    async def refresh(self, token: str, *, org_id: str | None, within: timedelta) -> Answer:
        """Exchange a refresh token, once: whoever calls decides about further tries."""
        more = {} if org_id is None else {"organization_id": org_id}
        return await self._authenticate("refresh_token", within, refresh_token=token, **more)

    async def revoke(self, session_id: str, *, within: timedelta) -> bool:
        """End a session; False where WorkOS could not be told.

        A session that WorkOS does not know, or has ended already, is ended.
        """
        headers = {"authorization": f"Bearer {self.api_key}"}
        try:
            async with self._api(within, headers) as api:
                answer = await api.call("POST", REVOKE, json={"session_id": session_id})
        except (HttpTrouble, BudgetSpent):
            return False
        return answer.status not in {401, 403}  # those speak of our key, not of the session

    async def _authenticate(self, grant: str, within: timedelta, **given: str) -> Answer:
        asked = {"client_id": self.client_id, "client_secret": self.api_key, "grant_type": grant}
        try:
            async with self._api(within, {}) as api:
                return read_answer(await api.call("POST", AUTHENTICATE, json=asked | given))
        except BudgetSpent as exc:
            return Failed(why=exc.code, is_spent=False, retry_after=exc.retry_after)
        except HttpTrouble as exc:
            return failure(exc)

    @asynccontextmanager
    async def _api(self, within: timedelta, headers: Mapping[str, str]) -> AsyncGenerator[Api]:
        """Open a connection of its own for one call.

        A kept one may have been closed by the other side, and a request lost on it leaves open
        whether the token was spent. One hand-shake in five minutes and session is the price.
        """
        async with httpx.AsyncClient(verify=_trusted()) as http:
            yield Api(
                self.api_base,
                headers=headers,
                http=http,
                spend=self.spend,
                timeout=within.total_seconds(),
            )


def failure(exc: HttpTrouble) -> Failed:
    """Say what a call that got no clear answer means for the token that it carried."""
    if isinstance(exc, HttpBusy):
        return Failed(why=exc.code, is_spent=False, retry_after=exc.retry_after)
    never = isinstance(exc, HttpAway) and isinstance(exc.__cause__, NEVER_SENT)
    return Failed(why=exc.code, is_spent=not never)


class _Good(msgspec.Struct, frozen=True):
    class User(msgspec.Struct, frozen=True):
        id: Id

    access_token: Annotated[str, msgspec.Meta(min_length=1)]
    refresh_token: Annotated[str, msgspec.Meta(min_length=1)]
    user: User
    organization_id: Id | None = None


class _Bad(msgspec.Struct, frozen=True):
    """`error` as OAuth writes it, `code` as the rest of WorkOS's API does."""

    error: str = ""
    error_description: str = ""
    code: str = ""
    message: str = ""


class _Claims(msgspec.Struct, frozen=True):
    sid: Id | None = None
    exp: Seconds | None = None


_good = msgspec.json.Decoder(_Good)
_bad = msgspec.json.Decoder(_Bad)
_claims = msgspec.json.Decoder(_Claims)


def read_answer(answer: HttpAnswer) -> Answer:
    """Read what the token endpoint said.

    What claims to be good and is not a pair leaves the token in doubt: it may be spent.
    """
    if not answer.good:
        return _denied(answer)
    try:
        said = _good.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return Failed(why="identity.no_pair", is_spent=True)
    claims = _unproven(said.access_token)
    return Pair(
        access_token=said.access_token,
        refresh_token=said.refresh_token,
        user_id=said.user.id,
        org_id=said.organization_id,
        session_id=claims.sid,
        expires_at=None if claims.exp is None else moment(claims.exp),
    )


def _denied(answer: HttpAnswer) -> Answer:
    try:
        said = _bad.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        said = _Bad()
    code = said.error or said.code
    if not code:  # of a proxy in between, perhaps
        return Failed(why=f"identity.status_{answer.status}", is_spent=True)
    return Denied(code=code, message=said.error_description or said.message)


def _unproven(token: str) -> _Claims:
    """Read `sid` and `exp` of a token that WorkOS itself has just given us over TLS.

    The verifier proves it later: a key that is not there yet must not cost the pair.
    """
    part = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004 (RFC 7515)
    try:
        return _claims.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (msgspec.MsgspecError, UnicodeError, binascii.Error, RecursionError, ValueError):
        return _Claims()


@cache
def _trusted() -> ssl.SSLContext:
    """Read the authorities once: it takes longer than the call."""
    return httpx.create_ssl_context()
