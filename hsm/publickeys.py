"""The public half of a token's key, as cryptography's public-key objects."""

from collections.abc import Mapping
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pkcs11.constants import Attribute, ObjectClass

from hsm.algorithms import KeyAlgorithm, algorithm_of
from hsm.errors import HsmUnsupported
from hsm.sessions import TokenSession

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

_OCTET_STRING = 0x04
_CURVES: Mapping[KeyAlgorithm, ec.EllipticCurve] = MappingProxyType(
    {KeyAlgorithm.EC_P256: ec.SECP256R1(), KeyAlgorithm.EC_P384: ec.SECP384R1()}
)
_POINT_SIZES: Mapping[KeyAlgorithm, int] = MappingProxyType(
    {KeyAlgorithm.EC_P256: 65, KeyAlgorithm.EC_P384: 97, KeyAlgorithm.ED25519: 32}
)


def read_public_key(session: TokenSession, key_id: bytes) -> PublicKey:
    """Read the public half of a key pair. Raises HsmKeyNotFound, or HsmUnsupported for a foreign kind of key."""
    private = session.get(key_id, ObjectClass.PRIVATE_KEY)
    public = session.find(key_id, ObjectClass.PUBLIC_KEY)
    # Certificates live outside tokens, so an RSA key stripped of its public object still serves.
    holder = public if public is not None else private
    read = holder.get_attributes(
        [Attribute.KEY_TYPE, Attribute.MODULUS, Attribute.PUBLIC_EXPONENT, Attribute.EC_PARAMS, Attribute.EC_POINT]
    )
    modulus = int.from_bytes(read.get(Attribute.MODULUS, b""))
    algorithm = algorithm_of(
        read.get(Attribute.KEY_TYPE, -1), bits=modulus.bit_length(), ec_params=read.get(Attribute.EC_PARAMS, b"")
    )
    if modulus and algorithm is not None:
        return _rsa(int.from_bytes(read.get(Attribute.PUBLIC_EXPONENT, b"")), modulus)
    return decode_point(algorithm, read.get(Attribute.EC_POINT, b""))


def _rsa(exponent: int, modulus: int) -> rsa.RSAPublicKey:
    try:
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        # A private key need not tell its public exponent.
        raise HsmUnsupported("the token does not tell a whole RSA public key") from error


def decode_point(algorithm: KeyAlgorithm | None, point: bytes) -> PublicKey:
    """Turn a CKA_EC_POINT into a public key: PKCS#11 says a DER OCTET STRING, some tokens give its bare content.

    The two cannot be confused: each curve's point has one length. Raises HsmUnsupported.
    """
    size = _POINT_SIZES.get(algorithm) if algorithm else None
    if algorithm is None or size is None:
        raise HsmUnsupported("the key is of a kind that cannot sign here")
    if len(point) == size + 2 and point[0] == _OCTET_STRING and point[1] == size:
        point = point[2:]
    if len(point) != size:
        raise HsmUnsupported(f"the token gave a public key of {len(point)} bytes for {algorithm}")
    try:
        if algorithm is KeyAlgorithm.ED25519:
            return ed25519.Ed25519PublicKey.from_public_bytes(point)
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[algorithm], point)
    except ValueError as error:
        raise HsmUnsupported(f"the token gave a public key that is not on the curve of {algorithm}") from error
