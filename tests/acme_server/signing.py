"""Signed requests as a client makes them, and as no client should: any header, any members, any signature."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

URL = "https://ca.example/acme/server/new-account"
NONCE = "bm9uY2U"
_CURVES = {"secp256r1": ("P-256", "ES256"), "secp384r1": ("P-384", "ES384"), "secp521r1": ("P-521", "ES512")}
_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


def b64(octets: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def dump(value: object) -> bytes:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def algorithm_of(key: Key) -> str:
    """Return the algorithm that goes with the key."""
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256"
    return _CURVES[key.curve.name][1] if isinstance(key, ec.EllipticCurvePrivateKey) else "EdDSA"


def jwk_of(key: Key) -> dict[str, Any]:
    """Return the public JWK."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {
            "kty": "RSA",
            "n": b64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8)),
            "e": b64(numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8)),
        }
    if isinstance(key, ec.EllipticCurvePrivateKey):
        point, length = key.public_key().public_numbers(), (key.curve.key_size + 7) // 8
        crv = _CURVES[key.curve.name][0]
        return {"kty": "EC", "crv": crv, "x": b64(point.x.to_bytes(length)), "y": b64(point.y.to_bytes(length))}
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key().public_bytes_raw())}


def raw_signature(key: Key, signing_input: bytes) -> bytes:
    """Return the signature as RFC 7518 and RFC 8037 write it."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signing_input, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        length = (key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(key.sign(signing_input, ec.ECDSA(_HASHES[key.curve.name])))
        return r.to_bytes(length) + s.to_bytes(length)
    return key.sign(signing_input)


def header_of(key: Key, **changes: object) -> dict[str, Any]:
    """Return a right header for the key, with changes; a change to None removes the parameter."""
    header = {"alg": algorithm_of(key), "nonce": NONCE, "url": URL, "jwk": jwk_of(key), **changes}
    return {name: value for name, value in header.items() if value is not None}


def sign(key: Key, header: Mapping[str, Any] | bytes, payload: bytes = b"{}") -> dict[str, Any]:
    """Return a flattened JWS over any header."""
    protected = b64(header if isinstance(header, bytes) else dump(header))
    text = b64(payload)
    return {
        "protected": protected,
        "payload": text,
        "signature": b64(raw_signature(key, f"{protected}.{text}".encode())),
    }
