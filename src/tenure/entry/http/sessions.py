"""Sessions that we keep: a handle for the browser or the client, fresh access tokens for it."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Cookie, Depends, Header, Request, Response
from pydantic import BaseModel, Field

from tenure.base.budget import Budget
from tenure.base.settings import Settings
from tenure.base.variables import is_loopback
from tenure.entry.http.billing import In
from tenure.entry.http.errors import NotConfigured
from tenure.entry.world import Service
from tenure.identity.errors import NoToken, WrongParty
from tenure.identity.refresh import Broker, CodeRefused, Live
from tenure.identity.sealed import Sealer
from tenure.identity.session import bearer
from tenure.identity.workos_tokens import Door


async def never_stored(response: Response) -> None:
    """Keep every cache from keeping what these doors say."""
    response.headers["Cache-Control"] = "no-store"


router = APIRouter(prefix="/sessions", tags=["sessions"], dependencies=[Depends(never_stored)])

COOKIE = "tenure_session"
COOKIE_LASTS = timedelta(days=30)  # since the last refresh; the provider decides when it is over
# RFC 6749, 10.10 asks for 128 bits, which no fewer characters hold; the signs are those of a query.
CODE = re.compile(r"[A-Za-z0-9._~+/=-]{20,}")

OrgId = Annotated[
    str, Field(max_length=255, pattern=r"^[\x21-\x7e]+$", examples=["org_ExampleOnly"])
]
Secret = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[\x21-\x7e]+$")]
Kept = Annotated[str | None, Cookie(alias=COOKIE, include_in_schema=False)]
Handle = Annotated[
    str | None,
    Header(
        alias="Authorization",
        description="`Bearer` and the handle; without it, the cookie counts",
        examples=["Bearer tns_ExampleOnly"],
    ),
]


class SessionsOff(NotConfigured):
    """Nobody set this installation up to keep sessions."""

    code: ClassVar[str] = "http.sessions_off"
    hint: ClassVar[str] = (
        "Set TENURE_SESSION_KEY, WORKOS_API_KEY and WORKOS_CLIENT_ID, or leave the sessions to "
        "WorkOS's own SDK."
    )


class SignInIn(In):
    """What the sign-in page of WorkOS sent back."""

    code: Secret = Field(examples=["01ExampleOnly"])
    code_verifier: Secret | None = Field(None, description="Of PKCE, if the sign-in began with it")
    cookie: bool = Field(default=False, description="Set the handle as a cookie; do not show it")


class RefreshIn(In):
    """Where to go on."""

    organization_id: OrgId | None = Field(None, description="Switch to this organization")


class TokenOut(BaseModel):
    """An access token, for `Authorization: Bearer` at every other door."""

    access_token: str
    expires_at: datetime
    user_id: str = Field(description="The provider's id")
    organization_id: str | None = Field(description="The provider's id")
    refreshed: bool = Field(
        description="False: the provider is away, and this is the token of before, still good"
    )
    verified: bool = Field(
        description="False: its signing key cannot be had yet; doors may refuse it for a while"
    )


class SessionOut(TokenOut):
    """A session that has begun."""

    handle: str | None = Field(description="Keep it; it is shown once. None where it is a cookie")


class EndedOut(BaseModel):
    """A session that has ended."""

    revoked: bool = Field(description="False: the provider is away, and is told later")


@router.post("", status_code=201)
async def begin(body: SignInIn, request: Request, response: Response) -> SessionOut:
    """Exchange the code that a sign-in ended with for a session that is kept here.

    No token is needed: a code is a secret that only who signed in was given. Begin the sign-in
    with PKCE, and send `code_verifier`, so that nobody can slip you a code of her own.
    """
    broker = await broker_of(request)
    if body.cookie:
        _check_origin(request)
    if not CODE.fullmatch(body.code):  # that much is known without a call
        raise CodeRefused("no sign-in of the provider ends with such a code", why="shape")
    await codes_budget(_settings(request)).spend(broker.db)  # whoever asks costs a call
    handle, live = await broker.begin(
        body.code,
        code_verifier=body.code_verifier,
        user_agent=request.headers.get("user-agent"),
    )
    if body.cookie:
        _set_cookie(request, response, handle)
    return SessionOut(handle=None if body.cookie else handle, **_told(live))


@router.post("/refresh")
async def refresh(
    *,
    request: Request,
    response: Response,
    authorization: Handle = None,
    kept: Kept = None,
    body: RefreshIn | None = None,
) -> TokenOut:
    """Get a fresh access token.

    Any number may ask at once. 401: sign in again. 503: send the same again after Retry-After,
    for nothing is lost.
    """
    broker = await broker_of(request)
    handle = _handle(request, authorization, kept)
    wanted = None if body is None else body.organization_id
    live = await broker.refresh(handle, org_id=wanted)
    if authorization is None:
        _set_cookie(request, response, handle)
    return TokenOut(**_told(live))


@router.delete("/current")
async def end(
    request: Request, response: Response, authorization: Handle = None, kept: Kept = None
) -> EndedOut:
    """Sign out: the session ends here at once, and at the provider as soon as it can be told."""
    broker = await broker_of(request)
    revoked = await broker.end(_handle(request, authorization, kept))
    if authorization is None:
        response.delete_cookie(COOKIE, **_kept_as(request))
    return EndedOut(revoked=revoked)


async def broker_of(request: Request) -> Broker:
    """Find the broker of this process.

    Errors: SessionsOff.
    """
    broker: Broker | None = request.app.state.sessions
    if broker is None:
        raise SessionsOff("this installation keeps no sessions")
    return broker


@asynccontextmanager
async def open_broker(service: Service) -> AsyncGenerator[Broker | None]:
    """Open the broker, which also finishes what dead processes left; None where it is off."""
    broker = make_broker(service)
    if broker is None:
        yield None
        return
    async with broker:
        yield broker


def make_broker(service: Service) -> Broker | None:
    """Make the broker; None where a setting is missing."""
    world, settings = service.world, service.world.settings
    if not settings.session_keys or not settings.workos_api_key or "workos" not in settings.trusted:
        return None
    door = Door(
        api_base=settings.workos_api_base,
        client_id=settings.workos_client_id,
        api_key=settings.workos_api_key,
        spend=partial(refresh_budget(settings).spend, world.db),
    )
    return Broker(
        world.db,
        door,
        Sealer(settings.session_keys),
        verifier=service.gate.verifier,
        clock=world.clock,
        ids=world.ids,
    )


def refresh_budget(settings: Settings) -> Budget:
    """Give refreshes an allowance of their own: people wait for them, and a walk must not."""
    return _budget("workos:sessions", settings.workos_rate, patience=1)


def codes_budget(settings: Settings) -> Budget:
    """Keep strangers, who may try any code, from using up what refreshes need."""
    return _budget("workos:codes", settings.workos_rate / 4, patience=2)


def _budget(name: str, rate: float, *, patience: float) -> Budget:
    return Budget(
        name=name,
        every=timedelta(seconds=1 / rate),
        burst=max(4, round(rate)),
        patience=timedelta(seconds=patience),
    )


def _told(live: Live) -> dict[str, Any]:
    return {
        "access_token": live.access_token,
        "expires_at": live.expires_at,
        "user_id": live.user_id,
        "organization_id": live.org_id,
        "refreshed": live.is_fresh,
        "verified": live.principal is not None,
    }


def _handle(request: Request, authorization: str | None, kept: str | None) -> str:
    """Take the handle out of the header, or else out of the cookie.

    Errors: NoToken; WrongParty where another site's page sends the cookie along.
    """
    if authorization is not None:
        return bearer(authorization)
    if kept is None:
        raise NoToken("the request carries no handle of a session")
    _check_origin(request)
    return kept


def _settings(request: Request) -> Settings:
    service: Service = request.app.state.service
    return service.world.settings


def _check_origin(request: Request) -> None:
    """See that a page of ours asks: one of the configured origins, or of the host that it names.

    A proxy may put its own name into Host; then the configured ones are all there is. Texts are
    compared, as nothing that a stranger wrote needs to be taken apart for it.
    Errors: WrongParty.
    """
    origin, settings = request.headers.get("origin"), _settings(request)
    if origin is None:  # no browser asks, or a page of the very same origin
        return
    host = request.headers.get("host", "")
    own = {f"https://{host}"} if _is_secure(settings) else {f"https://{host}", f"http://{host}"}
    if origin not in own.union(settings.cors_origins, settings.return_origins):
        raise WrongParty("the cookie would be that of a page of another site")


def _is_secure(settings: Settings) -> bool:
    """Say whether browsers must send the cookie over TLS alone: as settings say, never a request.

    Without it, only where pages are configured, and each of them is at http on this machine.
    """
    origins = (*settings.cors_origins, *settings.return_origins)
    plain = [each.startswith("http://") and is_loopback(each) for each in origins]
    return not (plain and all(plain))


def _set_cookie(request: Request, response: Response, handle: str) -> None:
    """Set the handle where no script reads it, and no other site's page makes a browser send it."""
    lasts = round(COOKIE_LASTS.total_seconds())
    response.set_cookie(COOKIE, handle, max_age=lasts, **_kept_as(request))


def _kept_as(request: Request) -> Any:  # noqa: ANN401 (the same arguments of two methods)
    return {
        "path": router.prefix,
        "secure": _is_secure(_settings(request)),
        "httponly": True,
        "samesite": "lax",
    }
