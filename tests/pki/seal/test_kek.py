"""Data keys wrapped by a KEK that a real token holds."""

import dataclasses

import pytest

from hsm import Hsm, HsmBadCiphertext, HsmKeyNotFound, KeyAlgorithm
from pki.clock import SystemClock
from pki.seal.kek import HsmKek
from pki.seal.keyring import Keyring
from pki.storage.guard import inside_write, outside_write


def test_value_sealed_through_the_token_opens_in_another_process(kek: HsmKek) -> None:
    """A01: with the row and the token, another keyring opens what one sealed."""
    keyring = Keyring([kek], "cluster", SystemClock())
    dek = keyring.new_dek("dek1", "root", "mount", kek.id)
    sealed = keyring.seal("dek1", b"value", "secret", "1")
    other = Keyring([kek], "cluster", SystemClock())
    other.add(dek)
    assert other.open(sealed, "secret", "1") == b"value"


def test_row_alone_opens_nothing(hsm: Hsm, kek: HsmKek) -> None:
    """A01: without the KEK that wrapped it, a data key does not come out: not by another key, nor by none."""
    dek = Keyring([kek], "cluster", SystemClock()).new_dek("dek1", "root", "mount", kek.id)
    other_key = HsmKek(hsm, kek.id, hsm.generate_key(KeyAlgorithm.AES_256, "other"), outside_write)
    for thief, error in (
        (other_key, HsmBadCiphertext),
        (HsmKek(hsm, kek.id, b"\0" * 16, outside_write), HsmKeyNotFound),
    ):
        keyring = Keyring([thief], "cluster", SystemClock())
        keyring.add(dek)
        with pytest.raises(error):
            keyring.seal("dek1", b"")


def test_moved_row_does_not_unwrap(kek: HsmKek) -> None:
    """K5: the token itself refuses a wrapped key that was moved to another mount or cluster."""
    dek = Keyring([kek], "cluster", SystemClock()).new_dek("dek1", "root", "mount", kek.id)
    for cluster, row in (("cluster", dataclasses.replace(dek, mount="elsewhere")), ("another", dek)):
        keyring = Keyring([kek], cluster, SystemClock())
        keyring.add(row)
        with pytest.raises(HsmBadCiphertext):
            keyring.seal("dek1", b"")


def test_kek_never_leaves_the_token(hsm: Hsm) -> None:
    """K1: a KEK is generated in the token, sensitive and not extractable."""
    attributes = hsm.attributes(hsm.generate_key(KeyAlgorithm.AES_256, "kek"))
    assert attributes.sensitive
    assert not attributes.extractable


def test_token_is_not_called_inside_a_write(kek: HsmKek) -> None:
    """The guard stops an unwrap that would hold the database's lock while the token works."""
    keyring = Keyring([kek], "cluster", SystemClock())
    keyring.new_dek("dek1", "root", "mount", kek.id)
    with inside_write("Database.write"), pytest.raises(RuntimeError, match="unwrap_key inside"):
        keyring.seal("dek1", b"")
    keyring.seal("dek1", b"")
    with inside_write("Database.write"):
        keyring.seal("dek1", b"from memory")
