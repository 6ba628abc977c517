"""Webhook endpoints: WorkOS's API for them, and the sandbox's own door to what was sent."""

from typing import cast

from starlette.responses import JSONResponse, Response

from tenure.sandbox.mailroom import doors
from tenure.sandbox.post import Endpoint
from tenure.sandbox.workos.asked import Asked, answered, route, text, world_of
from tenure.sandbox.workos.names import EVENT_NAMES
from tenure.sandbox.workos.paging import asked_cut, cut
from tenure.sandbox.workos.refusal import Refused
from tenure.sandbox.workos.state import Json
from tenure.sandbox.workos.world import World


def add(world: World, url: str, secret: str, names: list[str]) -> Json:
    """Send these events to `url` from now on; no names: all of them.

    Errors: Refused.
    """
    for name in names:
        if name not in EVENT_NAMES:
            raise Refused.invalid("events", f"cannot be '{name}'")
    return _shown(world, world.courier.register(url, secret, names))


def _shown(world: World, endpoint: Endpoint) -> Json:
    """Show an endpoint as WorkOS does."""
    return _kept(world, endpoint) | {
        "object": "webhook_endpoint",
        "endpoint_url": endpoint.url,
        "secret": endpoint.secrets[0],
        "status": "enabled" if endpoint.enabled else "disabled",
        "events": endpoint.kinds or sorted(EVENT_NAMES),
    }


def create(world: World, asked: Asked) -> Response:
    """`POST /webhook_endpoints`; here `secret` may be chosen."""
    given = asked.body
    secret = given.get("secret") or world.ids.token("", 25)
    return JSONResponse(add(world, text(given, "endpoint_url"), secret, _names(given)), 201)


def list_some(world: World, asked: Asked) -> Response:
    """`GET /webhook_endpoints`."""
    known = {one.id: one for one in world.courier.endpoints()}
    page = cut(sorted(known), asked_cut(asked.query))
    return answered(page, [_shown(world, known[key]) for key in page.ids])


def update(world: World, asked: Asked) -> Response:
    """`PATCH /webhook_endpoints/{id}`."""
    endpoint, given = _named(world, asked), asked.body
    endpoint.url = given.get("endpoint_url") or endpoint.url
    endpoint.kinds = _names(given) or endpoint.kinds
    endpoint.enabled = given.get("status", "enabled" if endpoint.enabled else "") == "enabled"
    _kept(world, endpoint)["updated_at"] = world.now()
    return JSONResponse(_shown(world, endpoint))


def delete(world: World, asked: Asked) -> Response:
    """`DELETE /webhook_endpoints/{id}`."""
    world.courier.forget(_named(world, asked).id)
    return Response(status_code=204)


def _names(given: Json) -> list[str]:
    return cast("list[str]", given.get("events") or [])


def _named(world: World, asked: Asked) -> Endpoint:
    for endpoint in world.courier.endpoints():
        if endpoint.id == asked.path["id"]:
            return endpoint
    raise Refused.missing("Webhook endpoint", asked.path["id"])


def _kept(world: World, endpoint: Endpoint) -> Json:
    """Find, or make up, what the courier does not know of an endpoint."""
    now = world.now()
    made = {"id": endpoint.id, "created_at": now, "updated_at": now}
    return world.state.webhook_endpoints.setdefault(endpoint.id, made)


PATH = "/webhook_endpoints"
routes = [
    route("POST", PATH, create),
    route("GET", PATH, list_some),
    route("PATCH", f"{PATH}/{{id}}", update),
    route("DELETE", f"{PATH}/{{id}}", delete),
    *doors(
        lambda request: world_of(request).courier,
        lambda request: world_of(request).state.webhook_secret,
        bool,
    ),
]
