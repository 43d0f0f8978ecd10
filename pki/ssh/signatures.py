"""How each kind of CA key signs an SSH certificate: one exact algorithm for each."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from hsm.keys import TokenECKey, TokenEd25519Key, TokenKey, TokenRSAKey
from pki.errors import Misconfigured
from pki.ssh.encoding import mpint, string

_DIGESTS = {"secp256r1": ("nistp256", hashes.SHA256()), "secp384r1": ("nistp384", hashes.SHA384())}


def sign(key: TokenKey, message: bytes) -> bytes:
    """Sign in the token and return the signature as SSH writes it; it is verified before the key releases it.

    Ed25519 (RFC 8709 6), ECDSA with the curve's own hash (RFC 5656 3.1.2), and for RSA rsa-sha2-512 alone (RFC 8332
    3): never ssh-rsa, which is SHA-1.

    Raises:
        HsmError: the HSM does not serve, or signed wrongly.
        Misconfigured: no SSH CA has a key of this kind.
    """
    if isinstance(key, TokenEd25519Key):
        return string(b"ssh-ed25519") + string(key.sign(message))
    if isinstance(key, TokenRSAKey):
        return string(b"rsa-sha2-512") + string(key.sign(message, padding.PKCS1v15(), hashes.SHA512()))
    if isinstance(key, TokenECKey) and key.curve.name in _DIGESTS:
        name, digest = _DIGESTS[key.curve.name]
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
        return string(b"ecdsa-sha2-" + name.encode()) + string(mpint(r) + mpint(s))
    raise Misconfigured("no SSH CA has a key of this kind", advice="use Ed25519, P-256, P-384 or RSA")
