"""Calls to somebody else's JSON API: within our share of its rate, bounded in time and size.

    api = Api("https://api.example.com", headers={…}, http=client, spend=budget_of_all_processes)
    answer = await api.call("GET", "/v1/users", params={"limit": 100})
    answer.status, answer.read(decoder)

What the API says about the request itself (2xx and 4xx but 429) is an Answer, for the caller to
judge; that it could not be asked is an HttpTrouble.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

import httpx
import msgspec

from tenure.base.errors import TenureError
from tenure.base.ids import RandomIds
from tenure.base.log import log

T = TypeVar("T")

TIMEOUT = 10.0  # seconds for one call, with all its tries
TRIES = 3  # of a call that may be made twice without harm
FIRST_WAIT = 0.2  # seconds before the second try; doubles
LARGEST = 32 * 1024 * 1024  # bytes: 500 users with metadata are far below
IDEMPOTENT = frozenset({"GET", "PUT", "DELETE"})
PATIENCE = timedelta(seconds=1)  # after a 429 that names no time
LONGEST_WAIT = timedelta(minutes=10)  # whatever a Retry-After says

Params = Mapping[str, str | int | Sequence[str]]


class HttpTrouble(TenureError):
    """An API could not be asked, or did not really answer."""

    code = "base.http_trouble"
    hint = "It is tried again by itself; look at the provider's status page if it lasts."


class HttpAway(HttpTrouble):
    """An API did not answer in time, or cannot be reached."""

    code = "base.http_away"


class HttpBusy(HttpTrouble):
    """An API asks us to slow down."""

    code = "base.http_busy"
    hint = "Lower the rate in the settings if other programs use the same key."

    def __init__(self, message: str, *, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class HttpFailed(HttpTrouble):
    """An API failed."""

    code = "base.http_failed"


class HttpUnreadable(HttpTrouble):
    """An API answered something that is not its kind of answer."""

    code = "base.http_unreadable"
    hint = "Check that the API's address in the settings is right, with no proxy in between."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an API said: 2xx, or 4xx but 429."""

    status: int
    body: bytes

    @property
    def good(self) -> bool:
        """Whether it was done."""
        return self.status < HTTPStatus.BAD_REQUEST

    def read(self, decoder: "msgspec.json.Decoder[T]") -> T:
        """Read the body.

        Errors: HttpUnreadable when it is not of that shape.
        """
        try:
            return decoder.decode(self.body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
            raise HttpUnreadable(f"the answer cannot be read: {exc}") from exc


class Api:
    """One JSON API and our terms with it; stateless but for the client, which stays the caller's.

    `spend`: waits for a call's turn; every try takes one. `timeout`: in seconds.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        http: httpx.AsyncClient,
        spend: Callable[[], Awaitable[None]],
        timeout: float = TIMEOUT,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers)
        self._http = http
        self._spend = spend
        self._timeout = timeout
        self._jitter = jitter or RandomIds().jitter

    async def call(
        self, method: str, path: str, *, params: Params | None = None, json: object = None
    ) -> Answer:
        """Make one call; a lost connection or a 5xx is tried again where that does no harm.

        Errors: HttpAway, HttpBusy, HttpFailed, HttpUnreadable; whatever `spend` raises.
        """
        request = self._request(method, path, params, json)
        await self._spend()
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                return await self._tried(request, TRIES if method in IDEMPOTENT else 1)
        except TimeoutError as exc:
            if not deadline.expired():
                raise
            raise HttpAway(f"no answer to {method} {path} in {self._timeout:g} s") from exc

    def _request(
        self, method: str, path: str, params: Params | None, json: object
    ) -> httpx.Request:
        content, headers = None, {"accept": "application/json", **self._headers}
        if json is not None:
            content, headers["content-type"] = msgspec.json.encode(json), "application/json"
        return self._http.build_request(
            method,
            self._base_url + path,
            params=dict(params) if params else None,
            content=content,
            headers=headers,
            timeout=None,  # the deadline holds for all tries together
        )

    async def _tried(self, request: httpx.Request, tries: int) -> Answer:
        for number in range(1, tries):
            try:
                return await self._once(request)
            except (HttpAway, HttpFailed) as exc:
                log.info("http.tried", call=_name(request), tries=number, why=str(exc))
            await asyncio.sleep(FIRST_WAIT * 2 ** (number - 1) * (0.5 + self._jitter()))
            await self._spend()
        return await self._once(request)

    async def _once(self, request: httpx.Request) -> Answer:
        try:
            response = await self._http.send(request, stream=True, follow_redirects=False)
            try:
                _check(response, request)
                return Answer(status=response.status_code, body=await _body(response, request))
            finally:
                await response.aclose()
        except httpx.HTTPError as exc:
            why = type(exc).__name__
            raise HttpAway(f"{_name(request)} was not answered ({why})") from exc


def path_of(*parts: str) -> str:
    """Join parts of a path, each quoted, so that no id can leave its place.

    Errors: ValueError for a part that no quoting keeps in its place.
    """
    if not {"", ".", ".."}.isdisjoint(parts):
        raise ValueError(f"no id can be among {parts}")
    return "".join("/" + quote(part, safe="") for part in parts)


def _check(response: httpx.Response, request: httpx.Request) -> None:
    status = response.status_code
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = _wait(response.headers.get("retry-after", ""))
        raise HttpBusy(f"{_name(request)}: too many requests", retry_after=wait)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise HttpFailed(f"{_name(request)} was answered with status {status}")
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise HttpUnreadable(f"{_name(request)} was sent elsewhere, with status {status}")


async def _body(response: httpx.Response, request: httpx.Request) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > LARGEST:
            raise HttpUnreadable(f"the answer to {_name(request)} is over {LARGEST} bytes")
    return bytes(body)


def _wait(header: str) -> timedelta:
    """Read Retry-After in seconds, as the providers we know write it.

    Source: RFC 9110, section 10.2.3; its form as a date means PATIENCE to us.
    """
    text = header.strip()
    if not (text.isascii() and text.isdigit()):
        return PATIENCE
    return min(timedelta(seconds=int(text[:9])), LONGEST_WAIT)


def _name(request: httpx.Request) -> str:
    return f"{request.method} {request.url.path}"
