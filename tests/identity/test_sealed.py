import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from tenure.identity.sealed import BadSealKey, NotOurSeal, Sealer

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


@given(st.text(max_size=200), st.binary(max_size=40))
def test_what_was_sealed_opens_in_its_place(secret: str, place: bytes) -> None:
    sealer = Sealer([NEW])

    assert sealer.open(sealer.seal(secret, place=place), place=place) == secret


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_it_opens_in_no_other_place(place: bytes, other: bytes) -> None:
    """M8: whoever can write rows cannot put somebody's tokens under a handle of her own."""
    sealer = Sealer([NEW])
    sealed = sealer.seal("secret", place=place)

    if place != other:
        with pytest.raises(NotOurSeal, match="another place"):
            sealer.open(sealed, place=other)


def test_it_shows_nothing_of_what_is_in_it() -> None:
    sealer = Sealer([NEW])
    sealed = sealer.seal("refresh-token", place=b"a")

    assert "refresh" not in sealed
    assert sealed != sealer.seal("refresh-token", place=b"a")


def test_a_key_is_changed_without_losing_what_the_former_one_sealed() -> None:
    """M8: the new one first, then both for a while, then it alone."""
    before = Sealer([OLD]).seal("secret", place=b"a")
    both = Sealer([NEW, OLD])

    assert both.open(before, place=b"a") == "secret"
    again = both.seal("secret", place=b"a")
    assert Sealer([NEW]).open(again, place=b"a") == "secret"
    with pytest.raises(NotOurSeal):
        Sealer([OLD]).open(again, place=b"a")


@given(st.data())
def test_what_was_tampered_with_does_not_open(data: st.DataObject) -> None:
    sealer = Sealer([NEW])
    sealed = sealer.seal("secret", place=b"a")
    at = data.draw(st.integers(0, len(sealed) - 1))
    put = data.draw(st.characters().filter(lambda c: c != sealed[at]))
    if set(sealed[at:]) <= {"="}:
        return  # padding says nothing

    try:
        opened = sealer.open(sealed[:at] + put + sealed[at + 1 :], place=b"a")
    except NotOurSeal:
        return
    assert opened == "secret"  # the last sign before the padding has bits that mean nothing


@pytest.mark.parametrize("keys", [[], ["short"], [NEW, "x" * 44], ["ä" * 44]])
def test_what_is_no_key_is_refused_at_once(keys: list[str]) -> None:
    with pytest.raises(BadSealKey):
        Sealer(keys)
