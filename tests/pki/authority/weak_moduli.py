"""RSA moduli with known weaknesses, made anew so that nobody's key stands here."""

import functools
import math
import secrets

_SMALL = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107)
_ROCA_PRIMES = (2, *_SMALL, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167)
_ROUNDS = 8


def is_prime(number: int) -> bool:
    """Tell whether a large odd number is (almost certainly) prime: Miller and Rabin's test."""
    if math.gcd(number, math.prod(_SMALL)) != 1:
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(_ROUNDS):
        power = pow(secrets.randbelow(number - 3) + 2, odd, number)
        if power in {1, number - 1}:
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def next_prime(number: int) -> int:
    """Return the first prime from `number` on."""
    number |= 1
    while not is_prime(number):
        number += 2
    return number


def _prime(bits: int) -> int:
    return next_prime(secrets.randbits(bits) | 3 << (bits - 2))


@functools.cache
def sound_modulus() -> int:
    """Return a modulus of 2048 bits without a known weakness."""
    return _prime(1024) * _prime(1024)


def _roca_prime() -> int:
    """Return a prime as the faulty library made them: k * M + (65537^a mod M)."""
    product = math.prod(_ROCA_PRIMES)
    least, limit = (3 << 1022) // product, (1 << 1024) // product
    while True:
        number = (least + secrets.randbelow(limit - least)) * product + pow(65537, secrets.randbits(64), product)
        if is_prime(number):
            return number


@functools.cache
def roca_modulus() -> int:
    """Return a modulus of 2048 bits with the fingerprint of CVE-2017-15361."""
    while True:
        modulus = _roca_prime() * _roca_prime()
        if modulus.bit_length() == 2048:
            return modulus


@functools.cache
def close_primes() -> int:
    """Return a modulus of 2048 bits whose primes are neighbours (CVE-2022-26320)."""
    first = _prime(1024)
    return first * next_prime(first + 2)


@functools.cache
def small_factor() -> int:
    """Return a modulus of 2048 bits that 32749, the largest prime looked for, divides."""
    first = _prime(1024)
    return 32749 * first * next_prime((3 << 2046) // 32749 // first)
