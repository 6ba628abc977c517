"""What every handler needs: the parts of a request, pages, and answers in Clerk's manner."""

import hmac
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tenure.sandbox.clerk.shelf import Json, Place, Shelf
from tenure.sandbox.clerk.world import Refused, World

ORDERS = frozenset(
    {
        *("created_at", "updated_at", "email_address", "first_name", "last_name", "username"),
        *("last_active_at", "last_sign_in_at", "name", "members_count", "phone_number"),
    }
)


def world_of(request: Request) -> World:
    """Find the instance this request speaks to."""
    return cast("World", request.app.state.world)


async def body_of(request: Request) -> Json:
    """Read the JSON object of a request; an empty body is an empty object."""
    return await read_body(request, Json)


async def read_body(request: Request, kind: Any) -> Any:  # noqa: ANN401 (whatever `kind` says)
    """Read the body of a request as what it should be; an empty one is an empty object."""
    raw = await request.body()
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise Refused(400, "request_body_invalid", "Request body invalid") from exc


def check_secret(world: World, authorization: str) -> None:
    """Let only the holder of the secret key through."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer" or not given:
        raise Refused(
            401,
            "authorization_header_format_invalid",
            "Invalid Authorization header format",
            'Invalid Authorization header format. Must be "Bearer <YOUR_API_KEY>"',
        )
    if not hmac.compare_digest(given.encode(), world.state.secret_key.encode()):
        raise Refused(401, "clerk_key_invalid", "The provided Clerk Secret Key is invalid")


def answer(data: Any, status: int = 200) -> Response:  # noqa: ANN401 (any JSON)
    """Answer with JSON."""
    return Response(msgspec.json.encode(data), status, media_type="application/json")


def found(shelf: Shelf, key: str, what: str) -> Json:
    """Look an object up by id."""
    if key not in shelf:
        raise Refused(404, "resource_not_found", "not found", f"No {what} was found with id {key}")
    return shelf[key]


def text(given: Json, name: str) -> str:
    """Take a parameter that must be there."""
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(422, "form_param_missing", "is missing", f"`{name}` must be included.")
    return value


def page(request: Request, shelf: Shelf, places: Sequence[Place]) -> list[Json]:
    """Cut out the page that `limit`, `offset` and `order_by` ask for; newest first by default."""
    limit, offset = _window(request)
    order = request.query_params.get("order_by") or "-created_at"
    name = order.lstrip("+- ")  # an unescaped plus arrives as a space
    if name not in ORDERS:
        raise Refused(422, "form_param_value_invalid", f"one cannot order by {name}")
    newest_first = order.startswith("-")
    if name != "created_at":
        rows = sorted(shelf.at(places), key=lambda row: _sortable(row.get(name)))
        return (rows[::-1] if newest_first else rows)[offset : offset + limit]
    if not newest_first:
        return shelf.at(places[offset : offset + limit])
    end = max(len(places) - offset, 0)
    return shelf.at(reversed(places[max(end - limit, 0) : end]))


def listed(
    request: Request, shelf: Shelf, places: Sequence[Place], show: Callable[[Json], Json]
) -> Response:
    """Answer with a page and the number of all, as every list but that of users does."""
    data = [show(row) for row in page(request, shelf, places)]
    return answer({"data": data, "total_count": len(places)})


def picked(wanted: Iterable[str]) -> tuple[set[str], set[str]]:
    """Part ids with a plus (or nothing) from those with a minus before them: in, and out."""
    names = [name.strip() for name in wanted]
    out = {name[1:] for name in names if name.startswith("-")}
    return {name.removeprefix("+") for name in names if not name.startswith("-")}, out


def narrowed(
    shelf: Shelf, places: Sequence[Place], wanted: Callable[[Json], bool] | None
) -> Sequence[Place]:
    """Keep the places of those that are wanted; nothing wanted in particular: all."""
    if wanted is None:
        return places
    return [place for place in places if wanted(shelf[place[2]])]


def _sortable(value: object) -> tuple[bool, float, str]:
    known = value if isinstance(value, int | float) else 0
    return value is not None, known, value.lower() if isinstance(value, str) else ""


def _window(request: Request) -> tuple[int, int]:
    query = request.query_params
    try:
        limit, offset = int(query.get("limit", "10")), int(query.get("offset", "0"))
    except ValueError as exc:
        raise Refused(422, "form_param_format_invalid", "limit and offset are numbers") from exc
    if not (1 <= limit <= 500 and offset >= 0):  # noqa: PLR2004 (Clerk's documented limits)
        raise Refused(422, "form_param_value_invalid", "limit is 1 to 500, offset 0 or more")
    return limit, offset
