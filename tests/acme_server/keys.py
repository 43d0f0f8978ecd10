"""One key of each kind, made once for a test run."""

import functools

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.acme_server.signing import Key

KINDS = ("rsa", "p256", "p384", "p521", "ed25519")


@functools.cache
def key(kind: str) -> Key:
    """Return the key of that kind."""
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    curves: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
    return ec.generate_private_key(curves[kind])


@functools.cache
def small_rsa(bits: int) -> rsa.RSAPrivateKey:
    """Return an RSA key that is too short."""
    return rsa.generate_private_key(65537, bits)
