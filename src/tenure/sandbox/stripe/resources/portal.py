"""The customer portal: sessions and configurations."""

from tenure.sandbox.stripe.books import Books
from tenure.sandbox.stripe.model import Obj
from tenure.sandbox.stripe.paging import matching, newest, page
from tenure.sandbox.stripe.params import PAGE, anything, flag, merged, metadata, text
from tenure.sandbox.stripe.route import Call, get, post

CONFIGURATION = "billing_portal.configuration"
SESSION = "billing_portal.session"
CONFIGURATION_FIELDS = {
    "active": flag,
    "business_profile": {
        "headline": text,
        "privacy_policy_url": text,
        "terms_of_service_url": text,
    },
    "default_return_url": text,
    "features": anything,
    "login_page": anything,
    "metadata": metadata,
    "name": text,
}


def create_session(call: Call) -> Obj:
    """Open the portal for a customer."""
    books, given = call.books, call.params
    customer = books.get("customer", given["customer"], "customer")
    chosen = given.get("configuration")
    if chosen:
        configuration = books.get(CONFIGURATION, chosen, "configuration")
    else:
        configuration = default_configuration(books)
    session = books.add(
        SESSION,
        {
            "configuration": configuration["id"],
            "customer": customer["id"],
            "locale": given.get("locale"),
            "return_url": given.get("return_url") or configuration["default_return_url"],
        },
        at=books.now_of(customer),
    )
    session["_secret"] = books.ids.token(f"{books.mode}_", 48)
    session["url"] = f"{call.base_url}/p/session/{session['_secret']}"
    return session


def default_configuration(books: Books) -> Obj:
    """Find the account's default configuration, or make it."""
    for configuration in books.table(CONFIGURATION).values():
        if configuration["is_default"]:
            return configuration
    fields: Obj = {"is_default": True, "updated": books.now()}
    return books.add(CONFIGURATION, fields, at=books.now())


def create_configuration(call: Call) -> Obj:
    """Make a configuration; the account's first is its default."""
    books = call.books
    configuration = books.add(CONFIGURATION, {}, at=books.now())
    configuration["is_default"] = len(books.table(CONFIGURATION)) == 1
    _apply(books, configuration, call.params)
    books.tell("billing_portal.configuration.created", configuration)
    return configuration


def update_configuration(call: Call) -> Obj:
    """Change a configuration."""
    configuration = call.books.get(CONFIGURATION, call.id)
    with call.books.changing(configuration, "billing_portal.configuration.updated"):
        _apply(call.books, configuration, call.params)
    return configuration


def _apply(books: Books, configuration: Obj, given: Obj) -> None:
    configuration["updated"] = books.now()
    for name, value in given.items():
        if name == "metadata":
            configuration["metadata"] = merged(configuration["metadata"], value)
        elif name == "business_profile":
            configuration[name].update(value or {})
        elif name == "features":
            _apply_features(configuration["features"], value)
        elif name in {"active", "default_return_url", "name"}:
            configuration[name] = value


def _apply_features(features: Obj, given: Obj) -> None:
    for name, wanted in given.items():
        if name in features:
            known = {key: wanted[key] for key in wanted if key in features[name]}
            if "enabled" in known:
                known["enabled"] = known["enabled"] in {True, "true"}
            features[name].update(known)


def list_configurations(call: Call) -> Obj:
    """List configurations."""
    keep = matching(call.params, "active", "is_default")
    url = "/v1/billing_portal/configurations"
    rows = newest(call.books, CONFIGURATION)
    return page(rows, call.params, url, keep=keep, kind=CONFIGURATION)


ROUTES = [
    post(
        "/v1/billing_portal/sessions",
        create_session,
        {
            "configuration": text,
            "customer": text,
            "locale": text,
            "return_url": text,
        },
        need=["customer"],
    ),
    post(
        "/v1/billing_portal/configurations",
        create_configuration,
        CONFIGURATION_FIELDS,
        need=["features"],
    ),
    get(
        "/v1/billing_portal/configurations",
        list_configurations,
        {**PAGE, "active": flag, "is_default": flag},
    ),
    get(
        "/v1/billing_portal/configurations/{id}",
        lambda call: call.books.get(CONFIGURATION, call.id),
    ),
    post("/v1/billing_portal/configurations/{id}", update_configuration, CONFIGURATION_FIELDS),
]
