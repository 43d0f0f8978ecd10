"""Wrapped keys: bound to their place, opened only as they were made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsm import Hsm, HsmBadCiphertext, HsmKeyNotFound, HsmUnavailable, HsmUnsupported, KeyAlgorithm
from hsm.wrapping import LONGEST_KEY, Suite, unwrap_key, wrap_key
from tests.counts import count
from tests.hsm import interposer as ckr
from tests.hsm.interposer import Interposer, alter_output
from tests.hsm.test_keys import Keys

DEK = bytes(range(32))
AAD = b"cluster|namespace|dek"


@pytest.fixture
def kek(key_ids: Keys) -> bytes:
    """The shared token's AES key."""
    return key_ids[KeyAlgorithm.AES_256]


@pytest.mark.parametrize("length", [1, 16, 32, LONGEST_KEY])
def test_a_wrapped_key_comes_back(keyed_hsm: Hsm, kek: bytes, length: int) -> None:
    """Every allowed length; the blob says its suite and is 29 bytes longer."""
    dek = bytes(length)
    blob = wrap_key(keyed_hsm, kek, dek, AAD)
    assert (blob[0], len(blob)) == (Suite.GCM, length + 29)
    assert unwrap_key(keyed_hsm, kek, blob, AAD) == dek


@pytest.mark.parametrize("length", [0, LONGEST_KEY + 1])
def test_a_key_of_no_or_too_many_bytes_is_refused(keyed_hsm: Hsm, kek: bytes, length: int) -> None:
    """What is no data key is not wrapped."""
    with pytest.raises(ValueError, match="1 to 4096 bytes"):
        wrap_key(keyed_hsm, kek, bytes(length), AAD)


def test_every_altered_byte_is_found_out(keyed_hsm: Hsm, kek: bytes) -> None:
    """K5: suite, IV, ciphertext, tag: one bit altered anywhere, and it does not open."""
    blob = wrap_key(keyed_hsm, kek, DEK, AAD)
    for position in range(len(blob)):
        altered = blob[:position] + bytes([blob[position] ^ 1]) + blob[position + 1 :]
        with pytest.raises(HsmUnsupported if position == 0 else HsmBadCiphertext):
            unwrap_key(keyed_hsm, kek, altered, AAD)


@pytest.mark.parametrize("aad", [b"", AAD[:-1], AAD + b"\0", b"cluster|other|dek"])
def test_a_key_that_was_moved_does_not_open(keyed_hsm: Hsm, kek: bytes, aad: bytes) -> None:
    """K4, K5: the additional data names its place, and another place does not open it."""
    blob = wrap_key(keyed_hsm, kek, DEK, AAD)
    with pytest.raises(HsmBadCiphertext, match="does not open"):
        unwrap_key(keyed_hsm, kek, blob, aad)


def test_another_kek_does_not_open_it(keyed_hsm: Hsm, kek: bytes) -> None:
    """K5: wrapped under one KEK, opened by that alone; an unknown KEK is told apart from a wrong one."""
    blob = wrap_key(keyed_hsm, kek, DEK, AAD)
    other = keyed_hsm.generate_key(KeyAlgorithm.AES_256, "other kek")
    with pytest.raises(HsmBadCiphertext):
        unwrap_key(keyed_hsm, other, blob, AAD)
    keyed_hsm.destroy_key(other)
    with pytest.raises(HsmKeyNotFound):
        unwrap_key(keyed_hsm, other, blob, AAD)


def test_a_signing_key_is_no_kek(keyed_hsm: Hsm, key_ids: Keys) -> None:
    """K1: one key, one use."""
    with pytest.raises(HsmKeyNotFound):
        wrap_key(keyed_hsm, key_ids[KeyAlgorithm.RSA_2048], DEK, AAD)


def test_no_iv_is_used_twice(keyed_hsm: Hsm, kek: bytes) -> None:
    """K4: each wrap has a fresh IV from the token's generator, so equal keys give different blobs."""
    rounds = count(200, 2_000)
    ivs = {wrap_key(keyed_hsm, kek, DEK, AAD)[1:13] for _ in range(rounds)}
    assert len(ivs) == rounds


@given(blob=st.binary(max_size=80))
def test_garbage_is_refused_by_meaning(keyed_hsm: Hsm, key_ids: Keys, blob: bytes) -> None:
    """What was never wrapped gives one of two errors, and never leaves the token out of service."""
    with pytest.raises((HsmBadCiphertext, HsmUnsupported)):
        unwrap_key(keyed_hsm, key_ids[KeyAlgorithm.AES_256], blob, AAD)
    keyed_hsm.check()


@pytest.mark.parametrize("length", [0, 1, 13, 29, 30 + LONGEST_KEY])
def test_a_blob_of_impossible_length_never_reaches_the_token(
    keyed_hsm: Hsm, kek: bytes, interposer: Interposer, length: int
) -> None:
    """Too short for a key, or longer than any key: refused before the token is asked."""
    interposer.watch("C_Decrypt")
    with pytest.raises(HsmBadCiphertext, match="cut short"):
        unwrap_key(keyed_hsm, kek, bytes([Suite.GCM]) * length, AAD)
    assert interposer.calls["C_Decrypt"] == 0


def test_an_unknown_suite_is_not_guessed_at(keyed_hsm: Hsm, kek: bytes) -> None:
    """A later version's blob is told as such."""
    with pytest.raises(HsmUnsupported, match="number 9"):
        unwrap_key(keyed_hsm, kek, b"\x09" + bytes(60), AAD)


@pytest.mark.parametrize("function", ["C_Encrypt", "C_Decrypt"])
def test_a_device_that_garbles_is_found_out_before_anything_is_stored(
    hsm: Hsm, interposer: Interposer, function: str
) -> None:
    """A data key that does not come back would lose all that is sealed under it: wrapping opens what it made."""
    kek_id = hsm.generate_key(KeyAlgorithm.AES_256, "kek")
    interposer.put(function, alter_output)
    with pytest.raises(HsmUnavailable if function == "C_Encrypt" else HsmBadCiphertext):
        wrap_key(hsm, kek_id, DEK, AAD)


def test_a_broken_device_is_not_taken_for_an_altered_blob(hsm: Hsm, interposer: Interposer) -> None:
    """SoftHSM's code for a wrong tag is that of a broken device: the device is tried before the row is blamed."""
    kek_id = hsm.generate_key(KeyAlgorithm.AES_256, "kek")
    blob = wrap_key(hsm, kek_id, DEK, AAD)
    interposer.fail("C_Decrypt", ckr.GENERAL_ERROR)
    assert unwrap_key(hsm, kek_id, blob, AAD) == DEK
    interposer.fail("C_Decrypt", ckr.GENERAL_ERROR, times=10_000)
    with pytest.raises(HsmUnavailable):
        unwrap_key(hsm, kek_id, blob, AAD)


def test_an_altered_blob_costs_no_restart(keyed_hsm: Hsm, kek: bytes) -> None:
    """A row that was tampered with must not stop the service for everybody."""
    blob = wrap_key(keyed_hsm, kek, DEK, AAD)
    seen = keyed_hsm.generation
    with pytest.raises(HsmBadCiphertext):
        unwrap_key(keyed_hsm, kek, blob[:-1] + bytes([blob[-1] ^ 1]), AAD)
    assert keyed_hsm.generation == seen
