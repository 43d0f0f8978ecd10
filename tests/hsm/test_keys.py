"""The token's keys: each signature verifies elsewhere, what is not supported is refused, nothing leaves the token."""

import copy
import pickle
from collections.abc import Callable, Mapping
from functools import partial

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from hsm import (
    Hsm,
    HsmBadSignature,
    HsmKeyNotFound,
    HsmUnsafe,
    HsmUnsupported,
    KeyAlgorithm,
    Lane,
    TokenECKey,
    TokenEd25519Key,
    TokenKey,
    TokenRSAKey,
)
from tests.hsm.interposer import Interposer, alter_output

EC = (KeyAlgorithm.EC_P256, KeyAlgorithm.EC_P384)
RSA = (KeyAlgorithm.RSA_2048, KeyAlgorithm.RSA_3072, KeyAlgorithm.RSA_4096)
SIGNING = (*RSA, *EC, KeyAlgorithm.ED25519)
HASHES = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
WEAK_HASHES = (hashes.SHA1(), hashes.SHA224(), hashes.SHA512_256(), hashes.SHA3_256(), hashes.SM3())  # noqa: S303
MESSAGE = b"to be signed"

Keys = Mapping[KeyAlgorithm, bytes]


def name_of(value: object) -> str:
    """Name a hash in a test's id."""
    return value.name if isinstance(value, hashes.HashAlgorithm) else str(value)


def digest(algorithm: hashes.HashAlgorithm, message: bytes = MESSAGE) -> bytes:
    """Hash the message."""
    context = hashes.Hash(algorithm)
    context.update(message)
    return context.finalize()


def pss(algorithm: hashes.HashAlgorithm, salt: object = padding.PSS.DIGEST_LENGTH) -> padding.PSS:
    """Return PSS with MGF1 over that hash."""
    return padding.PSS(padding.MGF1(algorithm), salt)  # type: ignore[arg-type]  # also takes the marks MAX_LENGTH, ...


def ec_key(hsm: Hsm, keys: Keys, algorithm: KeyAlgorithm = KeyAlgorithm.EC_P256) -> TokenECKey:
    """Return the shared token's EC key."""
    key = hsm.signing_key(keys[algorithm])
    assert isinstance(key, TokenECKey)
    return key


def rsa_key(hsm: Hsm, keys: Keys, algorithm: KeyAlgorithm = KeyAlgorithm.RSA_2048) -> TokenRSAKey:
    """Return the shared token's RSA key."""
    key = hsm.signing_key(keys[algorithm])
    assert isinstance(key, TokenRSAKey)
    return key


def sign_any(key: TokenKey) -> bytes:
    """Sign the message in the plainest way of that kind of key."""
    if isinstance(key, TokenECKey):
        return key.sign(MESSAGE, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, TokenRSAKey):
        return key.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(MESSAGE)


@pytest.mark.parametrize("prehashed", [False, True], ids=["whole", "prehashed"])
@pytest.mark.parametrize("algorithm", HASHES, ids=name_of)
@pytest.mark.parametrize("kind", EC)
def test_ecdsa_verifies_with_each_hash(
    keyed_hsm: Hsm, key_ids: Keys, kind: KeyAlgorithm, algorithm: hashes.HashAlgorithm, prehashed: bool
) -> None:
    """CA02: every curve with every hash, also one longer than the curve (FIPS 186-5, 6.4.1), whole or prehashed."""
    key = ec_key(keyed_hsm, key_ids, kind)
    if prehashed:
        signature = key.sign(digest(algorithm), ec.ECDSA(utils.Prehashed(algorithm)))
    else:
        signature = key.sign(MESSAGE, ec.ECDSA(algorithm))
    key.public_key().verify(signature, MESSAGE, ec.ECDSA(algorithm))
    with pytest.raises(InvalidSignature):
        key.public_key().verify(signature, b"something else", ec.ECDSA(algorithm))


@pytest.mark.parametrize("algorithm", HASHES, ids=name_of)
@pytest.mark.parametrize("kind", RSA)
def test_rsa_verifies_with_each_padding(
    keyed_hsm: Hsm, key_ids: Keys, kind: KeyAlgorithm, algorithm: hashes.HashAlgorithm
) -> None:
    """CA02: PKCS #1 v1.5 and PSS, each size, each hash; the salt as long as the digest, as long as fits, or none."""
    key = rsa_key(keyed_hsm, key_ids, kind)
    schemes: list[padding.PKCS1v15 | padding.PSS] = [padding.PKCS1v15(), pss(algorithm)]
    if kind is KeyAlgorithm.RSA_2048:
        schemes += [pss(algorithm, padding.PSS.MAX_LENGTH), pss(algorithm, 0), pss(algorithm, 20)]
    for scheme in schemes:
        signature = key.sign(MESSAGE, scheme, algorithm)
        key.public_key().verify(signature, MESSAGE, scheme, algorithm)
        with pytest.raises(InvalidSignature):
            key.public_key().verify(signature, b"something else", scheme, algorithm)


@pytest.mark.parametrize("scheme", [padding.PKCS1v15(), pss(hashes.SHA384(), 48)], ids=["pkcs1v15", "pss"])
def test_rsa_signs_what_is_hashed_already(
    keyed_hsm: Hsm, key_ids: Keys, scheme: padding.PKCS1v15 | padding.PSS
) -> None:
    """CA02: Prehashed gives the same signature as the whole message."""
    key = rsa_key(keyed_hsm, key_ids)
    signature = key.sign(digest(hashes.SHA384()), scheme, utils.Prehashed(hashes.SHA384()))
    key.public_key().verify(signature, MESSAGE, scheme, hashes.SHA384())


def test_pss_masked_with_another_hash_is_asked_for_as_it_is(keyed_hsm: Hsm, key_ids: Keys) -> None:
    """CA02: the mask's hash is a parameter of its own (RFC 8017, 9.1); SoftHSM refuses two, and it is not replaced."""
    with pytest.raises(HsmUnsupported, match="ArgumentsBad"):
        rsa_key(keyed_hsm, key_ids).sign(MESSAGE, padding.PSS(padding.MGF1(hashes.SHA512()), 32), hashes.SHA256())


@pytest.mark.parametrize("message", [b"", b"x", bytes(100_000)], ids=len)
def test_ed25519_signs_messages_of_any_length(keyed_hsm: Hsm, key_ids: Keys, message: bytes) -> None:
    """CA02: RFC 8032 signs the message itself, not its digest."""
    key = keyed_hsm.signing_key(key_ids[KeyAlgorithm.ED25519])
    assert isinstance(key, TokenEd25519Key)
    signature = key.sign(memoryview(message))
    key.public_key().verify(signature, message)
    with pytest.raises(InvalidSignature):
        key.public_key().verify(signature, message + b"!")


@pytest.mark.parametrize("weak", WEAK_HASHES, ids=name_of)
def test_a_hash_outside_the_three_is_refused(keyed_hsm: Hsm, key_ids: Keys, weak: hashes.HashAlgorithm) -> None:
    """CA02: SHA-1 and all that no CA signs with here never reach the token, whole or prehashed."""
    plain, long = ec_key(keyed_hsm, key_ids), rsa_key(keyed_hsm, key_ids)
    with pytest.raises(HsmUnsupported, match="SHA-256, SHA-384 and SHA-512"):
        plain.sign(MESSAGE, ec.ECDSA(weak))
    with pytest.raises(HsmUnsupported, match="SHA-256, SHA-384 and SHA-512"):
        plain.sign(digest(weak), ec.ECDSA(utils.Prehashed(weak)))
    for scheme in (padding.PKCS1v15(), pss(hashes.SHA256(), 32)):
        with pytest.raises(HsmUnsupported, match="SHA-256, SHA-384 and SHA-512"):
            long.sign(MESSAGE, scheme, weak)


@pytest.mark.parametrize(
    ("scheme", "algorithm"),
    [
        (padding.PKCS1v15(), utils.NoDigestInfo()),
        (padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None), hashes.SHA256()),
        (pss(hashes.SHA1()), hashes.SHA256()),  # noqa: S303
        (pss(hashes.SHA224()), hashes.SHA256()),
        (pss(hashes.SHA256(), padding.PSS.AUTO), hashes.SHA256()),
        (pss(hashes.SHA256(), 223), hashes.SHA256()),
    ],
    ids=["no-digest-info", "oaep", "mgf1-sha1", "mgf1-sha224", "auto-salt", "salt-too-long"],
)
def test_an_rsa_scheme_outside_the_supported_is_refused(
    keyed_hsm: Hsm, key_ids: Keys, scheme: padding.PSS, algorithm: hashes.HashAlgorithm
) -> None:
    """CA02: each (padding, hash) is one exact mechanism or a refusal; nothing is guessed."""
    with pytest.raises(HsmUnsupported):
        rsa_key(keyed_hsm, key_ids).sign(MESSAGE, scheme, algorithm)


def test_a_signing_key_only_signs(keyed_hsm: Hsm, key_ids: Keys) -> None:
    """One key, one use: no key agreement, no decryption, no deterministic nonces that the token cannot make."""
    plain, long = ec_key(keyed_hsm, key_ids), rsa_key(keyed_hsm, key_ids)
    with pytest.raises(HsmUnsupported, match="agree"):
        plain.exchange(ec.ECDH(), plain.public_key())
    with pytest.raises(HsmUnsupported, match="plain ECDSA"):
        plain.sign(MESSAGE, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    with pytest.raises(HsmUnsupported, match="decrypt"):
        long.decrypt(bytes(256), padding.PKCS1v15())


def test_a_digest_of_the_wrong_length_is_refused(keyed_hsm: Hsm, key_ids: Keys) -> None:
    """A prehashed value that is no digest of that hash is the caller's mistake, told before the token sees it."""
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        ec_key(keyed_hsm, key_ids).sign(bytes(31), ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    with pytest.raises(ValueError, match="48 bytes, not 32"):
        rsa_key(keyed_hsm, key_ids).sign(bytes(32), padding.PKCS1v15(), utils.Prehashed(hashes.SHA384()))


@pytest.mark.parametrize("kind", SIGNING)
def test_a_key_never_leaves_the_token(keyed_hsm: Hsm, key_ids: Keys, kind: KeyAlgorithm) -> None:
    """K1: no export in any form, no pickle; a copy is the same reference."""
    key: PrivateKeyTypes = keyed_hsm.signing_key(key_ids[kind])
    assert isinstance(key, (TokenECKey, TokenRSAKey, TokenEd25519Key))
    ways: list[Callable[[], object]] = [key.private_bytes_raw, key.private_numbers]
    ways += [
        partial(key.private_bytes, encoding, form, serialization.NoEncryption())
        for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
        for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.OpenSSH)
    ]
    for way in ways:
        with pytest.raises(HsmUnsafe, match="does not leave its token"):
            way()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(key, protocol)
    assert copy.copy(key) is key
    assert copy.deepcopy(key) is key
    assert key.key_id.hex() in repr(key)


@pytest.mark.parametrize("kind", SIGNING)
def test_a_key_tells_its_size_and_public_half(keyed_hsm: Hsm, key_ids: Keys, kind: KeyAlgorithm) -> None:
    """The classes are real subclasses of cryptography's, and the public half is a native key."""
    key = keyed_hsm.signing_key(key_ids[kind])
    assert keyed_hsm.signing_key(key_ids[kind]) is key
    assert key.public_key() == serialization.load_der_public_key(
        key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    if isinstance(key, TokenRSAKey):
        assert isinstance(key, rsa.RSAPrivateKey)
        assert (key.key_size, key.public_key().public_numbers().e) == (int(kind.value[4:]), 65537)
    elif isinstance(key, TokenECKey):
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert (key.key_size, key.curve.key_size) == (int(kind.value[4:]), int(kind.value[4:]))
    else:
        assert isinstance(key, ed25519.Ed25519PrivateKey)


@pytest.mark.parametrize("kind", [KeyAlgorithm.RSA_2048, *EC, KeyAlgorithm.ED25519])
def test_a_faulty_signature_is_not_released(
    keyed_hsm: Hsm, key_ids: Keys, interposer: Interposer, kind: KeyAlgorithm
) -> None:
    """K3: one bit that the device got wrong (an RSA-CRT fault reveals the key) stops the signature."""
    key = keyed_hsm.signing_key(key_ids[kind])
    interposer.put("C_Sign", alter_output)
    with pytest.raises(HsmBadSignature, match="does not verify"):
        sign_any(key)
    interposer.restore()
    sign_any(key)


@pytest.mark.parametrize("kind", [KeyAlgorithm.RSA_2048, KeyAlgorithm.EC_P256, KeyAlgorithm.ED25519])
def test_a_signature_by_another_key_is_not_released(keyed_hsm: Hsm, key_ids: Keys, kind: KeyAlgorithm) -> None:
    """K2, K3: should a handle name another key, the signature does not verify and does not go out."""
    own = keyed_hsm.signing_key(key_ids[kind])
    other_id = keyed_hsm.generate_key(kind, "other")
    try:
        wrong = type(own)(keyed_hsm, other_id, own.public_key(), Lane.ISSUE)  # type: ignore[arg-type]  # by its kind
        with pytest.raises(HsmBadSignature):
            sign_any(wrong)
    finally:
        keyed_hsm.destroy_key(other_id)


def test_a_signature_of_the_wrong_length_is_not_released(keyed_hsm: Hsm, key_ids: Keys) -> None:
    """K3: raw r||s has twice the curve's length, or it is no ECDSA signature."""

    class Short:
        """A signer whose token cuts signatures short."""

        def sign(self, key_id: bytes, *arguments: object, **options: object) -> bytes:
            """Sign, and lose a byte."""
            return keyed_hsm.sign(key_id, *arguments, **options)[:-1]  # type: ignore[arg-type]  # passed on as they are

    key_id = key_ids[KeyAlgorithm.EC_P256]
    key = TokenECKey(Short(), key_id, ec_key(keyed_hsm, key_ids).public_key())
    with pytest.raises(HsmBadSignature, match="63 bytes"):
        key.sign(MESSAGE, ec.ECDSA(hashes.SHA256()))


def test_a_secret_key_is_no_signing_key(keyed_hsm: Hsm, key_ids: Keys) -> None:
    """K1: a KEK cannot be taken for a CA key."""
    with pytest.raises(HsmKeyNotFound):
        keyed_hsm.signing_key(key_ids[KeyAlgorithm.AES_256])
