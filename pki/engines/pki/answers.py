"""Certificates and keys as the Vault HTTP API answers them."""

import base64
import re
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pki.authority.revoke import REASONS
from pki.clock import rfc3339
from pki.engines.pki.wishes import PrivateKey, Wishes
from pki.errors import Malformed, NotFound, Rejected
from pki.ids import serial_to_hex
from pki.ledger.entries import Entry
from pki.operations.call import when

CERTIFICATE_TYPE = "application/pkix-cert"
CHAIN_TYPE = "application/pem-certificate-chain"
CRL_TYPE = "application/pkix-crl"
PEM_TYPE = "application/x-pem-file"
_FORMATS = frozenset({"", "pem", "pem_bundle", "der"})
_KEY_FORMATS = frozenset({"", "der", "pem", "pkcs8"})
_SERIAL = re.compile(r"[0-9A-Fa-f]{1,2}(?:[:-]?[0-9A-Fa-f]{2}){0,31}")


def check_formats(wishes: Wishes) -> None:
    """Refuse formats that there are not, before anything is signed.

    Raises:
        Rejected: malformed.
    """
    if wishes.format not in _FORMATS:
        raise Rejected(f"there is no format {wishes.format[:32]!a}", "malformed", advice="pem, pem_bundle or der")
    if wishes.private_key_format not in _KEY_FORMATS:
        raise Rejected("there is no such private_key_format", "malformed", advice="der or pkcs8")


def pem(der: bytes, label: str = "CERTIFICATE") -> str:
    """Return DER in PEM, without a line's end behind it, as clients of that API expect (RFC 7468 3)."""
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"])


def colons(serial: str) -> str:
    """Return a serial number in hex with colons between its octets."""
    return ":".join(serial[at : at + 2] for at in range(0, len(serial), 2))


def serial_of(text: str) -> str:
    """Return a serial number as the ledger keeps it: `17:67:16`, `17-67-16` and `176716` are one.

    Raises:
        Malformed: it is no serial number.
    """
    if _SERIAL.fullmatch(text) is None:
        raise Malformed("this is no serial number", advice="hex digits, with colons or hyphens or without")
    return serial_to_hex(int(text.replace(":", "").replace("-", ""), 16))


def signed(entry: Entry) -> bytes:
    """Return an entry's certificate in DER.

    Raises:
        NotFound: it has none yet, or will never have one.
    """
    if entry.certificate is None:
        raise NotFound("this certificate was not issued")
    return entry.certificate


def issued(entry: Entry, path: Sequence[x509.Certificate], wishes: Wishes, key: PrivateKey | None) -> dict[str, Any]:
    """Return the data of an answer to a request; `path` is the issuer and those above it, the root last."""
    chain = [item.public_bytes(Encoding.DER) for item in path]
    above = [der for der, item in zip(chain, path, strict=True) if item.subject != item.issuer]
    is_der = wishes.format == "der"
    secret = None if key is None else _private_key(key, wishes)
    certificate = _encode(signed(entry), is_der=is_der)
    if wishes.format == "pem_bundle":
        certificate = "\n".join([*([secret] if secret else []), certificate, *(pem(der) for der in above)])
    data: dict[str, Any] = {
        "certificate": certificate,
        "issuing_ca": _encode(chain[0], is_der=is_der),
        "ca_chain": [_encode(der, is_der=is_der) for der in (above if wishes.remove_roots_from_chain else chain)],
        "serial_number": colons(entry.serial),
        "expiration": int(entry.not_after.timestamp()),
    }
    if key is not None:
        data |= {"private_key": secret, "private_key_type": _key_type(key)}
    return data


def _encode(der: bytes, *, is_der: bool) -> str:
    return base64.b64encode(der).decode() if is_der else pem(der)


def _private_key(key: PrivateKey, wishes: Wishes) -> str:
    """Return the key in PKCS#8 or, if it is not asked for, in the traditional form, which Ed25519 does not have."""
    modern = wishes.private_key_format == "pkcs8" or not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    form = PrivateFormat.PKCS8 if modern else PrivateFormat.TraditionalOpenSSL
    if wishes.format == "der":
        return base64.b64encode(key.private_bytes(Encoding.DER, form, NoEncryption())).decode()
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode().rstrip("\n")


def _key_type(key: PrivateKey) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return "rsa"
    return "ec" if isinstance(key, ec.EllipticCurvePrivateKey) else "ed25519"


def public(entry: Entry, path: Sequence[x509.Certificate]) -> dict[str, Any]:
    """Return what anybody may know of a certificate who knows its serial number."""
    return {
        "certificate": pem(signed(entry)),
        "ca_chain": [pem(item.public_bytes(Encoding.DER)) for item in path],
        "serial_number": colons(entry.serial),
        "issuer_id": entry.issuer_id,
        **revocation(entry),
    }


def revocation(entry: Entry) -> dict[str, Any]:
    """Return when a certificate was revoked: 0 and an empty text if it was not."""
    at = entry.revoked_at
    return {
        "revocation_time": 0 if at is None else int(at.timestamp()),
        "revocation_time_rfc3339": "" if at is None else rfc3339(at),
    }


def detailed(entry: Entry) -> dict[str, Any]:
    """Return what the ledger knows of a certificate; times are RFC 3339."""
    reason = entry.revocation_reason
    return {
        "serial_number": colons(entry.serial),
        "state": entry.state,
        "kind": entry.kind,
        "role": entry.profile,
        "requester": entry.requester,
        "names": list(entry.names),
        "issuer_id": entry.issuer_id,
        "not_before": when(entry.not_before),
        "not_after": when(entry.not_after),
        "expiration": int(entry.not_after.timestamp()),
        "revoked_at": when(entry.revoked_at),
        "revocation_reason": None if reason is None else REASONS.get(reason, str(reason)),
    }


def serial_hex(certificate: x509.Certificate) -> str:
    """Return a certificate's serial number in hex."""
    return serial_to_hex(certificate.serial_number)
