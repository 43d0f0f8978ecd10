"""Account keys: JSON Web Keys (RFC 7517, 7518, 8037) read strictly, and their thumbprints (RFC 7638).

The members are read here, since josepy takes symmetric keys, short RSA keys and private keys from a client. What is
accepted then becomes josepy's object, which gives the canonical form and the thumbprint. Ed25519, which josepy does
not know, has its own.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from josepy.jwk import JWK, JWKEC, JWKRSA

from acme_server.encoding import decode_base64url, encode_base64url
from acme_server.problems import Problem, ProblemType, malformed

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

RSA_MINIMUM_BITS = 2048
RSA_MAXIMUM_BITS = 8192
_RSA_MINIMUM_EXPONENT = 65537
_RSA_EXPONENT_OCTETS = 8
_ED25519_OCTETS = 32
_ED25519_FIELD = 2**255 - 19
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_CACHE_SIZE = 4096
_CURVES: Mapping[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}

_LOW_ORDER_Y = frozenset(
    {
        0,
        1,
        _ED25519_FIELD - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    }
)
"""The y coordinates of the points of order 1, 2, 4 and 8: under such a key anybody can sign anything."""


@dataclass(frozen=True, slots=True)
class AccountKey:
    """A public key, its JWK with the required members only, and its SHA-256 thumbprint in base64url."""

    public_key: PublicKey
    jwk: Mapping[str, str]
    thumbprint: str

    @property
    def text(self) -> str:
        """The JWK in its canonical form (RFC 7638 3.1), as it is stored."""
        return _canonical_text(self.jwk)


def _refused(detail: str) -> Problem:
    return Problem(ProblemType.BAD_PUBLIC_KEY, detail)


def _octets(jwk: Mapping[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str) or not value:
        raise malformed(f"the jwk must have a member {name}, which is text")
    return decode_base64url(value, f"the jwk's member {name}")


def _number(jwk: Mapping[str, Any], name: str, limit: int) -> int:
    octets = _octets(jwk, name)
    if octets[0] == 0:
        raise malformed(f"the jwk's member {name} begins with a zero octet (RFC 7518 2)")
    if len(octets) > limit:
        raise _refused(f"the key's {name} is longer than {limit} octets")
    return int.from_bytes(octets)


def _from_josepy(key: JWK, public_key: PublicKey) -> AccountKey:
    canonical = {name: str(value) for name, value in sorted(key.to_json().items())}
    return AccountKey(public_key, canonical, encode_base64url(key.thumbprint()))


def _load_rsa(jwk: Mapping[str, Any]) -> AccountKey:
    n = _number(jwk, "n", RSA_MAXIMUM_BITS // 8)
    e = _number(jwk, "e", _RSA_EXPONENT_OCTETS)
    if n.bit_length() < RSA_MINIMUM_BITS:
        raise _refused(f"the RSA key has {n.bit_length()} bits; use {RSA_MINIMUM_BITS} to {RSA_MAXIMUM_BITS}")
    if e < _RSA_MINIMUM_EXPONENT or e % 2 == 0 or n % 2 == 0:
        raise _refused(f"the RSA key's exponent must be odd and {_RSA_MINIMUM_EXPONENT} at least, its modulus odd")
    try:
        public_key = rsa.RSAPublicNumbers(e, n).public_key()
    except ValueError:
        raise _refused("the RSA key is not valid") from None
    return _from_josepy(JWKRSA(key=public_key), public_key)


def _load_ec(jwk: Mapping[str, Any]) -> AccountKey:
    curve = _CURVES.get(_curve_name(jwk))
    if curve is None:
        raise _refused("the EC key's curve is not one of " + ", ".join(_CURVES))
    x, y = _octets(jwk, "x"), _octets(jwk, "y")
    length = (curve.key_size + 7) // 8
    if len(x) != length or len(y) != length:
        raise malformed(f"the jwk's members x and y must have {length} octets (RFC 7518 6.2.1.2)")
    try:
        public_key = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()
    except ValueError:
        raise _refused("the EC key is not a point on its curve") from None
    return _from_josepy(JWKEC(key=public_key), public_key)


def _load_okp(jwk: Mapping[str, Any]) -> AccountKey:
    if _curve_name(jwk) != "Ed25519":
        raise _refused("the OKP key's curve is not Ed25519")
    x = _octets(jwk, "x")
    if len(x) != _ED25519_OCTETS:
        raise malformed(f"the jwk's member x must have {_ED25519_OCTETS} octets (RFC 8037 2)")
    y = int.from_bytes(x, "little") & (2**255 - 1)
    if y >= _ED25519_FIELD or y in _LOW_ORDER_Y:
        raise _refused("the Ed25519 key is not a point of full order in its canonical form")
    return _from_ed25519(ed25519.Ed25519PublicKey.from_public_bytes(x))


def _from_ed25519(public_key: ed25519.Ed25519PublicKey) -> AccountKey:
    canonical = {"crv": "Ed25519", "kty": "OKP", "x": encode_base64url(public_key.public_bytes_raw())}
    digest = hashlib.sha256(_canonical_text(canonical).encode()).digest()
    return AccountKey(public_key, canonical, encode_base64url(digest))


def _canonical_text(jwk: Mapping[str, str]) -> str:
    return json.dumps(dict(jwk), separators=(",", ":"), sort_keys=True)


def _curve_name(jwk: Mapping[str, Any]) -> str:
    name = jwk.get("crv")
    if not isinstance(name, str):
        raise malformed("the jwk must have a member crv, which is text")
    return name


_LOADERS: Mapping[str, Callable[[Mapping[str, Any]], AccountKey]] = {"RSA": _load_rsa, "EC": _load_ec, "OKP": _load_okp}


def load_jwk(jwk: Mapping[str, Any]) -> AccountKey:
    """Return the account key that `jwk` describes: RSA of 2048 to 8192 bits, EC P-256, P-384, P-521, or Ed25519.

    Members that RFC 7638 does not require (`alg`, `use`, `kid`, ...) are ignored and dropped.

    Raises:
        Problem: malformed when a member is missing or not in its one encoding; badPublicKey when the key is of
            another kind, weak, not on its curve, or comes with private members.
    """
    kty = jwk.get("kty")
    if not isinstance(kty, str):
        raise malformed("the jwk must have a member kty, which is text")
    if not _PRIVATE_MEMBERS.isdisjoint(jwk):
        raise _refused("the jwk holds a secret or private key; make a new key and send its public members only")
    loader = _LOADERS.get(kty)
    if loader is None:
        raise _refused("the key's type is not one of " + ", ".join(_LOADERS))
    return loader(jwk)


def thumbprint_of(public_key: object) -> str | None:
    """Return the thumbprint that a key has as an account key, or None for a kind of key that is never one."""
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return _from_ed25519(public_key).thumbprint
    if isinstance(public_key, rsa.RSAPublicKey):
        return encode_base64url(JWKRSA(key=public_key).thumbprint())
    if isinstance(public_key, ec.EllipticCurvePublicKey) and any(
        public_key.curve.name == curve.name for curve in _CURVES.values()
    ):
        return encode_base64url(JWKEC(key=public_key).thumbprint())
    return None


class KnownKeys:
    """Account keys as they are stored, each loaded once a process: loading costs as much as a signature check."""

    def __init__(self) -> None:
        self._load = functools.lru_cache(_CACHE_SIZE)(lambda text: load_jwk(json.loads(text)))

    def get(self, text: str) -> AccountKey:
        """Return the key whose stored form is `text`."""
        return self._load(text)
