"""What tokens of WorkOS, Supabase Auth and any OpenID issuer say, and which are refused."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.base.clock import StoppedClock
from tenure.identity import errors
from tenure.identity.claims import Principal, plain_role
from tenure.identity.issuers import Issuer, oidc, supabase, workos
from tenure.identity.keys import Pem
from tenure.identity.session import Verifier
from tenure.sandbox.supabase import signing
from tenure.sandbox.supabase.signing import SigningKey
from tests.identity.authorities import SECRET, START, Authority, Kind, shared_key

NOW = START.timestamp()
KEY = signing.make("key_1", "RS256", "in_use")
ELLIPTIC = signing.make("key_2", "ES256", "in_use")


def issuer_of(kind: Kind) -> Issuer:
    pem = Pem(text=KEY.public_pem())
    return {
        "workos": lambda: workos("client_1", keys=pem),
        "supabase": lambda: supabase("https://a.supabase.co", keys=pem, jwt_secret=SECRET),
        "oidc": lambda: oidc("https://login.example.com/", ["api"], keys=pem),
    }[kind]()


def a_token(kind: Kind, *, key: SigningKey = KEY, **claims: Any) -> str:
    names = {
        "workos": "https://api.workos.com/user_management/client_1",
        "supabase": "https://a.supabase.co/auth/v1",
        "oidc": "https://login.example.com/",
    }
    authority = Authority(kind=kind, url="", clock=StoppedClock(START), keys=[key])
    return authority.sign(**{"iss": names[kind]} | claims)


async def verify(kind: Kind, *, at: timedelta = timedelta(0), **claims: Any) -> Principal:
    verifier = Verifier([issuer_of(kind)], clock=StoppedClock(START + at))
    return await verifier.verify(a_token(kind, **claims))


async def test_a_workos_token_names_session_organization_role_and_permissions() -> None:
    """T6, B1"""
    who = await verify(
        "workos",
        org_id="org_1",
        role="admin",
        roles=["admin", "billing"],
        permissions=["posts:read", "posts:write"],
        entitlements=["audit-logs"],
        feature_flags=["beta"],
        act={"sub": "support@example.com"},
    )
    assert (who.provider, who.user_id, who.session_id) == ("workos", "user_0", "session_1")
    assert (who.org_id, who.role, who.actor) == ("org_1", "admin", "support@example.com")
    assert who.permissions == {"posts:read", "posts:write"}
    assert (who.issued_at, who.expires_at) == (START, START + timedelta(seconds=60))


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"role": "member"}, "member"),
        ({"role": "org:admin"}, "admin"),
        ({"roles": ["editor", "member"]}, "editor"),
        ({"role": "org-billing"}, "org-billing"),
        ({"role": "authenticated", "user_role": "admin"}, "admin"),
        ({"role": "authenticated", "user_role": ["admin"]}, None),
        ({"role": "authenticated"}, None),
        ({}, None),
    ],
)
async def test_a_role_is_read_wherever_a_template_has_put_it(
    claims: dict[str, Any], role: str | None
) -> None:
    """B1: Supabase's third-party auth wants `role: authenticated`, so a template moves the role."""
    assert (await verify("workos", org_id="org_1", **claims)).role == role
    assert (await verify("workos", **claims)).role is None, "without an organization it is nothing"


@pytest.mark.parametrize(
    "name",
    [
        "https://api.workos.com",
        "https://api.workos.com/",
        "https://api.workos.com/user_management/client_1",
    ],
)
async def test_every_name_that_workos_signs_with_is_known(name: str) -> None:
    """B1: the fact sheet's list; WORKOS_ISSUER replaces it for a custom domain."""
    assert await verify("workos", iss=name)
    own = workos("client_1", issuers=["https://auth.example.com"], keys=issuer_of("workos").keys)
    verifier = Verifier([own], clock=StoppedClock(START))
    assert await verifier.verify(a_token("workos", iss="https://auth.example.com"))
    with pytest.raises(errors.ForeignIssuer):
        await verifier.verify(a_token("workos", iss=name))


async def test_a_supabase_token_names_a_person_and_her_session() -> None:
    """T6, B1: roles and organizations are ours, and what a user wrote of herself is not read."""
    who = await verify(
        "supabase",
        user_metadata={"role": "admin", "org_id": "org_evil"},
        app_metadata={"role": "admin"},
        aal="aal1",
        email="ada@example.com",
    )
    assert (who.provider, who.user_id) == ("supabase", str(UUID(int=1)))
    assert who.session_id == str(UUID(int=1))
    assert (who.org_id, who.role, who.permissions) == (None, None, frozenset())
    long = await verify("supabase", exp=NOW + 604_800)
    assert long.expires_at == START + timedelta(days=7)


async def test_an_openid_token_says_what_it_can() -> None:
    """T6, B1"""
    who = await verify("oidc", sid="s1", org_id="org_1", role="org:admin", azp="spa")
    assert (who.provider, who.session_id, who.org_id, who.role) == ("oidc", "s1", "org_1", "admin")
    bare = await verify("oidc", aud="api", role=["admin"], sid=7)
    assert (bare.user_id, bare.session_id, bare.role) == ("user_0", None, None)
    named = oidc(
        "https://login.example.com/",
        ["api"],
        keys=Pem(text=ELLIPTIC.public_pem()),
        algorithm="ES256",
        authorized_parties=["spa"],
    )
    verifier = Verifier([named], clock=StoppedClock(START))
    assert await verifier.verify(a_token("oidc", azp="spa", key=ELLIPTIC))
    with pytest.raises(errors.WrongParty):
        await verifier.verify(a_token("oidc", azp="other", key=ELLIPTIC))


REFUSED: dict[str, tuple[type[errors.NotProven], Kind, dict[str, Any]]] = {
    "no exp": (errors.BadToken, "workos", {"exp": None}),
    "a machine, which has no session": (errors.BadToken, "workos", {"sid": None}),
    "another environment": (
        errors.ForeignIssuer,
        "workos",
        {"iss": "https://api.workos.com/user_management/client_2"},
    ),
    "a slash too many": (
        errors.ForeignIssuer,
        "workos",
        {"iss": "https://api.workos.com/user_management/client_1/"},
    ),
    "another application": (errors.WrongParty, "workos", {"client_id": "client_2"}),
    "an impersonator without a name": (errors.BadToken, "workos", {"act": {}}),
    "a day and more": (errors.BadToken, "workos", {"exp": NOW + 90_000}),
    "the anon key": (errors.BadToken, "supabase", {"role": "anon"}),
    "the service key": (errors.BadToken, "supabase", {"role": "service_role"}),
    "no role": (errors.BadToken, "supabase", {"role": None}),
    "no sub": (errors.BadToken, "supabase", {"sub": None}),
    "no session": (errors.BadToken, "supabase", {"session_id": None}),
    "a sub that is no uuid": (errors.BadToken, "supabase", {"sub": "user_1"}),
    "somebody anonymous": (errors.AnonymousUser, "supabase", {"is_anonymous": True}),
    "no aud": (errors.WrongParty, "supabase", {"aud": None}),
    "another aud": (errors.WrongParty, "supabase", {"aud": ["other"]}),
    "the issuer of the older keys": (errors.ForeignIssuer, "supabase", {"iss": "supabase"}),
    "another project": (
        errors.ForeignIssuer,
        "supabase",
        {"iss": "https://b.supabase.co/auth/v1"},
    ),
    "made for nobody": (errors.WrongParty, "oidc", {"aud": None}),
    "made for others": (errors.WrongParty, "oidc", {"aud": "other"}),
    "the same name without its slash": (
        errors.ForeignIssuer,
        "oidc",
        {"iss": "https://login.example.com"},
    ),
    "expired": (errors.TokenExpired, "oidc", {"exp": NOW - 6}),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_wrong_token_is_refused_by_name(name: str) -> None:
    """B1, T6"""
    error, kind, claims = REFUSED[name]
    with pytest.raises(error) as caught:
        await verify(kind, **claims)
    assert type(caught.value) is error
    assert caught.value.hint


@pytest.mark.parametrize("role", ["anon", "service_role"])
async def test_the_older_keys_of_a_project_are_nobodys_session(role: str) -> None:
    """B1: the shared secret has signed them for ten years, so a good signature says nothing."""
    whole = a_token("supabase", key=shared_key(), role=role)
    bare = a_token("supabase", key=shared_key(), role=role, sub=None, session_id=None, aud=None)
    verifier = Verifier([issuer_of("supabase")], clock=StoppedClock(START))
    for token in (whole, bare):
        with pytest.raises(errors.BadToken):
            await verifier.verify(token)


async def test_hs256_needs_a_configured_secret() -> None:
    """B1: without SUPABASE_JWT_SECRET there is nothing that such a token could be checked with."""
    token = a_token("supabase", key=shared_key())
    asymmetric = supabase("https://a.supabase.co", keys=Pem(text=KEY.public_pem()))
    with pytest.raises(errors.BadToken) as caught:
        await Verifier([asymmetric], clock=StoppedClock(START)).verify(token)
    assert caught.value.facts == {"reason": "algorithm"}


@pytest.mark.parametrize("secret", ["short", KEY.public_pem()])
def test_a_secret_that_can_be_guessed_or_is_public_is_refused(secret: str) -> None:
    issuer = supabase("https://a.supabase.co", jwt_secret=secret, keys=Pem(text=KEY.public_pem()))
    with pytest.raises(errors.BadKey, match="secret"):
        Verifier([issuer], clock=StoppedClock(START))
    assert secret not in repr(issuer)


@pytest.mark.parametrize("role", [None, "", "org:", 7, ["admin"], "a b", "x" * 256])
def test_what_is_no_role_is_none(role: object) -> None:
    assert plain_role(role) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
CLAIMS = (
    *("iss", "sub", "iat", "exp", "nbf", "aud", "azp", "sid", "session_id", "org_id", "role"),
    *("roles", "user_role", "permissions", "act", "client_id", "is_anonymous"),
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@given(
    st.sampled_from(["workos", "supabase", "oidc"]), st.dictionaries(st.sampled_from(CLAIMS), JSON)
)
def test_signed_nonsense_is_refused_or_makes_sense(
    runner: asyncio.Runner, kind: Kind, changes: dict[str, Any]
) -> None:
    try:
        who = runner.run(verify(kind, **changes))
    except errors.NotProven:
        return
    assert who.user_id == (changes.get("sub") or who.user_id)
    assert who.role is None or (who.org_id and isinstance(who.role, str))
    assert who.expires_at > START - timedelta(seconds=5)
