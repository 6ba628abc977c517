import base64
import binascii
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from svix.webhooks import Webhook, WebhookVerificationError

from tenure.identity.errors import BadSignature
from tenure.identity.svix import TOLERANCE, verify


def a_secret(name: str) -> str:
    return "whsec_" + base64.b64encode(name.encode() * 6).decode()


SECRET, OLD, OTHER = a_secret("new!"), a_secret("old!"), a_secret("none")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAMP = int(NOON.timestamp())
BODY = b'{"type":"user.created","data":{"id":"user_1"}}'
ID = "msg_1"


def mac(secret: str = SECRET, *, body: bytes = BODY, at: datetime = NOON, name: str = ID) -> str:
    """Sign as Svix does, by its own library."""
    return Webhook(secret).sign(name, at, body.decode())


def headers(*macs: str, at: datetime = NOON, prefix: str = "svix") -> dict[str, str]:
    return {
        f"{prefix}-id": ID,
        f"{prefix}-timestamp": str(int(at.timestamp())),
        f"{prefix}-signature": " ".join(macs or [mac(at=at)]),
    }


@pytest.mark.parametrize("prefix", ["svix", "webhook"])
def test_what_svix_signed_is_believed_and_gives_the_events_id(prefix: str) -> None:
    """The body has no id: the header's is the one that all retries and replays have."""
    given = headers(prefix=prefix) | {"host": "x", "content-type": "application/json"}

    assert verify(BODY, given, [SECRET], now=NOON) == ID


@pytest.mark.parametrize("secrets", [[SECRET, OLD], [OLD, SECRET]])
def test_while_a_secret_rolls_either_one_is_believed_in_any_place(secrets: list[str]) -> None:
    for signed_with in (SECRET, OLD):
        assert verify(BODY, headers(mac(signed_with)), secrets, now=NOON) == ID


def test_one_good_signature_among_several_is_enough() -> None:
    """Svix signs with both secrets while one rolls, and may add another scheme."""
    given = headers("v1a,ed25519", mac(OTHER), "v2,x", mac())

    assert verify(BODY, given, [SECRET], now=NOON) == ID


def test_a_retry_is_signed_anew_and_keeps_its_id() -> None:
    later = NOON + timedelta(hours=5)

    assert verify(BODY, headers(at=later), [SECRET], now=later) == ID


@pytest.mark.parametrize("secrets", [[], ["whsec_"], ["whsec_%%%"], ["whsec_abc"], ["", OTHER]])
def test_no_secret_and_none_that_fits_believes_nothing(secrets: list[str]) -> None:
    with pytest.raises(BadSignature):
        verify(BODY, headers(), secrets, now=NOON)


@pytest.mark.parametrize("age", [-1, 1])
def test_five_minutes_are_allowed_and_a_second_more_is_not(age: int) -> None:
    edge = TOLERANCE * age
    verify(BODY, headers(), [SECRET], now=NOON + edge)
    with pytest.raises(BadSignature, match=r"301 s (ago|in the future)"):
        verify(BODY, headers(), [SECRET], now=NOON + edge + timedelta(seconds=age))


@given(st.text(st.characters(codec="utf-8"), max_size=64), st.data())
def test_a_body_that_differs_in_one_byte_is_refused(text: str, data: st.DataObject) -> None:
    body = text.encode()
    at = data.draw(st.integers(0, len(body)))
    changed = data.draw(st.binary(min_size=1, max_size=1).filter(lambda b: b != body[at : at + 1]))
    with pytest.raises(BadSignature):
        verify(body[:at] + changed + body[at + 1 :], headers(mac(body=body)), [SECRET], now=NOON)


@pytest.mark.parametrize(
    "change",
    [
        {"svix-id": "msg_2"},
        {"svix-timestamp": str(STAMP + 1)},
        {"svix-timestamp": f"{STAMP}.0"},
        {"svix-timestamp": f"0{STAMP}"},
    ],
)
def test_the_id_and_the_time_are_signed_too(change: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        verify(BODY, headers() | change, [SECRET], now=NOON)


def test_the_two_names_of_the_headers_are_not_mixed() -> None:
    given = headers() | headers("v1,zzzz", prefix="webhook")
    assert verify(BODY, given, [SECRET], now=NOON) == ID

    del given["svix-signature"]
    with pytest.raises(BadSignature):
        verify(BODY, given, [SECRET], now=NOON)


MALFORMED: list[dict[str, str]] = [
    {"svix-id": ""},
    {"svix-id": "a.b"},
    {"svix-id": "m\x00"},
    {"svix-id": "\u20ac"},
    {"svix-id": "x" * 256},
    {"svix-timestamp": ""},
    {"svix-timestamp": "now"},
    {"svix-timestamp": "-1"},
    {"svix-timestamp": "\u00b2"},
    {"svix-timestamp": "\u0661\u0662"},
    {"svix-timestamp": "9" * 400},
    {"svix-timestamp": "1e9"},
    {"svix-timestamp": "nan"},
    {"svix-signature": ""},
    {"svix-signature": "v1"},
    {"svix-signature": "v1,"},
    {"svix-signature": "v1,a,b,c"},
    {"svix-signature": "v1,===="},
    {"svix-signature": "v1,\udcff"},
    {"svix-signature": "v1,\u20ac"},
    {"svix-signature": "v1a," + "A" * 88},
    {"svix-signature": "x " * 5000 + mac()},
    {"svix-signature": mac().replace("v1,", "v1=")},
    {"svix-signature": mac()[:-1]},
]


@pytest.mark.parametrize("change", MALFORMED, ids=lambda change: repr(change)[:50])
def test_a_malformed_header_is_a_bad_signature_and_nothing_worse(change: dict[str, str]) -> None:
    """The official library raises ValueError and binascii.Error here: any stranger gets a 500."""
    with pytest.raises(BadSignature):
        verify(BODY, headers() | change, [SECRET], now=NOON)


@pytest.mark.parametrize("missing", ["svix-id", "svix-timestamp", "svix-signature"])
def test_a_header_that_is_missing_is_a_bad_signature(missing: str) -> None:
    given = {name: value for name, value in headers().items() if name != missing}

    with pytest.raises(BadSignature, match=missing):
        verify(BODY, given, [SECRET], now=NOON)


anything = st.text(st.characters())
signatures = st.sampled_from(["v1", "v1,", ",", "v1,====", "v1,a=", "v2,x", "  ", mac(OTHER)])
garbage = st.dictionaries(
    st.sampled_from(
        [f"{p}-{n}" for p in ("svix", "webhook") for n in ("id", "timestamp", "signature")]
    ),
    anything
    | st.sampled_from([ID, str(STAMP), "-1"])
    | st.lists(signatures | anything).map(" ".join),
)


@given(st.binary(), garbage, st.lists(anything, max_size=2))
def test_no_header_and_no_secret_raise_anything_but_bad_signature(
    body: bytes, given: dict[str, str], secrets: list[str]
) -> None:
    with pytest.raises(BadSignature):
        verify(body, given, [SECRET, *secrets], now=NOON)


def believed_by_us(body: str, given: dict[str, str]) -> bool:
    try:
        verify(body.encode(), given, [SECRET], now=datetime.fromtimestamp(time.time(), UTC))
    except BadSignature:
        return False
    return True


def believed_by_svix(body: str, given: dict[str, str]) -> bool:
    try:
        Webhook(SECRET).verify(body, given)
    except (WebhookVerificationError, ValueError, binascii.Error):
        return False
    return True


@given(
    body=st.dictionaries(st.text(), st.text() | st.integers()).map(json.dumps),
    age=st.sampled_from([-10_000, -250, 0, 60, 250, 360, 10_000]),
    signed_with=st.sampled_from([SECRET, OLD]),
    prefix=st.sampled_from(["svix", "webhook"]),
    spoil=st.sampled_from(["", "body", "id", "timestamp", "signature"]),
)
def test_svixs_own_library_agrees(
    body: str, age: int, signed_with: str, prefix: str, spoil: str
) -> None:
    at = datetime.fromtimestamp(int(time.time()) - age, UTC)
    given = headers(mac(signed_with, body=body.encode(), at=at), at=at, prefix=prefix)
    if spoil == "body":
        body += " "
    elif spoil:
        name = f"{prefix}-{spoil}"
        given[name] = given[name][:-1] + ("1" if given[name][-1] != "1" else "2")

    assert believed_by_us(body, given) is believed_by_svix(body, given)
