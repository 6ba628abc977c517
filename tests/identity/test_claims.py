import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.base.clock import StoppedClock
from tenure.identity.claims import ClerkClaims, ClerkOrg, Principal, granted
from tenure.identity.errors import NotProven
from tenure.identity.issuers import clerk
from tenure.identity.keys import Pem
from tenure.identity.session import Verifier
from tenure.sandbox.clerk.signing import SigningKey, sign

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISSUER = "https://clerk.example.com"
KEY = SigningKey.make("ins_1")
GOOD: dict[str, object] = {
    "iss": ISSUER,
    "sub": "user_1",
    "sid": "sess_1",
    "iat": NOW.timestamp(),
    "nbf": NOW.timestamp() - 10,
    "exp": NOW.timestamp() + 60,
    "azp": "https://app.example.com",
    "v": 2,
    "sts": "active",
    "fea": "o:dashboard,u:export,o:reports",
    "o": {"id": "org_1", "slg": "acme", "rol": "admin", "per": "read,manage", "fpm": "3,2"},
}
TOKEN = sign(GOOD, KEY)

WORD = st.text("abcdefghij_", min_size=1, max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def verdict(runner: asyncio.Runner, token: str) -> Principal | NotProven:
    """Verify without network; anything but a principal or a refusal is a bug."""
    issuer = clerk(ISSUER, keys=Pem(text=KEY.public_pem()))
    verifier = Verifier([issuer], clock=StoppedClock(NOW))
    try:
        return runner.run(verifier.verify(token))
    except NotProven as refused:
        return refused


@given(st.text() | st.from_regex(r"[A-Za-z0-9_=-]*\.[A-Za-z0-9_=-]*\.[A-Za-z0-9_=-]*"))
def test_junk_is_refused_and_nothing_else_happens(runner: asyncio.Runner, junk: str) -> None:
    assert isinstance(verdict(runner, junk), NotProven)


@given(at=st.integers(0, len(TOKEN) - 1), new=st.text(max_size=3), cut=st.integers(0, 3))
def test_a_changed_token_is_refused(runner: asyncio.Runner, at: int, new: str, cut: int) -> None:
    changed = TOKEN[:at] + new + TOKEN[at + cut :]
    unchanged = changed.rstrip("=") == TOKEN  # padding is no part of what was signed
    assert isinstance(verdict(runner, changed), Principal if unchanged else NotProven)


@given(st.dictionaries(st.sampled_from([*GOOD, "aud", "act", "org_id", "org_role"]), JSON))
def test_signed_nonsense_is_refused_or_makes_sense(
    runner: asyncio.Runner, changes: dict[str, object]
) -> None:
    outcome = verdict(runner, sign(GOOD | changes, KEY))
    if isinstance(outcome, Principal):
        assert outcome.user_id == changes.get("sub", "user_1")
        assert outcome.expires_at > NOW


@given(JSON)
def test_a_signed_payload_that_is_no_session_is_refused(
    runner: asyncio.Runner, payload: object
) -> None:
    token = sign({"payload": payload}, KEY)
    assert isinstance(verdict(runner, token), NotProven)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "jku", "crit", "b64", "x5c"]), JSON))
def test_no_header_raises_anything_unexpected(
    runner: asyncio.Runner, headers: dict[str, object]
) -> None:
    outcome = verdict(runner, sign(GOOD, KEY, headers=headers))
    refusable = {"alg", "jku", "crit", "b64", "x5c"} & headers.keys()
    assert isinstance(outcome, NotProven) or not refusable


@given(st.dictionaries(WORD, st.sets(WORD, min_size=1, max_size=5), max_size=5), st.data())
def test_masks_unpack_to_exactly_what_was_packed(
    held: dict[str, set[str]], data: st.DataObject
) -> None:
    names = data.draw(st.permutations(sorted({n for some in held.values() for n in some})))
    masks = [str(sum(1 << names.index(name) for name in some)) for some in held.values()]
    features = [f"o:{feature}" for feature in held]
    for _ in range(data.draw(st.integers(0, 2))):  # user features have no mask of their own
        features.insert(data.draw(st.integers(0, len(features))), "u:mine")
    org = ClerkOrg(id="org_1", per=",".join(names), fpm=",".join(masks))

    unpacked = set(granted(org, ",".join(features)))

    assert unpacked == {f"org:{f}:{name}" for f, some in held.items() for name in some}


def test_clerks_own_example_unpacks() -> None:
    """Source: Clerk docs, session tokens: the lowest bit is the first permission."""
    org = ClerkOrg(id="org_1", per="read,manage", fpm="3,2")
    assert set(granted(org, "o:dashboard,o:teams")) == {
        "org:dashboard:read",
        "org:dashboard:manage",
        "org:teams:manage",
    }


def test_old_flat_claims_in_a_new_token_mean_nothing() -> None:
    flat = {"org_id": "org_evil", "org_role": "org:admin", "org_permissions": ["org:x:y"]}
    claims = msgspec.json.decode(
        json.dumps({k: v for k, v in GOOD.items() if k != "o"} | flat), type=ClerkClaims
    )
    who = claims.principal("clerk")
    assert (who.org_id, who.role, who.permissions) == (None, None, frozenset())


def test_a_role_without_an_organization_means_nothing() -> None:
    claims = msgspec.convert(GOOD | {"v": 1, "org_role": "org:admin", "o": None}, ClerkClaims)
    assert claims.principal("clerk").role is None
