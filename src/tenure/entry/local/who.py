"""Who signs people up in this world: Clerk, WorkOS or Supabase Auth, each of them pretended."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from tenure.base.clock import SystemClock
from tenure.entry.local.errors import NotAsTold
from tenure.entry.local.home import Secrets
from tenure.schema import supabase

APPLICATION = "http://localhost:3000"  # the web application that is pretended to stand before us
GOOD_FOR = 12 * 3600  # seconds; the service takes tokens of up to a day
RATE = "1000"  # calls per second: the sandbox has no limit

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the pretended provider stands, and whom it tells."""

    port: int
    service: str
    state: Path
    secrets: Secrets

    @property
    def url(self) -> str:
        """The provider's address."""
        return f"http://127.0.0.1:{self.port}"


class Who(Protocol):
    """A provider, as the people of the story use it."""

    @property
    def name(self) -> str:
        """Name it as our settings do."""
        ...

    @property
    def title(self) -> str:
        """Name it as people do."""
        ...

    @property
    def has_organizations(self) -> bool:
        """Whether people can join organizations there."""
        ...

    def arguments(self, site: Site, database: str) -> list[str]:
        """Say how its sandbox is started; `database` is a superuser's address."""
        ...

    @property
    def prepare(self) -> Callable[[str], None] | None:
        """Do what is to be done in the database, once its sandbox is ready; None for nothing."""
        ...

    def settings(self, site: Site) -> Mapping[str, str]:
        """Say what our processes must be told."""
        ...

    def key(self, secrets: Secrets) -> str:
        """Give the key that its API asks for; empty for none."""
        ...

    def sign_up(self, http: httpx.Client, email: str, name: str) -> str:
        """Sign somebody up, and give her id."""
        ...

    def found(self, http: httpx.Client, name: str, user: str) -> str:
        """Let her found an organization, and give its id; empty where there are none."""
        ...

    def join(self, http: httpx.Client, org: str, user: str) -> None:
        """Let somebody join."""
        ...

    def remove(self, http: httpx.Client, org: str, user: str) -> None:
        """Remove somebody."""
        ...

    def token(self, http: httpx.Client, user: str, org: str, role: str) -> str:
        """Give a session token that outlives the story."""
        ...


class ClerkWho:
    """Clerk."""

    name, title, has_organizations = "clerk", "Clerk", True
    prepare = None

    def arguments(self, site: Site, database: str) -> list[str]:
        """Say how its sandbox is started."""
        del database
        sends = ["--webhook-url", f"{site.service}/webhooks/clerk"]
        return [*_usual(site), *sends, "--origin", APPLICATION, "--rate", "0"]

    def settings(self, site: Site) -> Mapping[str, str]:
        """Say what our processes must be told."""
        host = b64encode(f"127.0.0.1:{site.port}$".encode()).decode().rstrip("=")
        return {
            "CLERK_SECRET_KEY": site.secrets.clerk_secret_key,
            "CLERK_PUBLISHABLE_KEY": f"pk_test_{host}",
            "CLERK_WEBHOOK_SECRET": site.secrets.clerk_webhook_secret,
            "CLERK_API_BASE": site.url,
            "CLERK_AUTHORIZED_PARTIES": APPLICATION,
            "TENURE_CLERK_RATE": RATE,
        }

    def key(self, secrets: Secrets) -> str:
        """Give the key that its API asks for."""
        return secrets.clerk_secret_key

    def sign_up(self, http: httpx.Client, email: str, name: str) -> str:
        """Sign somebody up, and give her id."""
        return _made(http, "/v1/users", email_address=[email], first_name=name)["id"]

    def found(self, http: httpx.Client, name: str, user: str) -> str:
        """Let her found an organization, and give its id."""
        return _made(http, "/v1/organizations", name=name, created_by=user)["id"]

    def join(self, http: httpx.Client, org: str, user: str) -> None:
        """Let somebody join."""
        path = f"/v1/organizations/{org}/memberships"
        _made(http, path, user_id=user, role="org:member")

    def remove(self, http: httpx.Client, org: str, user: str) -> None:
        """Remove somebody."""
        _done(http.delete(f"/v1/organizations/{org}/memberships/{user}"))

    def token(self, http: httpx.Client, user: str, org: str, role: str) -> str:
        """Give a session token that outlives the story."""
        del role  # the session knows it
        session = _made(http, "/v1/sessions", user_id=user, organization_id=org)["id"]
        path = f"/v1/sessions/{session}/tokens"
        return _made(http, path, expires_in_seconds=GOOD_FOR)["jwt"]


class WorkosWho:
    """WorkOS."""

    name, title, has_organizations = "workos", "WorkOS", True
    prepare = None

    def arguments(self, site: Site, database: str) -> list[str]:
        """Say how its sandbox is started."""
        del database
        return [*_usual(site), "--webhook-url", f"{site.service}/webhooks/workos"]

    def settings(self, site: Site) -> Mapping[str, str]:
        """Say what our processes must be told."""
        return {
            "WORKOS_API_KEY": site.secrets.workos_api_key,
            "WORKOS_CLIENT_ID": site.secrets.workos_client_id,
            "WORKOS_WEBHOOK_SECRET": site.secrets.workos_webhook_secret,
            "WORKOS_API_BASE": site.url,
            "TENURE_WORKOS_RATE": RATE,
        }

    def key(self, secrets: Secrets) -> str:
        """Give the key that its API asks for."""
        return secrets.workos_api_key

    def sign_up(self, http: httpx.Client, email: str, name: str) -> str:
        """Sign somebody up, and give her id."""
        return _made(http, "/user_management/users", email=email, first_name=name)["id"]

    def found(self, http: httpx.Client, name: str, user: str) -> str:
        """Let her found an organization, and give its id."""
        org = _made(http, "/organizations", name=name)["id"]
        self._join(http, org, user, "admin")
        return org

    def join(self, http: httpx.Client, org: str, user: str) -> None:
        """Let somebody join."""
        self._join(http, org, user, "member")

    def _join(self, http: httpx.Client, org: str, user: str, role: str) -> None:
        path = "/user_management/organization_memberships"
        _made(http, path, organization_id=org, user_id=user, role_slug=role)

    def remove(self, http: httpx.Client, org: str, user: str) -> None:
        """Remove somebody."""
        path = "/user_management/organization_memberships"
        found = http.get(path, params={"organization_id": org, "user_id": user})
        for member in _done(found)["data"]:
            _done(http.delete(f"{path}/{member['id']}"))

    def token(self, http: httpx.Client, user: str, org: str, role: str) -> str:
        """Give an access token that outlives the story."""
        claims = {"sub": user, "org_id": org, "role": role} | _times()
        return _made(http, "/_sandbox/tokens", claims=claims)["access_token"]


class SupabaseWho:
    """Supabase Auth."""

    name, title, has_organizations = "supabase", "Supabase Auth", False
    prepare = staticmethod(supabase.install)  # `tenure db supabase --install`

    def arguments(self, site: Site, database: str) -> list[str]:
        """Say how its sandbox is started."""
        return [*_usual(site), "--database-url", database]

    def settings(self, site: Site) -> Mapping[str, str]:
        """Say what our processes must be told."""
        return {"SUPABASE_URL": site.url}

    def key(self, secrets: Secrets) -> str:
        """Give the key that its API asks for: none, for signing up."""
        del secrets
        return ""

    def sign_up(self, http: httpx.Client, email: str, name: str) -> str:
        """Sign somebody up, and give her id."""
        http.headers["apikey"] = _done(http.get("/_sandbox"))["anon_key"]
        told = _made(
            http, "/auth/v1/signup", email=email, password=f"{email}-1", data={"full_name": name}
        )
        return (told.get("user") or told)["id"]

    def found(self, http: httpx.Client, name: str, user: str) -> str:
        """Found nothing: she acts for herself."""
        del http, name, user
        return ""

    def join(self, http: httpx.Client, org: str, user: str) -> None:
        """Refuse: there are no organizations."""
        del http, org, user
        raise NotAsTold(f"expected an organization; came {self.title}, which has none")

    def remove(self, http: httpx.Client, org: str, user: str) -> None:
        """Refuse: there are no organizations."""
        self.join(http, org, user)

    def token(self, http: httpx.Client, user: str, org: str, role: str) -> str:
        """Give an access token that outlives the story."""
        del org, role
        return _made(http, "/_sandbox/tokens", user_id=user, claims=_times())["jwt"]


KNOWN: dict[str, Who] = {who.name: who for who in (ClerkWho(), WorkosWho(), SupabaseWho())}


def _usual(site: Site) -> list[str]:
    return ["--port", str(site.port), "--state", str(site.state)]


def _times() -> Json:
    """Make a token last."""
    now = int(SystemClock().now().timestamp())
    return {"iat": now, "exp": now + GOOD_FOR}


def _made(http: httpx.Client, path: str, **given: object) -> Json:
    return _done(http.post(path, json=given))


def _done(answer: httpx.Response) -> Json:
    if not answer.is_success:
        asked = f"{answer.request.method} {answer.request.url.path}"
        raise NotAsTold(f"expected {asked} to succeed; came {answer.status_code} {answer.text}")
    return answer.json() if answer.content else {}
