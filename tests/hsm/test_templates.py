"""Templates: every flag is set by name, so that no token's default decides."""

import pytest
from pkcs11.constants import Attribute, ObjectClass

from hsm import KeyAlgorithm
from hsm.algorithms import EC_PARAMS, RSA_BITS, algorithm_of
from hsm.templates import PRIVATE_USES, PUBLIC_USES, SECRET_USES, Mapper, key_template, public_template

KEY_ID = bytes(16)


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_key_template_binds_the_key_to_the_token(algorithm: KeyAlgorithm) -> None:
    """K1: in the token, private, sensitive, not extractable; every use is named, and only its own is allowed."""
    template = key_template(algorithm, KEY_ID, "ca")
    assert {name: template[name] for name in (Attribute.TOKEN, Attribute.PRIVATE, Attribute.SENSITIVE)} == {
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
    }
    assert template[Attribute.EXTRACTABLE] is False
    secret = algorithm is KeyAlgorithm.AES_256
    allowed = {Attribute.ENCRYPT, Attribute.DECRYPT} if secret else {Attribute.SIGN}
    uses = SECRET_USES if secret else PRIVATE_USES
    assert {use for use in uses if template[use]} == allowed
    assert Attribute.WRAP not in template or template[Attribute.WRAP] is False
    assert template[Attribute.UNWRAP] is False


@pytest.mark.parametrize("algorithm", [item for item in KeyAlgorithm if item is not KeyAlgorithm.AES_256])
def test_a_public_template_verifies_and_nothing_else(algorithm: KeyAlgorithm) -> None:
    """K1: the public half encrypts nothing and wraps nothing; its size or curve is the one asked for."""
    template = public_template(algorithm, KEY_ID, "ca")
    assert {use for use in PUBLIC_USES if template[use]} == {Attribute.VERIFY}
    assert template.get(Attribute.MODULUS_BITS) == RSA_BITS.get(algorithm)
    assert template.get(Attribute.EC_PARAMS) == EC_PARAMS.get(algorithm)


def test_the_mapper_adds_nothing_to_a_template() -> None:
    """What python-pkcs11 would add by default (CKA_ENCRYPT, CKA_WRAP) some tokens refuse, others grant."""
    mapper = Mapper()
    for make, kind in (
        (mapper.public_key_template, ObjectClass.PUBLIC_KEY),
        (mapper.private_key_template, ObjectClass.PRIVATE_KEY),
        (mapper.secret_key_template, ObjectClass.SECRET_KEY),
    ):
        assert make(capabilities=0, id_=None, label=None, store=True) == {Attribute.CLASS: kind}


def test_the_mapper_reads_foreign_objects_without_stumbling() -> None:
    """A label that is no UTF-8, a vendor's own key type and an empty one are read, for the doctor looks at all keys."""
    mapper = Mapper()
    assert mapper.unpack_attributes(Attribute.LABEL, b"caf\xe9") == "caf\N{REPLACEMENT CHARACTER}"
    assert mapper.unpack_attributes(Attribute.KEY_TYPE, (0x80000001).to_bytes(8, "little")) == 0x80000001
    assert mapper.unpack_attributes(Attribute.KEY_TYPE, b"") == -1


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_an_algorithm_is_known_by_its_parameters(algorithm: KeyAlgorithm) -> None:
    """Type, size and curve lead back to the algorithm; any other size or curve is foreign."""
    bits, curve = RSA_BITS.get(algorithm, 256), EC_PARAMS.get(algorithm, b"")
    assert algorithm_of(algorithm.key_type, bits=bits, ec_params=curve) is algorithm
    assert algorithm_of(algorithm.key_type, bits=1024, ec_params=bytes.fromhex("06052b8104000a")) is None


def test_the_edwards_curve_has_two_names() -> None:
    """PKCS#11 v3.0, 2.3.5: CKA_EC_PARAMS of Ed25519 may be a PrintableString."""
    named = algorithm_of(KeyAlgorithm.ED25519.key_type, ec_params=b"\x13\x0cedwards25519")
    assert named is KeyAlgorithm.ED25519
