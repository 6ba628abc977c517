"""Where events are delivered."""

from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.errors import invalid
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.paging import newest, page
from tenure.sandbox.stripe.params import PAGE, flag, merged, metadata, text
from tenure.sandbox.stripe.resources.customers import tombstone
from tenure.sandbox.stripe.route import Call, delete, get, post

KIND = "webhook_endpoint"
PATH = "/v1/webhook_endpoints"
FIELDS = {
    "description": text,
    "disabled": flag,
    "enabled_events": [text],
    "metadata": metadata,
    "url": text,
}


def create(call: Call) -> Obj:
    """Make an endpoint; only this answer carries its secret."""
    given = call.params
    endpoint = new_endpoint(
        call.books,
        given["url"],
        given["enabled_events"],
        secret="",
        api_version=given.get("api_version"),
    )
    endpoint["description"] = given.get("description")
    endpoint["metadata"] = merged({}, given.get("metadata") or {})
    return {**endpoint, "secret": endpoint["_secrets"][0]}


def new_endpoint(
    books: Books,
    url: str,
    enabled_events: list[str],
    *,
    secret: str,
    api_version: str | None = None,
) -> Obj:
    """Make an endpoint, with a new secret unless one is given."""
    _check_url(books, url)
    chosen = secret or books.ids.token("whsec_", 32)
    fields: Obj = {
        "url": url,
        "enabled_events": enabled_events,
        "api_version": api_version,
        "_secrets": [chosen],
    }
    return books.add(KIND, fields, at=books.now())


def _check_url(books: Books, url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise invalid("Invalid URL: An explicit scheme (such as https) must be provided.", "url",
                      "url_invalid")  # fmt: skip
    if books.live and url.startswith("http://") and not url.startswith("http://127.0.0.1"):
        raise invalid("Invalid URL: live mode endpoints must use https.", "url", "url_invalid")


def update(call: Call) -> Obj:
    """Change an endpoint."""
    endpoint = call.books.get(KIND, call.id)
    given = call.params
    if given.get("url"):
        _check_url(call.books, given["url"])
    for name in ("url", "enabled_events", "description"):
        if given.get(name) is not None:
            endpoint[name] = given[name]
    if "metadata" in given:
        endpoint["metadata"] = merged(endpoint["metadata"], given["metadata"])
    if given.get("disabled") is not None:
        endpoint["status"] = "disabled" if given["disabled"] else "enabled"
    return endpoint


def remove(call: Call) -> Obj:
    """Delete an endpoint."""
    endpoint = call.books.get(KIND, call.id)
    del call.books.table(KIND)[endpoint["id"]]
    return tombstone(endpoint)


ROUTES = [
    post(
        PATH,
        create,
        {**FIELDS, "api_version": text, "connect": flag},
        need=["url", "enabled_events"],
    ),
    get(
        PATH,
        lambda call: page(
            newest(call.books, KIND), call.params, PATH, keep=lambda _row: True, kind=KIND
        ),
        PAGE,
    ),
    get(PATH + "/{id}", lambda call: call.books.get(KIND, call.id)),
    post(PATH + "/{id}", update, FIELDS),
    delete(PATH + "/{id}", remove),
]
