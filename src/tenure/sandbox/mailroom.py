"""The doors to a courier, under `/_sandbox`, for every sandbox that has one.

`doors(courier_of, new_secret, is_secret)` makes the routes; a sandbox adds its own door for faults
and plans the trouble with webhooks by `courier.mischief.plan`.

    GET    /_sandbox/events?type=user.*&after=msg_1           everything sent: id, type, body
    POST   /_sandbox/events/{id}/replay                       same id, new timestamp
    GET    /_sandbox/webhook_endpoints
    POST   /_sandbox/webhook_endpoints {"url", "secret"?, "kinds"?}
    POST   /_sandbox/webhook_endpoints/{id}/roll {"secret"?, "keep"?: true}
    DELETE /_sandbox/webhook_endpoints/{id}
    GET    /_sandbox/deliveries?status=&event=&type=&endpoint=
    POST   /_sandbox/deliveries/flush {"retries"?: false, "timeout"?: 10.0}
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tenure.base.errors import TenureError
from tenure.sandbox.courier import Courier
from tenure.sandbox.post import Endpoint, Letter

POLL = 0.01
LONGEST_FLUSH = 60.0
NARROWING = ("status", "event", "type", "endpoint")

T = TypeVar("T")
Door = Callable[[Courier, Request], Awaitable[Any]]


class Unsendable(TenureError):
    """What was asked of the sandbox's post makes no sense."""

    code = "sandbox.unsendable"
    hint = 'An endpoint is {"url", "secret"?, "kinds"?}; its secret must be one of the provider\'s.'


class NewEndpoint(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where webhooks shall go."""

    url: str
    secret: str | None = None
    kinds: list[str] = []


class NewSecret(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What webhooks shall be signed with; and with the present secret too, if it is kept."""

    secret: str | None = None
    keep: bool = True


class Flush(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Wait until what is due was tried; `retries` makes everything due."""

    retries: bool = False
    timeout: float = 10.0


def doors(
    courier_of: Callable[[Request], Courier],
    new_secret: Callable[[Request], str],
    is_secret: Callable[[str], bool],
) -> list[Route]:
    """Make the routes."""

    def secret(request: Request, given: str | None) -> str:
        if given is not None and not is_secret(given):
            raise Unsendable("that is no secret to sign with")
        return given or new_secret(request)

    async def register(courier: Courier, request: Request) -> Any:  # noqa: ANN401 (any JSON)
        asked = _read(await request.body(), NewEndpoint)
        if not asked.url.startswith(("http://", "https://")):
            raise Unsendable(f"{asked.url} is no address")
        return _shown(courier.register(asked.url, secret(request, asked.secret), asked.kinds))

    async def roll(courier: Courier, request: Request) -> Any:  # noqa: ANN401 (any JSON)
        asked = _read(await request.body(), NewSecret)
        name = request.path_params["id"]
        return _shown(courier.roll(name, secret(request, asked.secret), keep=asked.keep))

    table: list[tuple[str, str, Door]] = [
        ("GET", "/events", _events),
        ("POST", "/events/{id}/replay", _replay),
        ("GET", "/webhook_endpoints", _endpoints),
        ("POST", "/webhook_endpoints", register),
        ("POST", "/webhook_endpoints/{id}/roll", roll),
        ("DELETE", "/webhook_endpoints/{id}", _forget),
        ("GET", "/deliveries", _deliveries),
        ("POST", "/deliveries/flush", _flush),
    ]
    return [
        Route(f"/_sandbox{path}", _served(courier_of, door), methods=[method])
        for method, path, door in table
    ]


async def settle(courier: Courier, within: float) -> bool:
    """Wait until nothing is due, held or under way; without a server, do the work here."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            if not courier.works:
                await courier.deliver_due()
            while courier.busy() and courier.works:  # noqa: ASYNC110 (idleness is many facts)
                await asyncio.sleep(POLL)
    return not courier.busy()


async def _events(courier: Courier, request: Request) -> Any:  # noqa: ANN401 (any JSON)
    letters, query = list(courier.letters()), request.query_params
    if after := query.get("after"):
        names = [letter.id for letter in letters]
        letters = letters[names.index(after) + 1 :] if after in names else letters[:0]
    kind = query.get("type", "*")
    return {"data": [_letter(one) for one in letters if fnmatchcase(one.kind, kind)]}


async def _replay(courier: Courier, request: Request) -> Any:  # noqa: ANN401 (any JSON)
    return {"data": courier.replay(request.path_params["id"])}


async def _endpoints(courier: Courier, _request: Request) -> Any:  # noqa: ANN401 (any JSON)
    return {"data": [_shown(endpoint) for endpoint in courier.endpoints()]}


async def _forget(courier: Courier, request: Request) -> Any:  # noqa: ANN401 (any JSON)
    courier.forget(request.path_params["id"])
    return {"id": request.path_params["id"], "deleted": True}


async def _deliveries(courier: Courier, request: Request) -> Any:  # noqa: ANN401 (any JSON)
    asked = {name: request.query_params.get(name) for name in NARROWING}
    rows = courier.deliveries()
    return {"data": [r for r in rows if all(v in {None, r[name]} for name, v in asked.items())]}


async def _flush(courier: Courier, request: Request) -> Any:  # noqa: ANN401 (any JSON)
    asked = _read(await request.body(), Flush)
    if not 0 <= asked.timeout <= LONGEST_FLUSH:
        raise Unsendable(f"timeout must be between 0 and {LONGEST_FLUSH:.0f} seconds")
    if asked.retries:
        courier.retry_now()
    done = await settle(courier, asked.timeout)
    waiting = [row for row in courier.deliveries() if row["status"] in {"pending", "held"}]
    return {"done": done, "waiting": len(waiting)}


def _served(courier_of: Callable[[Request], Courier], door: Door) -> Callable[..., Any]:
    async def serve(request: Request) -> Response:
        try:
            shown, status = await door(courier_of(request), request), 200
        except TenureError as error:
            said = {"code": error.code, "message": str(error), "hint": error.hint}
            shown, status = {"error": said}, 422
        return Response(msgspec.json.encode(shown), status, media_type="application/json")

    return serve


def _read(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise Unsendable(str(exc)) from exc


def _letter(letter: Letter) -> dict[str, Any]:
    return {"id": letter.id, "type": letter.kind, "body": json.loads(letter.body)}


def _shown(endpoint: Endpoint) -> dict[str, Any]:
    return asdict(endpoint) | {"secret": endpoint.secrets[0]}
