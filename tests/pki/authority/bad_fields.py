"""Certificates with one wrong field, or a bad key."""

from dataclasses import replace
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.pki.authority.certificates import (
    BEGIN,
    END,
    FIRST,
    LAST,
    Parts,
    algorithm,
    integer,
    key,
    leaf,
    moment,
    oid,
    sequence,
    spki,
    subject,
    tlv,
)
from tests.pki.authority.corpus import Corpus
from tests.pki.authority.weak_moduli import close_primes, roca_modulus, small_factor

CORPUS = Corpus()
_SECOND = timedelta(seconds=1)
_DNS = x509.DNSName
_OTHER_KEY = ec.derive_private_key(7, ec.SECP256R1()).public_key()


@CORPUS.bad("version", "pkilint", "openssl")
def version_1() -> Parts:
    """Extensions in a certificate without the version that has them."""
    return replace(leaf(), version=b"")


@CORPUS.bad("serial", "pkilint")
def serial_zero() -> Parts:
    """RFC 5280 4.1.2.2."""
    return replace(leaf(), serial=integer(0))


@CORPUS.bad("serial", "pkilint")
def serial_negative() -> Parts:
    """RFC 5280 4.1.2.2."""
    return replace(leaf(), serial=integer(-(1 << 120)))


@CORPUS.bad("serial", "pkilint")
def serial_of_21_octets() -> Parts:
    """RFC 5280 4.1.2.2: a leading zero counts."""
    return replace(leaf(), serial=integer(1 << 159))


@CORPUS.bad("serial")
def serial_of_63_bits() -> Parts:
    """X6."""
    return replace(leaf(), serial=integer((1 << 63) - 1))


@CORPUS.bad("algorithm-mismatch", "pkilint", "openssl")
def algorithms_that_differ() -> Parts:
    """RFC 5280 4.1.1.2."""
    return replace(leaf(), outer_algorithm=algorithm("p384"))


@CORPUS.bad("algorithm", "openssl")
def algorithm_of_another_kind_of_key() -> Parts:
    """RSA by an issuer with a P-256 key."""
    return replace(leaf(), algorithm=algorithm("rsa"))


@CORPUS.bad("algorithm", "openssl")
def algorithm_of_sha1() -> Parts:
    """A forger's digest."""
    return replace(leaf(), algorithm=sequence(oid("1.2.840.10045.4.1")))


@CORPUS.bad("issuer-name", "openssl")
def issuer_of_another_name() -> Parts:
    """RFC 5280 6.1.3."""
    return replace(leaf(), issuer=subject("Somebody else"))


@CORPUS.bad("issuer-name")
def issuer_of_another_encoding() -> Parts:
    """The same text as PrintableString: not octet by octet the issuer's."""
    return replace(leaf(), issuer=leaf().issuer.replace(b"\x0c", b"\x13", 1))


@CORPUS.bad("issuer-empty", "pkilint", "openssl")
def issuer_without_name() -> Parts:
    """RFC 5280 4.1.2.4."""
    return replace(leaf(), issuer=subject(None))


@CORPUS.bad("unique-ids", "pkilint")
def unique_ids() -> Parts:
    """RFC 5280 4.1.2.8."""
    return replace(leaf(), unique_ids=tlv(0x82, b"\x00\x01"))


@CORPUS.bad("time-form", "pkilint")
def date_of_2026_as_generalized_time() -> Parts:
    """RFC 5280 4.1.2.5."""
    return replace(leaf(), not_before=tlv(0x18, FIRST.strftime("%Y%m%d%H%M%SZ").encode()))


@CORPUS.bad("validity", "pkilint", "openssl")
def ends_before_it_begins() -> Parts:
    """RFC 5280 4.1.2.5."""
    return replace(leaf(), not_before=moment(LAST), not_after=moment(FIRST))


@CORPUS.bad("validity-nesting")
def outlives_its_issuer() -> Parts:
    """X7."""
    return replace(leaf(), not_after=moment(END + _SECOND))


@CORPUS.bad("validity-nesting")
def begins_before_its_issuer() -> Parts:
    """X7."""
    return replace(leaf(), not_before=moment(BEGIN - _SECOND))


# Keys


def _with_key(public_key: object, der: bytes | None = None) -> Parts:
    info = der or spki(public_key)
    bits = b"\0" + info if isinstance(public_key, x25519.X25519PublicKey) else info
    certificate = replace(leaf(), key=bits if der is None else der)
    if isinstance(public_key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        return certificate.having(x509.SubjectKeyIdentifier.from_public_key(public_key))
    return certificate.lacking(x509.SubjectKeyIdentifier)


def _with_modulus(modulus: int, exponent: int = 65537) -> Parts:
    return _with_key(rsa.RSAPublicNumbers(exponent, modulus).public_key())


@CORPUS.bad("weak-key")
def key_of_rsa_1024() -> Parts:
    """X4."""
    return _with_key(rsa.generate_private_key(65537, 1024).public_key())  # noqa: S505 - that is the point


@CORPUS.bad("weak-key")
def key_of_exponent_3() -> Parts:
    """X4."""
    return _with_modulus(key("rsa").public_key().public_numbers().n, 3)  # type: ignore[union-attr]


@CORPUS.bad("weak-key")
def key_of_roca() -> Parts:
    """X4, CVE-2017-15361."""
    return _with_modulus(roca_modulus())


@CORPUS.bad("weak-key")
def key_of_close_primes() -> Parts:
    """X4, CVE-2022-26320."""
    return _with_modulus(close_primes())


@CORPUS.bad("weak-key")
def key_of_a_small_factor() -> Parts:
    """X4."""
    return _with_modulus(small_factor())


@CORPUS.bad("weak-key")
def key_of_low_order() -> Parts:
    """X4: the neutral point."""
    return _with_key(ed25519.Ed25519PublicKey.from_public_bytes(b"\x01" + bytes(31)))


@CORPUS.bad("weak-key")
def key_on_p224() -> Parts:
    """X4."""
    return _with_key(ec.derive_private_key(7, ec.SECP224R1()).public_key())


@CORPUS.bad("weak-key", "pkilint")
def key_that_cannot_sign() -> Parts:
    """X25519."""
    public_key = x25519.X25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()
    return _with_key(public_key, public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
