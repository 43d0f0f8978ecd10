"""Keys that are not certified (X4, S15)."""

import math

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import load_der_public_key

from pki.errors import Rejected
from pki.ledger.weak_keys import check_key
from tests.counts import count
from tests.pki.authority.certificates import KINDS, key, oid, sequence, spki, tlv
from tests.pki.authority.weak_moduli import close_primes, roca_modulus, small_factor, sound_modulus

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


def _rsa(modulus: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _refusal(public_key: object) -> str:
    with pytest.raises(Rejected) as caught:
        check_key(public_key)
    assert caught.value.code == "weakKey"
    assert caught.value.advice
    return caught.value.message


def _point(y: int, *, sign: bool = False) -> ed25519.Ed25519PublicKey:
    return ed25519.Ed25519PublicKey.from_public_bytes((y | sign << 255).to_bytes(32, "little"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_key_of_each_kind_passes_time_and_again(kind: str) -> None:
    """X4: the check refuses no sound key, and says the same twice."""
    for _ in range(2):
        assert check_key(key(kind).public_key()) == key(kind).public_key()


@pytest.mark.parametrize("size", [2048, 3072, 4096])
def test_rsa_keys_of_each_usual_size_pass(size: int) -> None:
    """S15: 2048 bits or more."""
    found = check_key(rsa.generate_private_key(65537, size).public_key())
    assert isinstance(found, rsa.RSAPublicKey)
    assert found.key_size == size


def test_an_rsa_key_of_8192_bits_passes() -> None:
    """S15: the most that is allowed; a product of known sound ones is as good as a key for that."""
    modulus = 0
    while modulus.bit_length() != 8192:
        modulus = math.prod(rsa.generate_private_key(65537, 4096).public_key().public_numbers().n for _ in range(2))
    assert check_key(_rsa(modulus)) == _rsa(modulus)


@pytest.mark.parametrize("size", [1024, 2040, 2047, 2049, 3071, 8200])
def test_rsa_keys_of_other_sizes_are_refused(size: int) -> None:
    """X4: less than 2048 bits, more than 8192, or not whole octets."""
    assert f"{size} bits" in _refusal(_rsa((1 << size - 1) | (sound_modulus() >> 1100) | 1))


@pytest.mark.parametrize("exponent", [3, 17, 65535, (1 << 256) + 1])
def test_rsa_exponents_out_of_range_are_refused(exponent: int) -> None:
    """X4, BR 6.1.1.3: an exponent is odd, 65537 or more, and of 256 bits at most."""
    assert "exponent" in _refusal(_rsa(sound_modulus(), exponent))


def test_an_even_exponent_is_not_even_loaded() -> None:
    """X4: the library refuses it, so that no key with one comes before the check."""
    with pytest.raises(ValueError, match="odd"):
        _rsa(sound_modulus(), 65538)


def test_a_modulus_with_a_small_factor_is_refused() -> None:
    """X4: all primes below 2^15 are tried."""
    assert "small factor" in _refusal(_rsa(small_factor()))


def test_a_roca_key_is_refused() -> None:
    """X4, CVE-2017-15361: found by the modulus alone."""
    assert "ROCA" in _refusal(_rsa(roca_modulus()))


def test_a_key_of_close_primes_is_refused() -> None:
    """X4, CVE-2022-26320: Fermat's method would factor it at once; the square of a prime too."""
    assert "too close" in _refusal(_rsa(close_primes()))


def test_no_sound_rsa_key_is_taken_for_a_weak_one() -> None:
    """X4: sound keys pass, however many."""
    for _ in range(count(5, 200)):
        public_key = rsa.generate_private_key(65537, 2048).public_key()
        assert check_key(public_key) is public_key


@pytest.mark.parametrize("curve", [ec.SECP224R1(), ec.SECP256K1(), ec.BrainpoolP256R1()], ids=lambda curve: curve.name)
def test_other_curves_are_refused(curve: ec.EllipticCurve) -> None:
    """X4: P-256, P-384 and P-521 alone."""
    assert curve.name in _refusal(ec.derive_private_key(7, curve).public_key())


def test_a_point_off_its_curve_and_the_point_at_infinity_are_not_even_loaded() -> None:
    """X4: the library refuses both, in every encoding."""
    algorithm = sequence(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7"))
    good = spki(key("p256").public_key())
    with pytest.raises(ValueError, match=r".*"):
        load_der_public_key(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ValueError, match=r".*"):
        load_der_public_key(sequence(algorithm, tlv(3, b"\0\0")))
    with pytest.raises(ValueError, match=r".*"):
        load_der_public_key(sequence(algorithm, tlv(3, b"\0\4" + bytes(64))))


def test_a_curve_by_its_parameters_is_not_even_loaded() -> None:
    """X4, CVE-2020-0601: a forged generator would make any key fit."""
    field = sequence(oid("1.2.840.10045.1.1"), tlv(2, b"\0" + bytes.fromhex("ff" * 32)))
    parameters = sequence(
        tlv(2, b"\1"), field, sequence(tlv(4, bytes(32)), tlv(4, bytes(32))), tlv(4, b"\4" + bytes(64))
    )
    algorithm = sequence(oid("1.2.840.10045.2.1"), parameters)
    with pytest.raises((ValueError, UnsupportedAlgorithm)):
        load_der_public_key(sequence(algorithm, spki(key("p256").public_key())[-68:]))


def _doubled(point: tuple[int, int]) -> tuple[int, int]:
    x, y = point
    product = D * x * x * y * y
    return 2 * x * y * pow(1 + product, -1, P) % P, (y * y + x * x) * pow(1 - product, -1, P) % P


def test_the_points_of_low_order_are_refused() -> None:
    """X4, RFC 7748 7: with one of them as its key anybody's signature verifies."""
    eight = int.from_bytes(ORDER_8, "little")
    for y in (0, 1, P - 1, eight, P - eight):
        for sign in (False, True):
            assert "low order" in _refusal(_point(y, sign=sign))


def test_the_listed_point_of_order_eight_has_that_order() -> None:
    """X4: three doublings lead to the neutral point, two do not."""
    y = int.from_bytes(ORDER_8, "little")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    twice = _doubled(_doubled((x, y)))
    assert (x * x - square) % P == 0
    assert twice != (0, 1)
    assert _doubled(twice) == (0, 1)


@pytest.mark.parametrize("y", [P, P + 1, P + 3, (1 << 255) - 1])
def test_encodings_of_ed25519_beyond_the_field_are_refused(y: int) -> None:
    """X4, RFC 8032 5.1.3: each point has one encoding."""
    assert "canonical" in _refusal(_point(y))


def test_octets_that_are_no_point_of_ed25519_are_refused() -> None:
    """X4: the library takes any 32 octets, of which half are no point."""
    found = []
    for y in range(2, 40):
        try:
            check_key(_point(y))
        except Rejected as error:
            found.append(error.message)
    assert 10 <= len(found) <= 30
    assert all("no point" in message for message in found)


def test_keys_of_other_kinds_are_refused() -> None:
    """X4: what cannot sign, or is not certified here."""
    keys = (x25519.X25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate(), dsa.generate_private_key(2048))
    for private_key in keys:
        assert "kind" in _refusal(private_key.public_key())
    assert "kind" in _refusal(None)
