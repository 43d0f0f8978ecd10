"""How each kind of CA key signs: one exact algorithm for each, by the name that the ledger keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from hsm.keys import TokenECKey, TokenEd25519Key, TokenKey, TokenRSAKey
from pki.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Scheme:
    """A signature algorithm: `identifier` is the DER of its AlgorithmIdentifier (RFC 5758 3.2, RFC 8410 3)."""

    name: str
    identifier: bytes
    digest: hashes.HashAlgorithm | None


_SHA256_ECDSA = Scheme("ecdsa-with-SHA256", bytes.fromhex("300a06082a8648ce3d040302"), hashes.SHA256())
_SHA384_ECDSA = Scheme("ecdsa-with-SHA384", bytes.fromhex("300a06082a8648ce3d040303"), hashes.SHA384())
_SHA256_RSA = Scheme("sha256WithRSAEncryption", bytes.fromhex("300d06092a864886f70d01010b0500"), hashes.SHA256())
_ED25519 = Scheme("Ed25519", bytes.fromhex("300506032b6570"), None)
SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {scheme.name: scheme for scheme in (_SHA256_ECDSA, _SHA384_ECDSA, _SHA256_RSA, _ED25519)}
)


def scheme_of(public_key: object) -> Scheme:
    """Return the algorithm by which a CA with this public key signs.

    Raises:
        Misconfigured: no CA key of this kind is used here.
    """
    if isinstance(public_key, rsa.RSAPublicKey):
        return _SHA256_RSA
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return _ED25519
    if isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in {"secp256r1", "secp384r1"}:
        return _SHA256_ECDSA if public_key.curve.name == "secp256r1" else _SHA384_ECDSA
    raise Misconfigured("no CA signs with a key of this kind", advice="use RSA, P-256, P-384 or Ed25519")


def sign(key: TokenKey, message: bytes) -> bytes:
    """Sign in the token by the key's own scheme; the signature is verified there before it is released.

    Raises:
        HsmError: the HSM does not serve, or signed wrongly.
    """
    scheme = scheme_of(key.public_key())
    if isinstance(key, TokenRSAKey) and scheme.digest is not None:
        return key.sign(message, padding.PKCS1v15(), scheme.digest)
    if isinstance(key, TokenECKey) and scheme.digest is not None:
        return key.sign(message, ec.ECDSA(scheme.digest))
    if isinstance(key, TokenEd25519Key):
        return key.sign(message)
    raise Misconfigured("no CA signs with a key of this kind", advice="use RSA, P-256, P-384 or Ed25519")


def verify_signature(public_key: object, signature: bytes, message: bytes) -> None:
    """Verify what a CA key with this public half signed by its own scheme.

    Raises:
        InvalidSignature: it is not the key's, or not over `message`.
        Misconfigured: no CA key of this kind is used here.
    """
    digest = scheme_of(public_key).digest
    if isinstance(public_key, rsa.RSAPublicKey) and digest is not None:
        public_key.verify(signature, message, padding.PKCS1v15(), digest)
    elif isinstance(public_key, ec.EllipticCurvePublicKey) and digest is not None:
        public_key.verify(signature, message, ec.ECDSA(digest))
    elif isinstance(public_key, ed25519.Ed25519PublicKey):
        public_key.verify(signature, message)


def placeholder(public_key: object) -> bytes:
    """Return octets of a signature's form, for a certificate that is linted before it is signed."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return bytes((public_key.key_size + 7) // 8)
    return bytes(64) if isinstance(public_key, ed25519.Ed25519PublicKey) else encode_dss_signature(1, 1)
