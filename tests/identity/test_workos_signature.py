import hmac
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workos import WorkOSClient

from tenure.identity.errors import BadSignature
from tenure.identity.workos_signature import TOLERANCE, verify

SECRET, OLD = "new secret", "old secret"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAMP = int(NOON.timestamp() * 1000)
BODY = b'{"id":"event_1","event":"user.created"}'


def mac(secret: str = SECRET, body: bytes = BODY, stamp: int = STAMP) -> str:
    return hmac.digest(secret.encode(), b"%d." % stamp + body, "sha256").hex()


def header(*macs: str, stamp: int = STAMP, join: str = ", ") -> str:
    return join.join([f"t={stamp}", *(f"v1={one}" for one in macs or [mac(stamp=stamp)])])


@pytest.mark.parametrize("join", [", ", ",", " , "])
def test_what_workos_signed_is_believed_with_the_space_and_without(join: str) -> None:
    verify(BODY, header(join=join), [SECRET], now=NOON)


@pytest.mark.parametrize("secrets", [[SECRET, OLD], [OLD, SECRET]])
def test_while_a_secret_rolls_either_one_is_believed_in_any_place(secrets: list[str]) -> None:
    for signed_with in (SECRET, OLD):
        verify(BODY, header(mac(signed_with)), secrets, now=NOON)


def test_one_good_signature_among_several_is_enough() -> None:
    verify(BODY, header("0" * 64, mac(), mac("other")), [SECRET], now=NOON)


@pytest.mark.parametrize("secrets", [[], [""]])
def test_no_secret_believes_nothing(secrets: list[str]) -> None:
    """An empty one least of all: anybody can sign with it."""
    with pytest.raises(BadSignature):
        verify(BODY, header(mac("")), secrets, now=NOON)


def test_a_time_in_seconds_is_long_ago() -> None:
    stamp = STAMP // 1000

    with pytest.raises(BadSignature, match="ago"):
        verify(BODY, header(mac(stamp=stamp), stamp=stamp), [SECRET], now=NOON)


@pytest.mark.parametrize("age", [-1, 1])
def test_three_minutes_are_allowed_and_a_second_more_is_not(age: int) -> None:
    edge = TOLERANCE * age
    verify(BODY, header(), [SECRET], now=NOON + edge)
    with pytest.raises(BadSignature, match=r"181 s (ago|in the future)"):
        verify(BODY, header(), [SECRET], now=NOON + edge + timedelta(seconds=age))


@given(st.binary(max_size=64), st.data())
def test_a_body_that_differs_in_one_byte_is_refused(body: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(body)))
    changed = data.draw(st.binary(min_size=1, max_size=1).filter(lambda b: b != body[at : at + 1]))
    with pytest.raises(BadSignature):
        verify(body[:at] + changed + body[at + 1 :], header(mac(body=body)), [SECRET], now=NOON)


MALFORMED = [
    "",
    " ",
    ",",
    "t",
    "t=",
    "v1=",
    f"t={STAMP}",
    f"v1={mac()}",
    f"t=, v1={mac()}",
    f"t=now, v1={mac()}",
    f"t=-{STAMP}, v1={mac()}",
    f"t={STAMP}.0, v1={mac()}",
    f"t=\u0661\u0662, v1={mac()}",
    f"t=\u00b2, v1={mac()}",
    "t=" + "9" * 400 + f", v1={mac()}",
    f"t={STAMP}, v0={mac()}",
    f"t={STAMP}, v1={mac().upper()}",
    f"t={STAMP}, v1={mac()[:-1]}",
    f"t={STAMP}, v1=\u20ac",
    f"t={STAMP}, v1=\udcff",
    f"t={STAMP}\x00, v1={mac()}",
    f"t={STAMP}\n, v1={mac()}x",
    f"t={STAMP}; v1={mac()}",
    f"t={STAMP}, " + "x" * 5000 + f", v1={mac()}",
]


@pytest.mark.parametrize("junk", MALFORMED)
def test_a_malformed_header_is_a_bad_signature_and_nothing_worse(junk: str) -> None:
    with pytest.raises(BadSignature):
        verify(BODY, junk, [SECRET], now=NOON)


anything = st.text(st.characters())
parts = st.sampled_from([f"t={STAMP}", "t=1", "v1=", "v1=ab", "v0=a", "=", ",", "t=", " "])
junk_headers = anything | st.lists(parts | anything).map(", ".join)


@given(st.binary(), junk_headers)
def test_no_header_raises_anything_but_bad_signature(body: bytes, junk: str) -> None:
    with pytest.raises(BadSignature):
        verify(body, junk, [SECRET], now=NOON)


def believed_by_us(body: str, sent: str) -> bool:
    try:
        verify(body.encode(), sent, [SECRET], now=datetime.fromtimestamp(time.time(), UTC))
    except BadSignature:
        return False
    return True


@pytest.fixture(scope="module")
def sdk() -> WorkOSClient:
    return WorkOSClient(api_key="sk_x", client_id="client_x")


def believed_by_workos(sdk: WorkOSClient, body: str, sent: str) -> bool:
    try:
        sdk.webhooks.verify_header(event_body=body, event_signature=sent, secret=SECRET)
    except ValueError:
        return False
    return True


@given(
    body=st.dictionaries(st.text(), st.text() | st.integers()).map(json.dumps),
    age=st.sampled_from([-10_000, -150, 0, 60, 150, 240, 10_000]),
    signed_with=st.sampled_from([SECRET, OLD]),
    spoil=st.sampled_from(["", "body", "stamp"]),
)
def test_workos_own_sdk_agrees(
    sdk: WorkOSClient, body: str, age: int, signed_with: str, spoil: str
) -> None:
    stamp = int(time.time() * 1000) - age * 1000
    sent = header(mac(signed_with, body.encode(), stamp), stamp=stamp)
    body += " " if spoil == "body" else ""
    sent = sent.replace(str(stamp), str(stamp + 1)) if spoil == "stamp" else sent

    assert believed_by_us(body, sent) is believed_by_workos(sdk, body, sent)
