"""Public keys that are not certified, because what is known of them lets others find the private key (X4).

The rules are those of the CA/Browser Forum's baseline requirements 6.1.1.3 and Boulder's `goodkey`. Known gap: keys
made by Debian's OpenSSL of 2006 to 2008 (CVE-2008-0166) are not recognised, since no package in reach carries their
full list; a list of blocked keys by SPKI digest, which the issuance gate asks anyway, is the place for them.
"""

import functools
import math
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pki.errors import Rejected

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
"""The kinds of public keys that are certified."""

_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_RSA_LEAST, _RSA_MOST = 2048, 8192
_EXPONENT_LEAST, _EXPONENT_LIMIT = 65537, 1 << 256
_FERMAT_ROUNDS = 100
_REMEMBERED = 1024
_ADVICE = "make a new key: P-256, P-384, Ed25519 or RSA of 2048 to 8192 bits"


def _primes_below(limit: int) -> list[int]:
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\0\0"
    for number in range(2, math.isqrt(limit) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return [number for number in range(limit) if sieve[number]]


def _powers(base: int, modulus: int) -> frozenset[int]:
    found, power = set(), 1
    while power not in found:
        found.add(power)
        power = power * base % modulus
    return frozenset(found)


_SMALL_PRIMES = _primes_below(1 << 15)
_PRIMORIAL = math.prod(math.prod(_SMALL_PRIMES[start::64]) for start in range(64))

# Infineon's library (CVE-2017-15361) made primes k * M + (65537^a mod M), M the product of the first primes. So the
# modulus is a power of 65537 modulo each of them; for another modulus the chance of that is about 2^-28.
_ROCA = tuple((prime, _powers(65537, prime)) for prime in _SMALL_PRIMES if 2 < prime <= 167)  # noqa: PLR2004
_ROCA_PRODUCT = math.prod(prime for prime, _ in _ROCA)

_SQUARES_64 = frozenset(number * number % 64 for number in range(64))
_SQUARES_5005 = frozenset(number * number % 5005 for number in range(5005))

_P25519 = 2**255 - 19
_D25519 = -121665 * pow(121666, -1, _P25519) % _P25519
_SIGN_BIT = 1 << 255
_LOW_ORDER_8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
_LOW_ORDER = frozenset({0, 1, _P25519 - 1, _LOW_ORDER_8, _P25519 - _LOW_ORDER_8})
"""The y coordinates of the eight points whose order divides 8 (RFC 7748 7, RFC 8032 5.1)."""


def check_key(public_key: object) -> PublicKey:
    """Return the key, unless it is of a kind that is not certified or has a known weakness.

    That a key's point is on its curve was checked when it was loaded (elliptic curves) or is here (Ed25519).

    Raises:
        Rejected: weakKey.
    """
    if isinstance(public_key, rsa.RSAPublicKey):
        numbers = public_key.public_numbers()
        fault = _rsa_fault(numbers.n, numbers.e)
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        fault = None if public_key.curve.name in _CURVES else f"the curve {public_key.curve.name} is not used here"
    elif isinstance(public_key, ed25519.Ed25519PublicKey):
        fault = _ed25519_fault(public_key.public_bytes_raw())
    else:
        raise Rejected("keys of this kind are not certified", "weakKey", advice=_ADVICE)
    if fault is not None:
        raise Rejected(fault, "weakKey", advice=_ADVICE)
    return public_key


@functools.lru_cache(maxsize=_REMEMBERED)
def _rsa_fault(modulus: int, exponent: int) -> str | None:
    size = modulus.bit_length()
    if not _RSA_LEAST <= size <= _RSA_MOST or size % 8:
        return f"the RSA key has {size} bits"
    if exponent % 2 == 0 or not _EXPONENT_LEAST <= exponent < _EXPONENT_LIMIT:
        return "the RSA key's public exponent is even, less than 65537 or more than 256 bits long"
    if math.gcd(modulus, _PRIMORIAL % modulus) != 1:
        return "the RSA key's modulus has a small factor"
    if _has_roca_fingerprint(modulus):
        return "the RSA key was made by a faulty chip library (ROCA, CVE-2017-15361)"
    if _has_close_factors(modulus):
        return "the RSA key's primes are too close to each other"
    return None


def _has_roca_fingerprint(modulus: int) -> bool:
    rest = modulus % _ROCA_PRODUCT
    return all(rest % prime in powers for prime, powers in _ROCA)


def _has_close_factors(modulus: int) -> bool:
    """Tell whether Fermat's method factors the modulus in a few rounds (CVE-2022-26320)."""
    middle = math.isqrt(modulus)
    if middle * middle == modulus:
        return True
    middle += 1
    rest = middle * middle - modulus
    for _ in range(_FERMAT_ROUNDS):
        if rest % 64 in _SQUARES_64 and rest % 5005 in _SQUARES_5005 and math.isqrt(rest) ** 2 == rest:
            return True
        rest += 2 * middle + 1
        middle += 1
    return False


@functools.lru_cache(maxsize=_REMEMBERED)
def _ed25519_fault(point: bytes) -> str | None:
    """Say what is wrong with an encoded point; the library takes any 32 octets (RFC 8032 5.1.3)."""
    y = int.from_bytes(point, "little") % _SIGN_BIT
    if y >= _P25519:
        return "the Ed25519 key is not in its canonical encoding"
    if y in _LOW_ORDER:
        return "the Ed25519 key is a point of low order"
    # x^2 = (y^2 - 1) / (d y^2 + 1); a quotient is a square where the product of both is.
    product = (y * y - 1) * (_D25519 * y * y + 1)
    if pow(product, (_P25519 - 1) // 2, _P25519) != 1:
        return "the Ed25519 key is no point of its curve"
    return None
