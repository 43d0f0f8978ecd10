"""Explicit attributes for every key: what is not asked for by name, tokens decide, each in its own way.

NSS defaults to CKA_EXTRACTABLE true, SoftHSM to CKA_DECRYPT and CKA_UNWRAP true. So each flag is set, and read back.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pkcs11.attributes import AttributeMapper
from pkcs11.constants import Attribute, MechanismFlag, ObjectClass

from hsm.algorithms import EC_PARAMS, RSA_BITS, KeyAlgorithm

Template = dict[Attribute, Any]

PRIVATE_USES = (Attribute.SIGN, Attribute.SIGN_RECOVER, Attribute.DECRYPT, Attribute.UNWRAP, Attribute.DERIVE)
PUBLIC_USES = (Attribute.VERIFY, Attribute.VERIFY_RECOVER, Attribute.ENCRYPT, Attribute.WRAP, Attribute.DERIVE)
SECRET_USES = (
    Attribute.ENCRYPT,
    Attribute.DECRYPT,
    Attribute.SIGN,
    Attribute.VERIFY,
    Attribute.WRAP,
    Attribute.UNWRAP,
    Attribute.DERIVE,
)

# What a key generated in the token under our template must say of itself afterwards.
KEPT_IN_TOKEN: Mapping[Attribute, bool] = MappingProxyType(
    {
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.ALWAYS_SENSITIVE: True,
        Attribute.NEVER_EXTRACTABLE: True,
        Attribute.LOCAL: True,
    }
)


class Mapper(AttributeMapper):
    """Sends our templates and nothing else, and reads foreign objects without stumbling."""

    def __init__(self) -> None:
        super().__init__()
        number = self.attribute_types[Attribute.VALUE_LEN]
        self.register_handler(Attribute.KEY_TYPE, number[0], lambda value: number[1](value) if value else -1)
        text = self.attribute_types[Attribute.LABEL]
        self.register_handler(Attribute.LABEL, text[0], lambda value: value.decode("utf-8", "replace"))

    def public_key_template(
        self, *, capabilities: MechanismFlag | int, id_: bytes | None, label: str | None, store: bool
    ) -> Template:
        """Start from the class alone; `key_template` gives the rest."""
        del capabilities, id_, label, store
        return {Attribute.CLASS: ObjectClass.PUBLIC_KEY}

    def private_key_template(
        self, *, capabilities: MechanismFlag | int, id_: bytes | None, label: str | None, store: bool
    ) -> Template:
        """Start from the class alone; `key_template` gives the rest."""
        del capabilities, id_, label, store
        return {Attribute.CLASS: ObjectClass.PRIVATE_KEY}

    def secret_key_template(
        self, *, capabilities: MechanismFlag | int, id_: bytes | None, label: str | None, store: bool
    ) -> Template:
        """Start from the class alone; `key_template` gives the rest."""
        del capabilities, id_, label, store
        return {Attribute.CLASS: ObjectClass.SECRET_KEY}


def _flags(all_uses: tuple[Attribute, ...], uses: tuple[Attribute, ...]) -> Template:
    return {use: use in uses for use in all_uses}


def key_template(algorithm: KeyAlgorithm, key_id: bytes, label: str, *, stored: bool = True) -> Template:
    """Return the template of a private or secret key: bound to the token, one use (AES: encrypt and decrypt)."""
    secret = algorithm is KeyAlgorithm.AES_256
    uses = (
        _flags(SECRET_USES, (Attribute.ENCRYPT, Attribute.DECRYPT))
        if secret
        else _flags(PRIVATE_USES, (Attribute.SIGN,))
    )
    return {
        Attribute.ID: key_id,
        Attribute.LABEL: label,
        Attribute.TOKEN: stored,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        **uses,
    }


def public_template(algorithm: KeyAlgorithm, key_id: bytes, label: str, *, stored: bool = True) -> Template:
    """Return the template of the public half: anyone may read it, it verifies and does nothing else."""
    template: Template = {
        Attribute.ID: key_id,
        Attribute.LABEL: label,
        Attribute.TOKEN: stored,
        Attribute.PRIVATE: False,
        **_flags(PUBLIC_USES, (Attribute.VERIFY,)),
    }
    if algorithm in EC_PARAMS:
        template[Attribute.EC_PARAMS] = EC_PARAMS[algorithm]
    if algorithm in RSA_BITS:
        template[Attribute.PUBLIC_EXPONENT] = b"\x01\x00\x01"
        template[Attribute.MODULUS_BITS] = RSA_BITS[algorithm]
    return template
