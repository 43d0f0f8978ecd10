"""Rules on the fields of a certificate outside its extensions (RFC 5280 4.1)."""

import re
from collections.abc import Iterator
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pki.authority.lint.view import Element, View
from pki.errors import Rejected
from pki.ledger.weak_keys import check_key

_V3 = b"\x02\x01\x02"
_SERIAL_OCTETS, _SERIAL_BITS = 20, 64
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_GENERALIZED_FROM = 2050
_MOMENT = {_UTC_TIME: re.compile(rb"[0-9]{12}Z"), _GENERALIZED_TIME: re.compile(rb"[0-9]{14}Z")}
_EMPTY_NAME = bytes.fromhex("3000")
_SHA256_RSA, _SHA384_RSA, _SHA512_RSA = (
    bytes.fromhex(f"300d06092a864886f70d0101{end}0500") for end in ("0b", "0c", "0d")
)
_ECDSA = {
    "secp256r1": bytes.fromhex("300a06082a8648ce3d040302"),
    "secp384r1": bytes.fromhex("300a06082a8648ce3d040303"),
    "secp521r1": bytes.fromhex("300a06082a8648ce3d040304"),
}
_ED25519 = bytes.fromhex("300506032b6570")


def check_fields(view: View, issuer: View) -> Iterator[str]:
    """Yield what is wrong with version, serial, algorithms, names as a whole, and the key itself."""
    if view.version != _V3:
        yield "version: it is not a certificate of version 3 (RFC 5280 4.1.2.1)"
    yield from _check_serial(view.serial)
    if view.algorithm != view.outer_algorithm:
        yield "algorithm-mismatch: the algorithms in and beside the signed part differ (RFC 5280 4.1.1.2)"
    if view.algorithm not in _algorithms_of(issuer.certificate.public_key()):
        yield "algorithm: it is not one by which the issuer's key signs"
    if view.issuer == _EMPTY_NAME:
        yield "issuer-empty: the issuer has no name (RFC 5280 4.1.2.4)"
    if view.issuer != issuer.subject.whole:
        yield "issuer-name: the issuer's name differs from the subject of its certificate (RFC 5280 6.1.3)"
    if view.has_unique_ids:
        yield "unique-ids: unique identifiers are out of use (RFC 5280 4.1.2.8)"
    yield from _check_key(view)


def _check_serial(serial: bytes) -> Iterator[str]:
    value = int.from_bytes(serial, signed=True)
    if value <= 0:
        yield "serial: it is not positive (RFC 5280 4.1.2.2)"
    elif len(serial) > _SERIAL_OCTETS:
        yield f"serial: it has more than {_SERIAL_OCTETS} octets (RFC 5280 4.1.2.2)"
    elif value.bit_length() < _SERIAL_BITS:
        yield f"serial: it is shorter than {_SERIAL_BITS} bits, so it cannot be random (X6)"


def _algorithms_of(key: object) -> tuple[bytes, ...]:
    """Return the AlgorithmIdentifiers a key may sign by (RFC 5758 3.2, RFC 4055 5, RFC 8410 3)."""
    if isinstance(key, rsa.RSAPublicKey):
        return (_SHA256_RSA, _SHA384_RSA, _SHA512_RSA)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return (_ED25519,)
    found = _ECDSA.get(key.curve.name) if isinstance(key, ec.EllipticCurvePublicKey) else None
    return () if found is None else (found,)


def _check_key(view: View) -> Iterator[str]:
    try:
        check_key(view.certificate.public_key())
    except Rejected as error:
        yield f"weak-key: {error.message}"


def check_validity(view: View, issuer: View) -> Iterator[str]:
    """Yield what is wrong with the dates: their form, their order, and whether the issuer's hold them (X7, S2, S6)."""
    if not (_is_well_formed(view.not_before) and _is_well_formed(view.not_after)):
        yield "time-form: dates are UTCTime until 2049, then GeneralizedTime, in whole seconds and Z (RFC 5280 4.1.2.5)"
    first, last = _validity(view.certificate)
    if last < first:
        yield "validity: it ends before it begins"
    issuer_first, issuer_last = _validity(issuer.certificate)
    if first < issuer_first or last > issuer_last:
        yield "validity-nesting: it begins before its issuer's or outlives it"


def _validity(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def _is_well_formed(moment: Element) -> bool:
    form = _MOMENT.get(moment.tag)
    if form is None or form.fullmatch(moment.content) is None:
        return False
    return moment.tag == _UTC_TIME or int(moment.content[:4]) >= _GENERALIZED_FROM
