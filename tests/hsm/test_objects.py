"""Keys are made as asked or not at all: read back, and nothing stays after a failure."""

import ctypes

import pytest
from pkcs11.constants import Attribute

from hsm import Hsm, HsmError, HsmKeyNotFound, HsmMisconfigured, HsmUnavailable, HsmUnsafe, HsmUnsupported, KeyAlgorithm
from hsm.lanes import Lane
from hsm.sessions import TokenSession
from tests.hsm import interposer as ckr
from tests.hsm.interposer import Interposer, Real, set_flag
from tests.hsm.test_keys import Keys

KINDS = (KeyAlgorithm.EC_P256, KeyAlgorithm.AES_256)


def count_objects(hsm: Hsm) -> int:
    """Count all objects in the token, by the real search."""
    return hsm.sessions.run(Lane.ISSUE, lambda session: len(session.search({})))


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_key_is_what_it_was_asked_to_be(keyed_hsm: Hsm, key_ids: Keys, algorithm: KeyAlgorithm) -> None:
    """K1: read back from the token: sensitive always, extractable never, made there, one use."""
    seen = keyed_hsm.attributes(key_ids[algorithm])
    assert (seen.key_id, seen.label, seen.algorithm) == (key_ids[algorithm], algorithm.value, algorithm)
    assert (seen.token, seen.private, seen.sensitive, seen.always_sensitive) == (True, True, True, True)
    assert (seen.extractable, seen.never_extractable, seen.local, seen.stays_in_token) == (False, True, True, True)
    assert seen.uses == ({"encrypt", "decrypt"} if algorithm is KeyAlgorithm.AES_256 else {"sign"})


def test_an_id_has_sixteen_random_bytes(keyed_hsm: Hsm, key_ids: Keys) -> None:
    """CKA_ID is ours and random, so that a key is one and the same in every token and replica."""
    assert len(set(key_ids.values())) == len(KeyAlgorithm)
    assert {len(key_id) for key_id in key_ids.values()} == {16}
    assert keyed_hsm.find_key_ids(KeyAlgorithm.EC_P256.value) == [key_ids[KeyAlgorithm.EC_P256]]
    assert keyed_hsm.find_key_ids("nobody's") == []


@pytest.mark.parametrize("function", ["C_GenerateKey", "C_GenerateKeyPair"])
@pytest.mark.parametrize(
    ("flag", "value"),
    [(Attribute.EXTRACTABLE, True), (Attribute.SENSITIVE, False), (Attribute.UNWRAP, True), (Attribute.DERIVE, True)],
    ids=lambda item: getattr(item, "name", str(item)),
)
def test_a_token_that_makes_another_key_is_found_out(
    hsm: Hsm, interposer: Interposer, function: str, flag: Attribute, value: bool
) -> None:
    """K1: a token that ignores the template (here: alters it on its way in) is HsmUnsafe, and keeps nothing."""
    before = count_objects(hsm)
    template, length = (2, 3) if function == "C_GenerateKey" else (4, 5)

    def between(real: Real, *arguments: int) -> int:
        set_flag(arguments[template], arguments[length], flag, value=value)
        return real(*arguments)

    interposer.put(function, between)
    algorithm = KeyAlgorithm.AES_256 if function == "C_GenerateKey" else KeyAlgorithm.EC_P256
    with pytest.raises(HsmUnsafe, match=flag.name):
        hsm.generate_key(algorithm, "ca")
    assert count_objects(hsm) == before


def test_a_key_of_another_size_is_found_out(hsm: Hsm, interposer: Interposer) -> None:
    """K1: an RSA key of 1,024 bits where 2,048 were asked for is not kept."""
    before = count_objects(hsm)

    class Item(ctypes.Structure):
        """CK_ATTRIBUTE."""

        _fields_ = (("kind", ctypes.c_ulong), ("value", ctypes.c_void_p), ("length", ctypes.c_ulong))

    def between(real: Real, *arguments: int) -> int:
        for item in (Item * arguments[3]).from_address(arguments[2]):
            if item.kind == Attribute.MODULUS_BITS:
                ctypes.c_ulong.from_address(item.value).value = 1024
        return real(*arguments)

    interposer.put("C_GenerateKeyPair", between)
    with pytest.raises(HsmUnsafe, match="another kind of key than rsa-2048"):
        hsm.generate_key(KeyAlgorithm.RSA_2048, "ca")
    assert count_objects(hsm) == before


@pytest.mark.parametrize(
    "code", [ckr.MECHANISM_INVALID, ckr.SESSION_HANDLE_INVALID, ckr.DEVICE_ERROR, ckr.GENERAL_ERROR]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_generation_leaves_nothing_in_the_token(
    hsm: Hsm, interposer: Interposer, kind: KeyAlgorithm, code: int
) -> None:
    """K1, K2: the token makes the key and then says that it failed: no orphan stays, whatever it said."""
    before = count_objects(hsm)
    function = "C_GenerateKey" if kind is KeyAlgorithm.AES_256 else "C_GenerateKeyPair"

    def between(real: Real, *arguments: int) -> int:
        return real(*arguments) or code

    interposer.put(function, between)
    with pytest.raises((HsmUnsupported, HsmUnavailable)):
        hsm.generate_key(kind, "ca")
    interposer.restore()
    hsm.sessions._down_until = 0.0  # do not wait until the device is asked again
    assert count_objects(hsm) == before
    hsm.destroy_key(hsm.generate_key(kind, "next"))
    assert count_objects(hsm) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_generation_that_is_repeated_makes_one_key(hsm: Hsm, interposer: Interposer, kind: KeyAlgorithm) -> None:
    """K2: the key was made, the answer was lost: the retry sweeps the first away and makes its own."""
    before = count_objects(hsm)
    lost = [ckr.DEVICE_ERROR]

    def between(real: Real, *arguments: int) -> int:
        return real(*arguments) or (lost.pop() if lost else 0)

    interposer.put("C_GenerateKey" if kind is KeyAlgorithm.AES_256 else "C_GenerateKeyPair", between)
    key_id = hsm.generate_key(kind, "ca")
    assert hsm.find_key_ids("ca") == [key_id]
    assert count_objects(hsm) == before + (1 if kind is KeyAlgorithm.AES_256 else 2)


def test_a_read_back_that_fails_destroys_the_key(hsm: Hsm, interposer: Interposer) -> None:
    """K1: what could not be examined is not kept."""
    before = count_objects(hsm)
    interposer.put("C_GenerateKeyPair", lambda real, *arguments: _then_blind(interposer, real, *arguments))
    with pytest.raises(HsmError):
        hsm.generate_key(KeyAlgorithm.EC_P256, "ca")
    interposer.restore()
    assert count_objects(hsm) == before


def _then_blind(interposer: Interposer, real: Real, *arguments: int) -> int:
    value = real(*arguments)
    interposer.fail("C_GetAttributeValue", ckr.MECHANISM_INVALID, times=4)
    return value


@pytest.mark.parametrize("kind", KINDS)
def test_destroying_a_key_leaves_nothing_of_it(hsm: Hsm, kind: KeyAlgorithm) -> None:
    """Both halves go; the rest stays."""
    kept = hsm.generate_key(KeyAlgorithm.EC_P384, "kept")
    before = count_objects(hsm)
    gone = hsm.generate_key(kind, "gone")
    hsm.destroy_key(gone)
    assert count_objects(hsm) == before
    assert hsm.attributes(kept).label == "kept"
    with pytest.raises(HsmKeyNotFound):
        hsm.attributes(gone)


def test_two_keys_of_one_id_are_told_apart_by_nobody(hsm: Hsm) -> None:
    """An ambiguous CKA_ID is refused: signing with either would be a guess."""
    key_id = hsm.generate_key(KeyAlgorithm.EC_P256, "one")
    other = hsm.generate_key(KeyAlgorithm.EC_P256, "two")

    def rename(session: TokenSession) -> None:
        (key,) = session.search({Attribute.ID: other, Attribute.SIGN: True})
        key[Attribute.ID] = key_id

    hsm.sessions.run(Lane.ISSUE, rename)
    with pytest.raises(HsmMisconfigured, match="2 PRIVATE_KEY objects"):
        hsm.signing_key(key_id)
