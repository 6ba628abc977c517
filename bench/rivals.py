"""What people verify session tokens with today: bare PyJWT, its key client, the official SDKs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import jwt
from clerk_backend_api.security import authenticate_request, verify_token
from clerk_backend_api.security.types import AuthenticateRequestOptions, VerifyTokenOptions
from cryptography.fernet import Fernet
from supabase_auth import SyncGoTrueClient
from workos import WorkOSClient
from workos.session import Session, seal_session_from_auth_response

from bench.tokens import Authority

Check = Callable[[Any], object]
COOKIE = Fernet.generate_key().decode()


def as_it_is(token: str) -> object:
    """Give a token to the rival as it is."""
    return token


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Another way of verifying one provider's tokens.

    `make` gives a verifier that has fetched nothing yet, by the address of the keys and a number
    that no other verifier has; `wrap` makes of a token what a request brings.
    """

    name: str
    make: Callable[[str, int], Check]
    wrap: Callable[[str], object] = as_it_is
    fetches: bool = True  # its keys, itself


@dataclass(frozen=True, slots=True)
class Request:
    """A request, as far as Clerk's SDK looks at it."""

    headers: dict[str, str]


def rivals(authority: Authority) -> Sequence[Rival]:
    """List who else verifies the tokens of a provider."""
    known = {"clerk": _clerk, "workos": _workos, "supabase": _supabase}
    return [_bare(authority), _client(authority), *known[authority.provider](authority)]


def _bare(authority: Authority) -> Rival:
    def make(_at: str, _n: int) -> Check:
        key, usual = authority.public, _options(authority)
        return lambda token: jwt.decode(token, key, **usual)

    return Rival(name="bare PyJWT decode", make=make, fetches=False)


def _client(authority: Authority) -> Rival:
    def make(at: str, _n: int) -> Check:
        keys, usual = jwt.PyJWKClient(f"{at}{authority.path}"), _options(authority)

        def check(token: str) -> object:
            return jwt.decode(token, keys.get_signing_key_from_jwt(token).key, **usual)

        return check

    return Rival(name="PyJWT with PyJWKClient", make=make)


def _options(authority: Authority) -> dict[str, Any]:
    """Ask PyJWT for the checks that its documentation shows."""
    usual: dict[str, Any] = {"algorithms": [authority.algorithm], "issuer": authority.issuer}
    return usual | ({"audience": "authenticated"} if authority.provider == "supabase" else {})


def _clerk(authority: Authority) -> Sequence[Rival]:
    def with_pem(_at: str, _n: int) -> Check:
        options = AuthenticateRequestOptions(jwt_key=authority.pem)
        return lambda request: _in(authenticate_request(request, options))

    def with_keys(at: str, n: int) -> Check:
        # Its cache of keys goes by the secret, so another secret begins with nothing.
        options = VerifyTokenOptions(secret_key=f"sk_test_{n}", api_url=at, api_version="v1")
        return lambda token: verify_token(token, options)

    def request(token: str) -> object:
        return Request({"Authorization": f"Bearer {token}"})

    sdk = "clerk_backend_api"
    return [
        Rival(
            name=f"{sdk} authenticate_request, jwt_key", make=with_pem, wrap=request, fetches=False
        ),
        Rival(name=f"{sdk} verify_token, JWKS", make=with_keys),
    ]


def _in(state: Any) -> object:  # noqa: ANN401 (the SDK's own)
    assert state.is_signed_in, state.reason
    return state


def _workos(authority: Authority) -> Sequence[Rival]:
    del authority

    def make(at: str, n: int) -> Check:
        # Its cache of keys goes by the client id.
        client = WorkOSClient(api_key="sk_test_bench", client_id=f"client_{n}", base_url=f"{at}/")

        def check(cookie: str) -> object:
            session = Session(client=client, session_data=cookie, cookie_password=COOKIE)
            said = session.authenticate()
            assert said.authenticated, said
            return said

        return check

    def cookie(token: str) -> object:
        return seal_session_from_auth_response(
            access_token=token,
            refresh_token="x",
            user={"id": "user_bench"},
            cookie_password=COOKIE,
        )

    return [Rival(name="workos Session.authenticate", make=make, wrap=cookie)]


def _supabase(authority: Authority) -> Sequence[Rival]:
    del authority

    def make(at: str, _n: int) -> Check:
        client = SyncGoTrueClient(
            url=f"{at}/auth/v1",
            auto_refresh_token=False,
            persist_session=False,
            http_client=httpx.Client(trust_env=False),
        )
        return lambda token: client.get_claims(jwt=token)

    return [Rival(name="supabase_auth get_claims", make=make)]
