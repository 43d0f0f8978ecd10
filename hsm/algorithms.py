"""The kinds of key this room makes, with their PKCS#11 parameters."""

import enum
from collections.abc import Mapping
from types import MappingProxyType

from pkcs11.mechanisms import KeyType


class KeyAlgorithm(enum.StrEnum):
    """A key's algorithm and size, by the name that configuration and the API use."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"
    ED25519 = "ed25519"
    AES_256 = "aes-256"

    @property
    def key_type(self) -> KeyType:
        """The PKCS#11 key type (CKK_...)."""
        if self in RSA_BITS:
            return KeyType.RSA
        if self is KeyAlgorithm.AES_256:
            return KeyType.AES
        return KeyType.EC_EDWARDS if self is KeyAlgorithm.ED25519 else KeyType.EC


RSA_BITS: Mapping[KeyAlgorithm, int] = MappingProxyType(
    {KeyAlgorithm.RSA_2048: 2048, KeyAlgorithm.RSA_3072: 3072, KeyAlgorithm.RSA_4096: 4096}
)

# CKA_EC_PARAMS: the DER of the curve's object identifier (RFC 5480 section 2.1.1.1, RFC 8410 section 3).
EC_PARAMS: Mapping[KeyAlgorithm, bytes] = MappingProxyType(
    {
        KeyAlgorithm.EC_P256: bytes.fromhex("06082a8648ce3d030107"),
        KeyAlgorithm.EC_P384: bytes.fromhex("06052b81040022"),
        KeyAlgorithm.ED25519: bytes.fromhex("06032b6570"),
    }
)

# Tokens may name the Edwards curve by a PrintableString instead (PKCS#11 v3.0, 2.3.5).
ED25519_NAMES = (EC_PARAMS[KeyAlgorithm.ED25519], bytes.fromhex("130c") + b"edwards25519")


def algorithm_of(key_type: int, *, bits: int = 0, ec_params: bytes = b"") -> KeyAlgorithm | None:
    """Return the algorithm of a key by its PKCS#11 type, size in bits and CKA_EC_PARAMS, or None when it is foreign."""
    if key_type == KeyType.RSA:
        return next((name for name, size in RSA_BITS.items() if size == bits), None)
    if key_type == KeyType.AES:
        return KeyAlgorithm.AES_256 if bits == 256 else None  # noqa: PLR2004
    if ec_params in ED25519_NAMES:
        return KeyAlgorithm.ED25519
    return next((name for name, params in EC_PARAMS.items() if params == ec_params), None)
