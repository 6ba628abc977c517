"""The checks of `tenure doctor` that need no database: settings and the providers.

A check is a plain function of the settings; add it to OUTSIDE and it runs.
"""

from collections.abc import Callable

import httpx

from tenure.base.settings import NAMED_BY, BadSettings, Settings
from tenure.base.settings_table import is_live
from tenure.entry.cli.result import Result, Results, fail, ok, warn
from tenure.entry.issuers import issuers
from tenure.identity.errors import BadKey
from tenure.identity.issuers import Issuer
from tenure.identity.keys import Discovery, KeyAddress, Pem, read_discovery, read_jwks

Check = Callable[[Settings], Results]
TIMEOUT = 5.0  # seconds
REFUSED, FORBIDDEN, TOO_MANY = 401, 403, 429


def bad_settings(exc: BadSettings) -> list[Result]:
    """Say each problem of the settings as a result."""
    return [
        fail(
            f"settings: {problem.name}",
            problem.wrong,
            f"{problem.name}={problem.example}" if problem.example else "see .env.example",
        )
        for problem in exc.problems
    ]


def webhook_secrets(settings: Settings) -> Results:
    """See whether the secret is there that events are checked with."""
    if settings.stripe_webhook_secrets:
        yield ok("stripe webhook secret", f"{len(settings.stripe_webhook_secrets)} set")
    else:
        yield fail(
            "stripe webhook secret",
            "not set: every event of Stripe is refused",
            "Set STRIPE_WEBHOOK_SECRET to the endpoint's signing secret.",
        )


def modes(settings: Settings) -> Results:
    """See whether the keys speak of the same world."""
    clerk_live = is_live(settings.clerk_publishable_key or settings.clerk_secret_key)
    if clerk_live and settings.stripe_secret_key and not settings.livemode:
        yield warn(
            "key modes",
            "Clerk is live and Stripe is in test mode: nobody pays",
            "Set a live STRIPE_SECRET_KEY when you are ready.",
        )
    else:
        yield ok("key modes", "live" if settings.livemode else "test")


def stripe(settings: Settings) -> Results:
    """See whether Stripe answers, and whether it knows our key."""
    headers = {"Authorization": f"Bearer {settings.stripe_secret_key}"}
    if settings.stripe_account:
        headers["Stripe-Account"] = settings.stripe_account
    url = f"{settings.stripe_api_base}/v1/products?limit=1"
    try:
        status = httpx.get(url, headers=headers, timeout=TIMEOUT).status_code
    except httpx.HTTPError as exc:
        yield fail(
            "stripe",
            f"{settings.stripe_api_base} does not answer ({type(exc).__name__})",
            "Check the network, STRIPE_API_BASE, and https://status.stripe.com.",
        )
        return
    mode = "live" if settings.livemode else "test"
    yield _stripe_said(status, f"{settings.stripe_api_base}, {mode} mode")


def _stripe_said(status: int, where: str) -> Result:
    if status == REFUSED:
        return fail("stripe", f"{where}: the key is refused", "Set a valid STRIPE_SECRET_KEY.")
    if status == FORBIDDEN:
        return fail(
            "stripe",
            f"{where}: the restricted key may not read products",
            "Let the key read products, prices, customers, subscriptions and entitlements.",
        )
    if status == TOO_MANY:
        return warn("stripe", f"{where}: too many calls", "Lower TENURE_STRIPE_RATE.")
    if not httpx.codes.is_success(status):
        return fail("stripe", f"{where}: answered {status}", "See https://status.stripe.com.")
    return ok("stripe", where)


def issuer_keys(settings: Settings) -> Results:
    """See whether the keys can be read that session tokens are signed with."""
    if not settings.trusted:
        yield fail(
            "identity",
            "no issuer is known: no session token can be checked",
            f"Set one of {', '.join(NAMED_BY.values())}.",
        )
    for issuer in issuers(settings):
        yield _keys_of(issuer, NAMED_BY[issuer.provider])


def _keys_of(issuer: Issuer, variable: str) -> Result:
    name, where = f"{issuer.provider} keys", issuer.keys
    if isinstance(where, Pem):
        return ok(name, "one, as it is set")
    try:
        said = _published(issuer, where)
    except (httpx.HTTPError, httpx.InvalidURL, BadKey) as exc:
        return fail(
            name,
            f"{where.url} does not lead to keys ({_said(exc)})",
            f"Check {variable} and what goes with it, and that this machine reaches it.",
        )
    return ok(name, said)


def _published(issuer: Issuer, where: KeyAddress | Discovery) -> str:
    """Say which keys there are.

    Errors: BadKey; those of httpx.
    """
    url = where.url
    if isinstance(where, Discovery):
        url = read_discovery(_got(url), where.issuer)
    found = len(read_jwks(_got(url), issuer.algorithms))
    if not found and issuer.secret is None:
        raise BadKey("it publishes none")
    return f"{found} at {url}{' and the shared secret' if issuer.secret else ''}"


def _got(url: str) -> bytes:
    return httpx.get(url, timeout=TIMEOUT).raise_for_status().content


def _said(exc: Exception) -> str:
    return str(exc) if isinstance(exc, BadKey) else type(exc).__name__


def clerk_parties(settings: Settings) -> Results:
    """See whether tokens made for other sites are refused."""
    if "clerk" not in settings.trusted:
        return
    if not settings.clerk_authorized_parties:
        yield warn(
            "clerk parties",
            "tokens that were made for any site of your Clerk instance are taken",
            "Set CLERK_AUTHORIZED_PARTIES to the origins of your application.",
        )
    else:
        yield ok("clerk parties", ", ".join(settings.clerk_authorized_parties))


IDENTITY: tuple[Check, ...] = (issuer_keys, clerk_parties)
OUTSIDE: tuple[Check, ...] = (webhook_secrets, modes, stripe, *IDENTITY)
