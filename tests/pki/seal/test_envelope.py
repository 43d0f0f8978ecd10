"""Envelopes: what was sealed opens where it was sealed, and nowhere else."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pki.errors import Malformed
from pki.seal.envelope import Envelope, associated_data, open_, seal
from tests.counts import count

_DEK = bytes(range(32))
_AAD = associated_data("root", "mount", "secret", "1")


@settings(max_examples=count(50, 2_000), deadline=None)
@given(plaintext=st.binary(max_size=4096), aad=st.binary(max_size=64))
def test_sealed_value_opens_with_what_it_was_sealed_with(plaintext: bytes, aad: bytes) -> None:
    """A01: seal, store, read, open gives the same octets, of any length."""
    stored = seal(_DEK, "dek1", plaintext, aad).to_bytes()
    assert open_(_DEK, Envelope.from_bytes(stored), aad) == plaintext


def test_every_altered_octet_is_noticed() -> None:
    """K5: a change of any octet of a stored envelope keeps it from opening."""
    stored = seal(_DEK, "dek1", b"value", _AAD).to_bytes()
    for position in range(len(stored)):
        altered = bytearray(stored)
        altered[position] ^= 0x01
        with pytest.raises(Malformed):
            open_(_DEK, Envelope.from_bytes(bytes(altered)), _AAD)


def test_every_cut_is_noticed() -> None:
    """K5: a truncated or extended envelope does not open."""
    stored = seal(_DEK, "dek1", b"", _AAD).to_bytes()
    for length in range(len(stored)):
        with pytest.raises(Malformed):
            Envelope.from_bytes(stored[:length])
    with pytest.raises(Malformed):
        open_(_DEK, Envelope.from_bytes(stored + b"\0"), _AAD)


@pytest.mark.parametrize(
    "stored",
    [b"", b"\x01", b"\x00\x01a" + bytes(60), b"\x02\x01a" + bytes(60), b"\x01\x00" + bytes(60), b"\x01\x21" + b"a" * 99]
    + [b"\x01\x02" + name + bytes(60) for name in (b"a ", b"a\n", b"\xc3\xa4", b"a\0")],
)
def test_what_is_no_envelope_is_refused(stored: bytes) -> None:
    """The reader is strict: version, length of the DEK id, its letters, and a whole tag."""
    with pytest.raises(Malformed):
        Envelope.from_bytes(stored)


@pytest.mark.parametrize("dek_id", ["", "a" * 33, "a-b", "\N{LATIN SMALL LETTER A WITH DIAERESIS}", "a\0"])
def test_dek_ids_that_could_not_be_read_back_are_refused(dek_id: str) -> None:
    """What seal writes, from_bytes reads."""
    with pytest.raises(ValueError, match="DEK id"):
        seal(_DEK, dek_id, b"", b"")


def test_value_moved_elsewhere_does_not_open() -> None:
    """K5: another row, version, mount, tenant or data key is another place."""
    sealed = seal(_DEK, "dek1", b"value", _AAD)
    places = [("root", "mount", "secret", "2"), ("root", "mount", "other", "1"), ("root", "m", "secret", "1"), ("n",)]
    for place in places:
        with pytest.raises(Malformed, match="does not open where it is kept"):
            open_(_DEK, sealed, associated_data(*place))
    with pytest.raises(Malformed):
        open_(bytes(32), sealed, _AAD)
    with pytest.raises(Malformed):
        open_(_DEK, Envelope("dek2", sealed.salt, sealed.nonce, sealed.ciphertext), _AAD)


def test_no_two_lists_of_parts_are_the_same_associated_data() -> None:
    """K4: parts are length-prefixed, so that no boundary can be shifted."""
    lists = [("ab", "c"), ("a", "bc"), ("abc",), ("a", "b", "c"), ("", "abc"), ("abc", ""), ()]
    assert len({associated_data(*parts) for parts in lists}) == len(lists)
    assert associated_data("a", b"b") == b"\0\0\0\x01a\0\0\0\x01b"


def test_salt_and_nonce_are_fresh_for_each_value() -> None:
    """K4: the same value sealed again shares neither salt, nonce nor ciphertext."""
    number = count(200, 100_000)
    sealed = [seal(_DEK, "dek1", b"value", _AAD) for _ in range(number)]
    assert len({value.salt for value in sealed}) == number
    assert len({value.nonce for value in sealed}) == number
    assert len({value.ciphertext for value in sealed}) == number


def test_data_key_of_another_length_is_refused() -> None:
    """A DEK is 32 octets; a shorter one never becomes a weaker cipher."""
    for length in (0, 16, 24, 31, 33):
        with pytest.raises(ValueError, match="32 octets"):
            seal(os.urandom(length), "dek1", b"", b"")


def test_stored_form_stays_readable() -> None:
    """A value sealed by the first release opens in every later one."""
    stored = bytes.fromhex(_FIRST_RELEASE)
    assert open_(_DEK, Envelope.from_bytes(stored), _AAD) == b"sealed by 0.1"


_FIRST_RELEASE = (
    "010464656b31459d5ae27386f991415a949a70f5c06773b6a219ce46ac959dbdebe2102d610eb3967745923883272d0d2d7a"
    "21af87b30026b983b0000038bbf82bcb6f118d561638d494d0a6c56aca"
)
