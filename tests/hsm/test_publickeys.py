"""The public half as tokens give it: DER or bare, whole or not at all."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from pkcs11.constants import Attribute, ObjectClass

from hsm import Hsm, HsmKeyNotFound, HsmUnsupported, KeyAlgorithm, TokenRSAKey
from hsm.lanes import Lane
from hsm.publickeys import decode_point, read_public_key
from hsm.sessions import TokenSession

RAW = serialization.Encoding.Raw
POINT = serialization.Encoding.X962
CURVES = {KeyAlgorithm.EC_P256: ec.SECP256R1(), KeyAlgorithm.EC_P384: ec.SECP384R1()}


def a_point(algorithm: KeyAlgorithm) -> tuple[bytes, object]:
    """Return a public key and its bare point."""
    if algorithm is KeyAlgorithm.ED25519:
        edwards = ed25519.Ed25519PrivateKey.generate().public_key()
        return edwards.public_bytes_raw(), edwards
    public = ec.generate_private_key(CURVES[algorithm]).public_key()
    return public.public_bytes(POINT, serialization.PublicFormat.UncompressedPoint), public


@pytest.mark.parametrize("algorithm", [*CURVES, KeyAlgorithm.ED25519])
def test_a_point_is_read_in_der_and_bare(algorithm: KeyAlgorithm) -> None:
    """PKCS#11 says a DER OCTET STRING; some tokens give its bare content. A bare point may itself begin with 04."""
    for _ in range(300 if algorithm is KeyAlgorithm.ED25519 else 3):
        bare, public = a_point(algorithm)
        assert decode_point(algorithm, bare) == public
        assert decode_point(algorithm, bytes([4, len(bare)]) + bare) == public


@pytest.mark.parametrize("algorithm", [*CURVES, KeyAlgorithm.ED25519])
def test_a_point_of_another_length_is_refused(algorithm: KeyAlgorithm) -> None:
    """Cut, padded, compressed, in another tag, or empty: a key that is not whole is no key."""
    bare, _ = a_point(algorithm)
    der = bytes([4, len(bare)]) + bare
    for wrong in (
        b"",
        bare[:-1],
        bare + b"\0",
        der[:-1],
        der + b"\0",
        b"\x03" + der[1:],
        b"\x04\x05" + bare,
        der + der,
    ):
        with pytest.raises(HsmUnsupported, match="bytes for"):
            decode_point(algorithm, wrong)


@pytest.mark.parametrize("algorithm", CURVES)
def test_a_point_off_the_curve_is_refused(algorithm: KeyAlgorithm) -> None:
    """A point that is not on the curve is no public key (SP 800-186)."""
    bare, _ = a_point(algorithm)
    with pytest.raises(HsmUnsupported, match="not on the curve"):
        decode_point(algorithm, bare[:-1] + bytes([bare[-1] ^ 1]))


@pytest.mark.parametrize("algorithm", [None, KeyAlgorithm.AES_256, KeyAlgorithm.RSA_2048])
def test_a_kind_without_points_is_refused(algorithm: KeyAlgorithm | None) -> None:
    """A curve that we do not make, or no curve at all, does not sign here."""
    with pytest.raises(HsmUnsupported, match="cannot sign here"):
        decode_point(algorithm, bytes(65))


def without_public_object(hsm: Hsm, key_id: bytes) -> None:
    """Destroy the public object of a pair."""

    def work(session: TokenSession) -> None:
        session.get(key_id, ObjectClass.PUBLIC_KEY).destroy()

    hsm.sessions.run(Lane.KEYGEN, work)
    hsm.sessions.forget_handles()


def test_an_rsa_key_without_its_public_object_still_serves(hsm: Hsm) -> None:
    """A private RSA key tells modulus and exponent itself."""
    key_id = hsm.generate_key(KeyAlgorithm.RSA_2048, "ca")
    whole = hsm.sessions.run(Lane.ISSUE, lambda session: read_public_key(session, key_id))
    without_public_object(hsm, key_id)
    key = hsm.signing_key(key_id)
    assert isinstance(key, TokenRSAKey)
    assert key.public_key() == whole


def test_an_ec_key_without_its_public_object_is_told_as_such(hsm: Hsm) -> None:
    """A private EC key need not tell its point; then it cannot serve, and says so."""
    key_id = hsm.generate_key(KeyAlgorithm.EC_P256, "ca")
    without_public_object(hsm, key_id)
    with pytest.raises(HsmUnsupported, match="0 bytes for ec-p256"):
        hsm.signing_key(key_id)


def test_a_lone_public_key_is_no_signing_key(hsm: Hsm) -> None:
    """What has no private half in the token is not found."""
    key_id = hsm.generate_key(KeyAlgorithm.EC_P256, "ca")

    def work(session: TokenSession) -> None:
        session.get(key_id, ObjectClass.PRIVATE_KEY).destroy()

    hsm.sessions.run(Lane.KEYGEN, work)
    hsm.sessions.forget_handles()
    with pytest.raises(HsmKeyNotFound):
        hsm.signing_key(key_id)


def test_an_rsa_key_that_does_not_tell_its_exponent_is_told_as_such(hsm: Hsm) -> None:
    """CKA_PUBLIC_EXPONENT of a private key is optional in PKCS#11: HsmUnsupported, no KeyError."""
    key_id = hsm.generate_key(KeyAlgorithm.RSA_2048, "ca")
    without_public_object(hsm, key_id)

    def work(session: TokenSession) -> None:
        session.handles[key_id, ObjectClass.PUBLIC_KEY] = Silent(session.get(key_id, ObjectClass.PRIVATE_KEY))  # type: ignore[assignment]
        read_public_key(session, key_id)

    class Silent:
        """A key of a token that tells the modulus alone."""

        def __init__(self, key: object) -> None:
            self.key = key

        def get_attributes(self, wanted: list[Attribute]) -> dict[Attribute, object]:
            """Read all but the exponent."""
            read: dict[Attribute, object] = self.key.get_attributes(wanted)  # type: ignore[attr-defined]
            return {name: value for name, value in read.items() if name != Attribute.PUBLIC_EXPONENT}

    with pytest.raises(HsmUnsupported, match="whole RSA public key"):
        hsm.sessions.run(Lane.ISSUE, work)
