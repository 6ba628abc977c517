import hmac
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
import stripe as sdk
from hypothesis import given
from hypothesis import strategies as st

from tenure.billing.errors import BadSignature
from tenure.billing.signature import TOLERANCE, verify

from .builders import NOON, STAMP

SECRET = "whsec_new"
OLD = "whsec_old"
BODY = b'{"id":"evt_1","type":"customer.updated"}'


def mac(secret: str = SECRET, body: bytes = BODY, stamp: int = STAMP) -> str:
    return hmac.digest(secret.encode(), b"%d." % stamp + body, "sha256").hex()


def header(*macs: str, stamp: int = STAMP) -> str:
    return ",".join([f"t={stamp}", *(f"v1={one}" for one in macs or [mac(stamp=stamp)])])


def test_what_stripe_signed_is_believed() -> None:
    """T8: the signature is verified."""
    verify(BODY, header(), [SECRET], now=NOON)


@pytest.mark.parametrize("secrets", [[SECRET, OLD], [OLD, SECRET]])
def test_while_a_secret_rolls_either_one_is_believed_in_any_place(secrets: list[str]) -> None:
    """T8: two secrets are held while one is rolled."""
    for signed_with in (SECRET, OLD):
        verify(BODY, header(mac(signed_with)), secrets, now=NOON)


def test_one_good_signature_among_several_is_enough() -> None:
    verify(BODY, header("0" * 64, mac(), mac("whsec_other")), [SECRET], now=NOON)


def test_no_secret_believes_nothing() -> None:
    with pytest.raises(BadSignature):
        verify(BODY, header(), [], now=NOON)


@pytest.mark.parametrize("age", [-1, 1])
def test_five_minutes_are_allowed_and_a_second_more_is_not(age: int) -> None:
    edge = TOLERANCE * age
    verify(BODY, header(), [SECRET], now=NOON + edge)
    with pytest.raises(BadSignature, match=r"301 s (ago|in the future)"):
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
    "=",
    "t",
    "t=",
    "v1=",
    f"t={STAMP}",
    f"t={STAMP},v1",
    f"v1={mac()}",
    f"t=,v1={mac()}",
    f"t=now,v1={mac()}",
    f"t=-{STAMP},v1={mac()}",
    f"t={STAMP}.0,v1={mac()}",
    f"t=\u0661\u0662,v1={mac()}",
    f"t=\u00b2,v1={mac()}",
    "t=" + "9" * 400 + f",v1={mac()}",
    f"t={STAMP},v0={mac()}",
    f"t={STAMP},v1={mac().upper()}",
    f"t={STAMP},v1={mac()[:-1]}",
    f"t={STAMP},v1={mac()}=x",
    f"t={STAMP},v1=\u20ac",
    f"t={STAMP},v1=\udcff",
    f"t={STAMP}\x00,v1={mac()}",
    f"t={STAMP};v1={mac()}",
    f"t={STAMP}," + "x" * 5000 + f",v1={mac()}",
]


@pytest.mark.parametrize("junk", MALFORMED)
def test_a_malformed_header_is_a_bad_signature_and_nothing_worse(junk: str) -> None:
    """Bad input: wrong, missing or malformed signatures, never a 500."""
    with pytest.raises(BadSignature):
        verify(BODY, junk, [SECRET], now=NOON)


anything = st.text(st.characters())
parts = st.sampled_from([f"t={STAMP}", "t=1", "v1=", "v1=ab", "v0=a", "=", ",", "t=", " "])
junk_headers = anything | st.lists(parts | anything).map(",".join)


@given(st.binary(), junk_headers)
def test_no_header_raises_anything_but_bad_signature(body: bytes, junk: str) -> None:
    with pytest.raises(BadSignature):
        verify(body, junk, [SECRET], now=NOON)


def believed_by_us(body: str, sent: str, secret: str) -> bool:
    try:
        verify(body.encode(), sent, [secret], now=datetime.fromtimestamp(time.time(), UTC))
    except BadSignature:
        return False
    return True


def believed_by_stripe(body: str, sent: str, secret: str) -> bool:
    try:
        sdk.Webhook.construct_event(body, sent, secret)
    except sdk.SignatureVerificationError:
        return False
    return True


@given(
    body=st.dictionaries(st.text(), st.text() | st.integers()).map(json.dumps),
    age=st.sampled_from([0, 60, 250, 360, 10_000]),
    signed_with=st.sampled_from([SECRET, OLD]),
    more=st.lists(st.text("0123456789abcdef", max_size=64), max_size=2),
    spoil=st.sampled_from(["", "body", "stamp", "scheme"]),
)
def test_stripes_own_sdk_agrees(
    body: str, age: int, signed_with: str, more: list[str], spoil: str
) -> None:
    stamp = int(time.time()) - age
    sent = header(*more, mac(signed_with, body.encode(), stamp), stamp=stamp)
    if spoil == "stamp":
        sent = sent.replace(f"t={stamp}", f"t={stamp + 1}")
    if spoil == "scheme":
        sent = sent.replace("v1=", "v2=")
    read = body + " " if spoil == "body" else body

    ours = believed_by_us(read, sent, SECRET)

    assert ours == believed_by_stripe(read, sent, SECRET)
    assert ours == (signed_with == SECRET and age < 300 and not spoil)
